"""The trainings of a reproduction: which there are, whether the directory fits them, one after another.

finished      its last checkpoint, undamaged, and its evaluation are there: kept
begun         gone on with from its newest readable checkpoint
else          trained
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from quickstudy.errors import InputError, is_file
from quickstudy.experiment import Experiment, from_record, to_record
from quickstudy.files import read_json, write_text
from quickstudy.reporting import load_summary, report_page
from quickstudy.reporting.page import duration
from quickstudy.reporting.tables import flattened
from quickstudy.reproduction.published import AnyCell, AnyStudy
from quickstudy.run import EVALUATION, EXPERIMENT, REPORT, Run
from quickstudy.train import check_devices, resume, train
from quickstudy.updates import check_fits


@dataclasses.dataclass(frozen=True)
class Training:
    """One cell and seed."""

    cell: AnyCell
    experiment: Experiment
    directory: Path

    @property
    def name(self) -> str:
        return f"{self.cell.name}, seed {self.experiment.seed}"

    @property
    def num_steps(self) -> int:
        """Environment steps, at most: by them the time left is estimated."""
        return self.experiment.num_updates * self.experiment.steps_per_update[-1]

    @property
    def is_finished(self) -> bool:
        if not (is_file(self.directory / EXPERIMENT) and is_file(self.directory / EVALUATION)):
            return False
        return Run.open(self.directory).checkpoints.is_readable(self.experiment.num_updates)


def trainings_of(
    study: AnyStudy,
    cells: Sequence[AnyCell],
    seeds: int,
    directory: Path,
    recipe: Callable[[str, str], Experiment],
) -> list[Training]:
    """Cell after cell, each with the seeds 0, 1, …; of those whose value is known exactly, none."""
    cells = [cell for cell in cells if cell.is_trained]
    experiments = {cell.name: recipe(study.name, cell.name) for cell in cells}
    return [
        Training(
            cell,
            dataclasses.replace(experiments[cell.name], seed=seed),
            seed_directory(directory, cell.name, seed),
        )
        for cell in cells
        for seed in range(seeds)
    ]


def seed_directory(directory: Path, cell: str, seed: int) -> Path:
    return directory / cell / f"seed{seed}"


def check(study: AnyStudy, result: Path, trainings: Sequence[Training]) -> None:
    """Raise `InputError` where the directory is another study's, or a run in it another experiment's.

    Before anything is trained: a refusal after hours would be late.
    """
    directory = result.parent
    if directory.exists() and not directory.is_dir():
        raise InputError(f"out: got {str(directory)!r}; expected a directory")
    if is_file(result) and (held := read_json(result).get("study")) != study.name:
        raise InputError(f"out: {str(directory)!r} holds the study {held}; expected a directory of its own")
    for training in trainings:
        training.experiment.check_trainable()
        check_devices(training.experiment)
        if is_file(training.directory / EXPERIMENT):
            _check_same(training)
    missing = {training.cell.name: training.experiment for training in trainings if not training.is_finished}
    for experiment in missing.values():
        check_fits(experiment)


def train_to_the_end(training: Training, progress: bool) -> bool:
    """Train what is left of it, and write its report -> whether anything was left."""
    if training.is_finished:
        return False
    directory = training.directory
    if is_file(directory / EXPERIMENT):
        resume(directory, progress=progress)
    else:
        # All that a kill in the first moment leaves behind.
        (directory / f"{EXPERIMENT}.part").unlink(missing_ok=True)
        train(training.experiment, directory, progress=progress)
    write_text(directory / REPORT, report_page(load_summary(directory)))
    return True


class Clock:
    """Estimates the time left from the steps of the trainings that this process has done."""

    def __init__(self, trainings: Sequence[Training]):
        self._kept = [training.is_finished for training in trainings]
        self._left = [
            0 if kept else training.num_steps for kept, training in zip(self._kept, trainings, strict=True)
        ]
        self._steps, self._seconds = 0, 0.0

    def time(self, training: Training, work: Callable[[], bool]) -> None:
        began = time.monotonic()
        # A training without updates takes its time, too, but its steps would not tell how long.
        if work() and training.num_steps:
            self._steps += training.num_steps
            self._seconds += time.monotonic() - began

    def said(self, index: int) -> str:
        """Of the training with this number, and of all from it on."""
        if self._kept[index]:
            return ": kept"
        if not (self._steps and sum(self._left[index:])):
            return ""
        return f": about {duration(sum(self._left[index:]) * self._seconds / self._steps)} left"


def _check_same(training: Training) -> None:
    where = f"out: {str(training.directory)!r} holds another experiment"
    try:
        stored = from_record(read_json(training.directory / EXPERIMENT))
    except InputError as error:
        raise InputError(f"{where} ({error}); expected a new directory") from error
    held, wanted = (dict(flattened(to_record(experiment))) for experiment in (stored, training.experiment))
    for name in sorted(held.keys() | wanted.keys()):
        if held.get(name) != wanted.get(name):
            told: Any = (held.get(name), wanted.get(name))
            raise InputError(f"{where} ({name} {told[0]}, not {told[1]}); expected a new directory")
