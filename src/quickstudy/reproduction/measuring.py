"""What is measured of a trained agent, and of the classical learners beside it, each kept in a file of its own.

    DIR/CELL/seedN/measured.json    the last checkpoint in held-out tasks, and what the study asks for beside;
                                    of a method's curve, phase k of a trial is lived after k gradient steps
    DIR/CELL/references.json        every classical learner in the first of the tasks of seed 0

Each seed of a training meets held-out tasks of its own: what seeds differ by has the chance of the tasks
in it, too. A measurement that is there is not repeated, unless it is of other tasks, settings or updates.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from quickstudy import keys, references
from quickstudy.errors import InputError, is_file
from quickstudy.evaluation import held_out, initial_params, measure
from quickstudy.experiment import build, to_dict
from quickstudy.files import read_json, write_json
from quickstudy.maths.statistics import mean_interval, standard_error
from quickstudy.registry import resolve
from quickstudy.reproduction import signature
from quickstudy.reproduction.optimality import optimality
from quickstudy.reproduction.published import AnyCell, AnyStudy, Cell, Study
from quickstudy.reproduction.published_curves import CurveCell
from quickstudy.run import Run
from quickstudy.session import load
from quickstudy.types import PyTree, TrialShape

MEASURED, REFERENCES = "measured.json", "references.json"
REFERENCE_SEED = 0
"""Of the held-out tasks in which the classical learners are measured."""

Say = Callable[[str], None]


def measured(run: Run, study: AnyStudy, cell: AnyCell, num_tasks: int, say: Say) -> dict[str, Any]:
    """Measure the finished training of a cell in a run directory, or take what was measured before.

    Raises `InputError` where the last checkpoint is damaged: an older one is not what the cell is about.
    """
    path, experiment = run.directory / MEASURED, run.experiment
    header: dict[str, Any] = {
        "checkpoint": experiment.num_updates,
        "num_tasks": num_tasks,
        "evaluation_seed": experiment.seed,
    }
    if isinstance(cell, CurveCell):
        header["trial"] = to_dict(cell.measured)
    known = _known(path)
    if header.items() <= known.items():
        return known
    trained = load(run.directory, checkpoint=experiment.num_updates)
    trial = cell.measured if isinstance(cell, CurveCell) else experiment.trial
    lived = (experiment.learner, held_out(experiment.env), trial, trained.meta_params)
    if isinstance(cell, CurveCell):
        result = {**header, "curve": _curve(*lived, num_tasks, experiment.seed, say)}
    else:
        result = {**header, "total": _total(*lived, num_tasks, experiment.seed, say), **_beside(study, *lived)}
    write_json(path, result)
    return result


def measured_references(directory: Path, study: Study, cell: Cell, num_tasks: int, say: Say) -> dict[str, Any]:
    """Measure the classical learners of a cell, or take what was measured before."""
    path, env = directory / REFERENCES, held_out(cell.env)
    trial = references.remembered(cell.trial)
    header = {
        "env": to_dict(env, "env"),
        "trial": to_dict(trial),
        "num_tasks": num_tasks,
        "evaluation_seed": REFERENCE_SEED,
    }
    known = _known(path)
    known = known if header.items() <= known.items() else {}
    rows = known.get("rows", {})
    agents = reference_agents(study, cell)
    result: dict[str, Any] = {**header, "rows": {}}
    for name, agent in agents.items():
        settings = to_dict(agent, "agent")
        row = rows.get(name)
        if row is None or row.get("agent") != settings:
            params = initial_params(agent, env, trial, REFERENCE_SEED)

            def say_of(text: str, name: str = name) -> None:
                say(f"{name}: {text}")

            total = _total(agent, env, trial, params, num_tasks, REFERENCE_SEED, say_of)
            row = {"agent": settings, **total}
            rows = {**rows, name: row}
            # After each: some take minutes.
            write_json(path, {**header, "rows": rows})
        result["rows"][name] = row
    if study.also == "signature":
        result["signatures"] = known.get("signatures") or signature.references(env, cell.trial)
    if result != known:
        write_json(path, result)
    return result


def reference_agents(study: Study, cell: Cell) -> dict[str, Any]:
    """By the row's name: those of the family, and those of the study."""
    agents = references.reference_agents(cell.env, cell.trial)
    for row, (name, fields) in study.references.items():
        agents[row] = build(resolve("agent", name), fields, "agent")
    return agents


def _beside(study: AnyStudy, agent: Any, env: Any, trial: TrialShape, meta_params: PyTree) -> dict[str, Any]:
    """What the study asks for beside returns."""
    match study:
        case Study(also="optimality"):
            return {"optimality": optimality(agent, env, trial, meta_params)}
        case Study(also="signature"):
            return {"signature": signature.signature(agent, env, trial, meta_params)}
    return {}


def _total(
    agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, num_tasks: int, seed: int, say: Say
) -> dict[str, float]:
    key = keys.branch(seed, keys.TEST)
    totals = measure(agent, env, trial, meta_params, num_tasks, key, say).total
    mean, low, high = (float(x) for x in mean_interval(totals))
    return {"mean": mean, "low": low, "high": high, "standard_error": standard_error(totals)}


def _curve(
    agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, num_tasks: int, seed: int, say: Say
) -> list[dict[str, float]]:
    """Mean return of an episode in each phase, [K+1]; intervals over tasks."""
    # One episode a phase: the streams' mean of each is a column.
    returns = measure(agent, env, trial, meta_params, num_tasks, keys.branch(seed, keys.TEST), say).episodes
    interval = mean_interval(returns)
    return [
        {
            "mean": float(mean),
            "low": float(low),
            "high": float(high),
            "standard_error": standard_error(of_tasks),
        }
        for mean, low, high, of_tasks in zip(*interval, returns.T, strict=True)
    ]


def _known(path: Path) -> dict[str, Any]:
    """What a file of ours holds; nothing where there is none or it is damaged."""
    try:
        return read_json(path) if is_file(path) else {}
    except InputError:
        return {}
