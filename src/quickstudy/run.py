"""A run directory: all that is known of one training, so that it can be read, repeated and resumed.

    experiment.json    everything resolved: experiment, versions, machine, environment fingerprint
    metrics.csv        one line every `log_every` updates; also as TensorBoard events in events/
    checkpoints/N/     the whole training state after N updates (last three and the best)
    evaluation.json    the latest evaluation on held-out tasks
    report.html        all of it for a person

Files are replaced, never half written; checkpoints are made by Orbax, which renames them into place.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from quickstudy.errors import InputError, RunError
from quickstudy.experiment import Experiment, from_dict, to_dict
from quickstudy.fingerprint import check_fingerprint, environment_fingerprint, machine, versions
from quickstudy.types import PyTree

try:
    import fcntl
except ImportError:
    fcntl = None

EXPERIMENT, METRICS, EVALUATION, REPORT = "experiment.json", "metrics.csv", "evaluation.json", "report.html"
CHECKPOINTS, EVENTS, LOCK = "checkpoints", "events", ".lock"
KEPT_CHECKPOINTS = 3


class Run:
    """One run directory, open for reading and, by one process, for writing."""

    def __init__(self, directory: Path, experiment: Experiment, fingerprint: dict[str, Any]):
        self.directory, self.experiment, self.fingerprint = directory, experiment, fingerprint
        self._manager: Any = None

    @classmethod
    def create(cls, directory: Path | str, experiment: Experiment) -> Run:
        """Begin a run in a new or empty directory; raises `InputError` where there is something."""
        directory = Path(directory)
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise InputError(
                f"out: {str(directory)!r} exists; expected a new directory, or `quickstudy resume`"
            )
        fingerprint = environment_fingerprint(experiment.env)
        record = {
            **to_dict(experiment),
            "versions": versions(),
            "machine": machine(),
            "fingerprint": fingerprint,
        }
        with_disk_errors(directory.mkdir, parents=True, exist_ok=True)
        write_json(directory / EXPERIMENT, record)
        return cls(directory, experiment, fingerprint)

    @classmethod
    def open(cls, directory: Path | str, allow_code: bool = False) -> Run:
        """Read a run directory; raises `InputError` where it is none or its experiment is damaged."""
        directory = cls.locate(directory)
        record = read_json(directory / EXPERIMENT)
        fields = {k: v for k, v in record.items() if k not in ("versions", "machine", "fingerprint")}
        return cls(directory, from_dict(fields, allow_code), record.get("fingerprint", {}))

    @staticmethod
    def locate(directory: Path | str) -> Path:
        """The path of a run directory; raises `InputError` where there is none."""
        directory = Path(directory)
        if not (directory / EXPERIMENT).is_file():
            raise InputError(f"run: {str(directory)!r} is no run directory; expected one with {EXPERIMENT}")
        return directory

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for one process; raises `InputError` where another one trains in it.

        The system frees the lock with the process, so a kill leaves nothing behind. Systems without
        `fcntl` go without.
        """
        if fcntl is None:
            yield
            return
        with (self.directory / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"run: another process trains in {str(self.directory)!r}") from error
            yield

    @property
    def checkpoints(self) -> Any:
        """Orbax's manager of this run's checkpoints."""
        if self._manager is None:
            self._manager = _checkpoint_manager(self.directory / CHECKPOINTS)
        return self._manager

    def save(self, update: int, state: PyTree, mean_return: float) -> None:
        """Save the training state after `update` updates, while the training goes on."""
        import orbax.checkpoint as ocp

        if update in self.checkpoints.all_steps():
            return
        record = {"update": update, "fingerprint": self.fingerprint, "return": mean_return}
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(to_arrays(state)), meta=ocp.args.JsonSave(record)
        )
        with_disk_errors(self.checkpoints.save, update, args=arguments, metrics={"return": mean_return})

    def wait(self) -> None:
        """Until what was saved is on the disk."""
        if self._manager is not None:
            with_disk_errors(self._manager.wait_until_finished)

    def restore(self, template: PyTree, step: int | None = None) -> tuple[PyTree, dict[str, Any]] | None:
        """The newest readable state, or that of `step` -> (state, its record); None where there is none.

        A damaged checkpoint is passed over for the one before, with a warning that says so. Raises
        `InputError` where the environment is not the one of the training, or no checkpoint can be read.
        """
        steps = sorted(self.checkpoints.all_steps(), reverse=True)
        if step is not None and step not in steps:
            known = ", ".join(map(str, sorted(steps))) or "none"
            raise InputError(f"checkpoint: got {step}; expected one of: {known}")
        for candidate in steps if step is None else [step]:
            try:
                return self._restore(template, candidate)
            except InputError:
                raise
            except Exception as error:
                # Orbax and TensorStore have no common class for a file that is cut or missing.
                reason = str(error).strip().split("\n")[0][:160]
                warnings.warn(f"checkpoint {candidate} in {self.directory} is damaged ({reason}); "
                              "trying the one before", stacklevel=2)  # fmt: skip
        if steps:
            raise InputError(f"checkpoint: none of {sorted(steps)} in {str(self.directory)!r} can be read")
        return None

    def best_step(self) -> int | None:
        """The kept checkpoint with the highest mean return on validation tasks."""
        return self.checkpoints.best_step()

    def close(self) -> None:
        if self._manager is not None:
            self.wait()
            self._manager.close()
            self._manager = None

    def _restore(self, template: PyTree, step: int) -> tuple[PyTree, dict[str, Any]]:
        import orbax.checkpoint as ocp

        record = self.checkpoints.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
        check_fingerprint(record["fingerprint"], self.experiment.env)
        expected = to_arrays(template)
        abstract = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in expected.items()}
        arguments = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
        restored = self.checkpoints.restore(step, args=arguments)
        arrays = {k: np.asarray(v) for k, v in restored.state.items()}
        return from_arrays(template, arrays), record


class MetricsLog:
    """metrics.csv; on opening again, the lines behind the checkpoint that is resumed are dropped."""

    def __init__(self, path: Path, first_columns: tuple[str, ...], last_update: int):
        self._path, self._columns = path, list(first_columns)
        rows = _rows(path) if path.exists() else []
        self._kept = [row for row in rows if int(row["update"]) <= last_update]
        self._begun = False

    @property
    def last_seconds(self) -> float:
        """The training time of what is kept."""
        return float(self._kept[-1]["seconds"]) if self._kept else 0.0

    def write(self, row: dict[str, Any]) -> None:
        """Append one line; the first line's names become columns, what a line does not name stays empty."""
        if not self._begun:
            self._columns += [name for name in row if name not in self._columns]
            with_disk_errors(self._rewrite)
            self._begun = True
        with_disk_errors(self._append, row)

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".csv.part")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._kept)
        temporary.replace(self._path)

    def _append(self, row: dict[str, Any]) -> None:
        with self._path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns, extrasaction="ignore").writerow(row)


def to_arrays(tree: PyTree) -> dict[str, np.ndarray]:
    """A state as arrays by their path, the form in which it is saved."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def from_arrays(template: PyTree, arrays: dict[str, np.ndarray]) -> PyTree:
    """Put saved arrays into the structure of `template`."""
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    leaves = []
    for path, leaf in paths:
        name = jax.tree_util.keystr(path)
        saved = arrays.get(name)
        if saved is None or saved.shape != np.shape(leaf):
            shape = "missing" if saved is None else saved.shape
            raise InputError(f"checkpoint: array {name} is {shape}; expected shape {np.shape(leaf)}")
        leaves.append(jax.numpy.asarray(saved, dtype=leaf.dtype))
    return jax.tree_util.tree_unflatten(structure, leaves)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises `InputError` where it is damaged."""
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: got {type(data).__name__}; expected a JSON object")
    return data


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: a reader sees the old text or the new one."""

    def write() -> None:
        temporary = path.with_name(path.name + ".part")
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    with_disk_errors(write)


def write_json(path: Path, data: Any) -> None:
    """Replace a file by JSON; see `write_text`."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def with_disk_errors(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call something that writes; a full or unwritable disk becomes a `RunError` that says so."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        reason = _disk_reason(error)
        if reason is None:
            raise
        raise RunError(f"cannot write: {reason}; what was saved before is kept") from error


def _disk_reason(error: BaseException) -> str | None:
    """What a disk error says, also where TensorStore or Orbax have wrapped it; None for another error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS,
                                                      errno.EACCES, errno.EIO):  # fmt: skip
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    text = str(error)
    for phrase in ("No space left on device", "File too large", "Disk quota exceeded"):
        if phrase in text:
            return phrase
    return _disk_reason(error.__cause__) if error.__cause__ is not None else None


def _rows(path: Path) -> list[dict[str, str]]:
    """The whole lines of metrics.csv; a last line that a kill cut off is left out."""
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values() and row["update"].isdigit()]


def _checkpoint_manager(directory: Path) -> Any:
    import logging

    import orbax.checkpoint as ocp
    from absl import logging as absl_logging
    from orbax.checkpoint import checkpoint_managers as policies

    # What goes wrong is raised to us; Orbax's threads would print it a second time, as a traceback.
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("orbax").setLevel(logging.CRITICAL)
    keep = policies.AnyPreservationPolicy(
        [policies.LatestN(KEPT_CHECKPOINTS), policies.BestN(get_metric_fn=lambda m: m["return"], n=1)]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, best_fn=lambda m: m["return"], cleanup_tmp_directories=True
    )
    return ocp.CheckpointManager(directory.absolute(), options=options, item_names=("state", "meta"))
