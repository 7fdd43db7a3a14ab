"""Methods on the same new tasks, by the environment steps that they took in one: what `compare` draws.

From a directory of `learn`:     an exam's return after each number of steps
from one of `transfer`:          the same of learning from scratch, and of fine-tuning with each penalty
from one of `train`:             the return of each episode, or phase, of its evaluation, at the steps before it
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quickstudy.errors import InputError, is_file
from quickstudy.experiment import from_record
from quickstudy.files import read_json
from quickstudy.learning_record import EXAMS
from quickstudy.learning_settings import LEARNING
from quickstudy.run import EVALUATION, EXPERIMENT
from quickstudy.transfer.pipeline import place_of
from quickstudy.transfer.settings import TRANSFER


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to meet new tasks."""

    name: str
    points: tuple[tuple[int, float, float, float], ...]
    """(environment steps in a task, mean return of an episode, ends of its interval), in their order."""
    tasks: dict[str, Any]
    """What the tasks are: family, seed and number."""

    def within(self, steps: int) -> tuple[int, float, float, float]:
        """The last point with at most so many steps; the first has none."""
        return [point for point in self.points if point[0] <= steps][-1]


def is_of_steps(directory: Path) -> bool:
    """Whether a directory is of `learn` or `transfer`."""
    return is_file(directory / LEARNING) or is_file(directory / TRANSFER)


def methods(directories: list[Path]) -> list[Method]:
    """Of all directories; raises `InputError` where one is unfinished or none of ours."""
    return [method for directory in directories for method in _methods(directory)]


def same_steps(found: list[Method]) -> int:
    """The largest number of steps that every method has come to."""
    return min(method.points[-1][0] for method in found)


def differences(found: list[Method]) -> list[str]:
    """Why they are not comparable, one line each."""
    told = []
    for what in ("env", "seed", "num_tasks"):
        values = {json.dumps(method.tasks[what], sort_keys=True) for method in found}
        if len(values) > 1:
            told.append(f"{what} differs: {', '.join(sorted(values))}")
    return told


def _methods(directory: Path) -> Iterator[Method]:
    if is_file(directory / TRANSFER):
        settings = read_json(directory / TRANSFER)
        yield _learned(directory / "scratch", f"{settings['teacher']['type']} from scratch")
        for penalty in settings["penalties"]:
            yield _learned(directory / place_of(penalty), f"fine-tuned, {penalty}")
    elif is_file(directory / LEARNING):
        yield _learned(directory, directory.name)
    elif is_file(directory / EXPERIMENT):
        yield _evaluated(directory)
    else:
        raise InputError(f"compare: {str(directory)!r} is no directory of learn, transfer or train")


def _learned(directory: Path, name: str) -> Method:
    if not is_file(directory / EXAMS):
        raise InputError(f"compare: {str(directory)!r} has no exams yet; expected one that is finished")
    record = read_json(directory / EXAMS)
    protocol = record["protocol"]
    points = tuple(_point(e["steps"], e) for e in record["exams"])
    return Method(name, points, {**_tasks(protocol["env"], protocol["seed"]), "num_tasks": record["num_tasks"]})


def _evaluated(directory: Path) -> Method:
    if not is_file(directory / EVALUATION):
        raise InputError(f"compare: {str(directory)!r} has no evaluation yet; `quickstudy evaluate DIR --save`")
    evaluation = read_json(directory / EVALUATION)
    protocol, env = evaluation["protocol"], from_record(read_json(directory / EXPERIMENT)).env
    trial = protocol["trial"]
    before = trial["num_streams"] * env.max_steps
    points = tuple(_point(i * before, e) for i, e in enumerate(evaluation["episodes"]))
    tasks = {**_tasks(protocol["env"], evaluation["seed"]), "num_tasks": evaluation["num_tasks"]}
    return Method(directory.name, points, tasks)


def _tasks(env: dict[str, Any], seed: int) -> dict[str, Any]:
    # The split is what an evaluation, or a learning, takes by itself.
    return {"env": {name: x for name, x in env.items() if name != "split"}, "seed": seed}


def _point(steps: int, entry: dict[str, Any]) -> tuple[int, float, float, float]:
    mean = float(entry["mean"])
    low, high = (mean if entry[end] is None else float(entry[end]) for end in ("low", "high"))
    return steps, mean, low, high
