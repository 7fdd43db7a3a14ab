"""A run directory: all that is known of one training, so that it can be read, repeated and resumed.

    experiment.json    everything resolved: experiment, versions, machine, environment fingerprint
    metrics.csv        one line every `log_every` updates; also as TensorBoard events in events/
    checkpoints/N/     the whole training state after N updates (the last three, and the best)
    evaluation.json    the latest evaluation on held-out tasks
    episodes.png       the first and the last episode of one of its trials, as an animation
    report.html        all of it for a person

Files are replaced, never half written; a checkpoint is renamed into place.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from quickstudy.checkpoints import Checkpoints, DamagedError
from quickstudy.errors import InputError, is_file
from quickstudy.experiment import Experiment, from_record, to_record
from quickstudy.files import read_json, with_disk_errors, write_json
from quickstudy.fingerprint import check_fingerprint, environment_fingerprint, machine, versions
from quickstudy.types import PyTree

try:
    import fcntl
except ImportError:
    fcntl = None

EXPERIMENT, METRICS, EVALUATION, REPORT = "experiment.json", "metrics.csv", "evaluation.json", "report.html"
CHECKPOINTS, DAMAGED, EVENTS, LOCK = "checkpoints", "damaged", "events", ".lock"


class Run:
    """One run directory, open for reading and, by one process, for writing."""

    def __init__(self, directory: Path, experiment: Any, fingerprint: dict[str, Any]):
        """`experiment` is an `Experiment` or a `learning.Learning`, whose directory is kept alike."""
        self.directory, self.experiment, self.fingerprint = directory, experiment, fingerprint
        self.checkpoints = Checkpoints(directory / CHECKPOINTS)
        self._is_writer = False

    @classmethod
    def create(cls, directory: Path | str, experiment: Experiment) -> Run:
        """Begin a run in a new or empty directory; raises `InputError` where there is something."""
        directory = Path(directory)
        check_new_directory(directory)
        fingerprint = environment_fingerprint(experiment.env)
        record = to_record(experiment, versions=versions(), machine=machine(), fingerprint=fingerprint)
        make_directory(directory)
        write_json(directory / EXPERIMENT, record)
        return cls(directory, experiment, fingerprint)

    @classmethod
    def open(cls, directory: Path | str, allow_code: bool = False) -> Run:
        """Read a run directory; raises `InputError` where it is none or its experiment is damaged."""
        directory = cls.locate(directory)
        record = read_json(directory / EXPERIMENT)
        return cls(directory, from_record(record, allow_code), record.get("fingerprint", {}))

    @staticmethod
    def locate(directory: Path | str) -> Path:
        """The path of a run directory; raises `InputError` where there is none."""
        directory = Path(directory)
        if not is_file(directory / EXPERIMENT):
            raise InputError(f"run: {str(directory)!r} is no run directory; expected one with {EXPERIMENT}")
        return directory

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one process; raises `InputError` where another one trains in it.

        The system frees the lock with the process, so a kill leaves nothing behind. Systems without
        `fcntl` go without.
        """
        if fcntl is None:
            self._is_writer = True
            yield
            return
        with with_disk_errors((self.directory / LOCK).open, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"run: another process trains in {str(self.directory)!r}") from error
            self._is_writer = True
            yield

    def save(self, update: int, state: PyTree, mean_return: float) -> None:
        """Save the training state after `update` updates."""
        if update in self.checkpoints.steps():
            return
        record = {"update": update, "fingerprint": self.fingerprint, "return": mean_return}
        self.checkpoints.save(update, to_arrays(state), record)

    def restore(self, template: PyTree, step: int | None = None) -> tuple[PyTree, dict[str, Any]] | None:
        """The newest readable state, or that of `step` -> (state, its record); None where there is none.

        A damaged checkpoint is passed over for the one before, with a warning that says so. Raises
        `InputError` where the environment is not the one of the training, or no checkpoint can be read.
        """
        steps = sorted(self.checkpoints.steps(), reverse=True)
        if step is not None and step not in steps:
            known = ", ".join(map(str, sorted(steps))) or "none"
            raise InputError(f"checkpoint: got {step}; expected one of: {known}")
        damaged: list[int] = []
        for candidate in steps if step is None else [step]:
            try:
                restored = self._restore(template, candidate)
            except DamagedError as error:
                text = f"checkpoint {candidate} in {self.directory} is damaged ({error})"
                if step is not None:
                    raise InputError(text) from error
                warnings.warn(f"{text}; trying the one before", stacklevel=2)
                damaged.append(candidate)
            else:
                self._set_aside(damaged)
                return restored
        if steps:
            raise InputError(f"checkpoint: none of {sorted(steps)} in {str(self.directory)!r} can be read")
        return None

    def _set_aside(self, steps: list[int]) -> None:
        if self._is_writer and steps:
            self.checkpoints.set_aside(steps, self.directory / DAMAGED)

    def _restore(self, template: PyTree, step: int) -> tuple[PyTree, dict[str, Any]]:
        arrays, record = self.checkpoints.load(step)
        check_fingerprint(record.get("fingerprint", {}), self.experiment.env)
        return from_arrays(template, arrays), record


def check_new_directory(directory: Path) -> None:
    """Raise `InputError` where there is something already."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"out: {str(directory)!r} exists; expected a new directory, or `quickstudy resume`")


def make_directory(directory: Path) -> None:
    """Raise `InputError` where it cannot be made, `RunError` where the disk refuses."""
    try:
        with_disk_errors(directory.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out: cannot make {str(directory)!r}: {error.strerror}") from error


def to_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """A state as arrays by their path, the form in which it is saved."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(_data(leaf)) for path, leaf in leaves}


def from_arrays(template: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    """Put saved arrays into the structure of `template`."""
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    leaves = []
    for path, leaf in paths:
        name = jax.tree_util.keystr(path)
        saved = arrays.get(name)
        expected = np.shape(_data(leaf))
        if saved is None or saved.shape != expected:
            shape = "missing" if saved is None else saved.shape
            raise InputError(f"checkpoint: array {name} is {shape}; expected shape {expected}")
        value = jax.numpy.asarray(saved, dtype=_data(leaf).dtype)
        leaves.append(jax.random.wrap_key_data(value) if _is_key(leaf) else value)
    return jax.tree_util.tree_unflatten(structure, leaves)


def _is_key(leaf: Any) -> bool:
    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> Any:
    """A random key as the numbers that it is; another array as itself."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf
