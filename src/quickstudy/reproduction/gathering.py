"""A reproduction's result, read from what its directory holds: every measured seed of every cell.

Ours is the mean over seeds with its 95% bootstrap interval (in a single cell the stratified bootstrap of
Agarwal et al. 2021 is just that), the interquartile mean, and the best seed, as a published row is often the
best of several runs. Of a method's curve so is every point; the best seed is the one that ends highest.

Source: Agarwal et al. 2021 (arXiv 2108.13264).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy import references
from quickstudy.errors import is_file
from quickstudy.experiment import RECORDED, to_dict
from quickstudy.files import read_json
from quickstudy.fingerprint import machine, versions
from quickstudy.maths.statistics import interquartile_mean, mean_interval, share_interval
from quickstudy.metrics import metrics_rows
from quickstudy.reproduction.measuring import MEASURED, REFERENCES
from quickstudy.reproduction.published import AnyStudy, Cell, Limit, Study
from quickstudy.reproduction.published_curves import CurveCell, CurveStudy
from quickstudy.reproduction.signature import EFFECTS, KINDS
from quickstudy.reproduction.trainings import seed_directory
from quickstudy.run import EXPERIMENT, METRICS

INTERVAL = "95%, expanded percentile bootstrap over seeds, 1000 resamples; of one seed's own return: over tasks"
OF_TRIALS = "undiscounted, of a trial, mean over held-out tasks; the last checkpoint, actions drawn"
OF_STEPS = (
    "undiscounted, of an episode after each number of gradient steps, mean over streams and held-out tasks; "
    "the last checkpoint, actions drawn"
)


def gathered(study: AnyStudy, directory: Path, asked: Mapping[str, int], num_tasks: int) -> dict[str, Any]:
    """What reproduction.json holds: of cells that were asked for so many seeds, of others what is there."""
    is_curve = isinstance(study, CurveStudy)
    return {
        "study": study.name,
        "title": study.title,
        "source": study.source,
        "setting": study.setting,
        "kind": "curves" if is_curve else "table",
        "num_different_tasks": study.num_different,
        "cells": _entries(study, directory, asked),
        "protocol": {
            "command": _command(study, asked, num_tasks),
            "return": OF_STEPS if is_curve else OF_TRIALS,
            "interval": INTERVAL,
            "evaluation_seed": "of each training its own seed; of the classical learners 0",
            "versions": versions(),
            "machine": machine(),
        },
    }


def _entries(study: AnyStudy, directory: Path, asked: Mapping[str, int]) -> list[dict[str, Any]]:
    """Of a table, the cells that hold something of ours; of published curves, all of them."""
    runs = {cell.name: _runs(directory, cell.name, asked) for cell in study.cells}
    if isinstance(study, CurveStudy):
        return [_curve_entry(cell, runs[cell.name]) for cell in study.cells]
    return [
        _entry(study, cell, directory / cell.name, runs[cell.name]) for cell in study.cells if runs[cell.name]
    ]


def _runs(directory: Path, cell: str, asked: Mapping[str, int]) -> list[dict[str, Any]]:
    seeds = list(range(asked[cell])) if cell in asked else _seeds_in(directory / cell)
    return [run for seed in seeds if (run := _run(seed_directory(directory, cell, seed), seed))]


def _seeds_in(directory: Path) -> list[int]:
    found = (path.parent.name.removeprefix("seed") for path in directory.glob(f"seed*/{MEASURED}"))
    return sorted(int(seed) for seed in found if seed.isdigit())


def _run(directory: Path, seed: int) -> dict[str, Any] | None:
    """What is known of a training that was measured."""
    if not is_file(directory / MEASURED):
        return None
    # Where no update was asked for there are no metrics.
    rows = metrics_rows(directory / METRICS) if is_file(directory / METRICS) else []
    last = rows[-1] if rows else {}
    return {
        "seed": seed,
        "directory": f"{directory.parent.name}/{directory.name}",
        **read_json(directory / MEASURED),
        "env_steps": int(last.get("env_steps", 0)),
        "seconds": float(last.get("seconds", 0.0)),
        "experiment": read_json(directory / EXPERIMENT),
    }


def _entry(study: Study, cell: Cell, directory: Path, runs: list[dict[str, Any]]) -> dict[str, Any]:
    ours = over_seeds([run["total"]["mean"] for run in runs])
    limit = _limit(cell)
    measured = read_json(directory / REFERENCES) if is_file(directory / REFERENCES) else {}
    entry = {
        "cell": cell.name,
        "setting": cell.setting,
        "env": to_dict(cell.env, "env"),
        "trial": to_dict(cell.trial),
        "published": cell.rows,
        "published_margins": cell.margins,
        "limit": {"low": limit.low, "high": limit.high, "exact": limit.exact, "standard_error": limit.margin},
        "ours": ours,
        "gap_percent": {name: 100 * (limit.low - ours[name]) / abs(limit.low) for name in ("mean", "best")},
        "references": {"num_tasks": measured.get("num_tasks"), "rows": measured.get("rows", {})},
        **_trained(runs),
    }
    if study.also == "optimality":
        entry["optimality"] = _optimality(study, runs)
    if study.also == "signature":
        entry["signatures"] = {"ours": _signature(runs), **measured.get("signatures", {})}
    return entry


def _curve_entry(cell: CurveCell, runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cell": cell.name,
        "setting": cell.setting,
        "env": to_dict(cell.env, "env"),
        "trial": to_dict(cell.trial),
        "measured_trial": to_dict(cell.measured),
        "takes_steps": cell.takes_steps,
        "published": list(cell.published),
        "published_margin": cell.margin,
        "exact": cell.exact,
        "ours": _curve_over_seeds(runs) if runs else None,
        **_trained(runs),
    }


def _curve_over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Every point over seeds, and the whole curve of the seed that ends highest."""
    points = zip(*([point["mean"] for point in run["curve"]] for run in runs), strict=True)
    kept = ("mean", "low", "high", "iqm")
    best = max(runs, key=lambda run: run["curve"][-1]["mean"])
    return {
        "curve": [{name: told[name] for name in kept} for told in map(over_seeds, map(list, points))],
        "best": {"seed": best["seed"], "curve": [point["mean"] for point in best["curve"]]},
        "num_seeds": len(runs),
    }


def _trained(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The trainings, and the experiment of the first; the others differ from it in the seed alone."""
    first = runs[0]["experiment"] if runs else {}
    return {
        "runs": [_without_experiment(run) for run in runs],
        "experiment": {name: value for name, value in first.items() if name not in RECORDED} or None,
        "fingerprint": first.get("fingerprint"),
    }


def over_seeds(values: list[float]) -> dict[str, Any]:
    """Mean, interquartile mean and best of the seeds; an interval from two seeds on."""
    seeds = np.array(values, np.float64)
    told: dict[str, Any] = {"mean": float(seeds.mean()), "low": None, "high": None}
    if len(seeds) > 1:
        interval = mean_interval(seeds)
        told |= {"low": float(interval.low), "high": float(interval.high)}
    return {
        **told,
        "iqm": float(interquartile_mean(seeds)),
        "best": float(seeds.max()),
        "num_seeds": len(seeds),
    }


def _limit(cell: Cell) -> Limit:
    """To all its places, where `references` computes it."""
    best = references.optimum(cell.env, cell.trial) if cell.limit.exact else None
    return cell.limit if best is None else Limit(float(best.sum()), float(best.sum()))


def _without_experiment(run: dict[str, Any]) -> dict[str, Any]:
    """With what an experiment's record says of where it ran."""
    told = {name: value for name, value in run.items() if name != "experiment"}
    return {**told, **{name: run["experiment"].get(name) for name in ("versions", "machine")}}


def _optimality(study: Study, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How many seeds are exactly optimal, with the interval of the share."""
    found = [float(run["optimality"]["exactly_optimal"]) for run in runs]
    share = share_interval(np.array(found))
    published = {name: {"count": n, "of": of} for name, (n, of) in study.published_optimal.items()}
    interval = {name: float(value) for name, value in share._asdict().items()}
    return {"count": int(sum(found)), "of": len(found), "share": interval, "published": published}


def _signature(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Over seeds; of one seed alone, over its trials."""
    if len(runs) == 1:
        return runs[0]["signature"]
    told: dict[str, Any] = {}
    for name in (*KINDS, *EFFECTS):
        values = [run["signature"][name]["mean"] for run in runs]
        known = [value for value in values if value is not None]
        told[name] = over_seeds(known) if known else {"mean": None, "low": None, "high": None}
    return {**told, "num_trials": runs[0]["signature"]["num_trials"], "num_seeds": len(runs)}


def _command(study: AnyStudy, asked: Mapping[str, int], num_tasks: int) -> str:
    words = ["quickstudy", "reproduce", study.name, "--cells", *asked]
    return shlex.join([*words, "--seeds", str(max(asked.values())), "--num-test-tasks", str(num_tasks)])
