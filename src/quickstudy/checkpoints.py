"""Checkpoints: a directory for each, written beside its place and renamed into it.

    checkpoints/N/state.safetensors   the arrays after N updates, by their path
    checkpoints/N/record.json         what belongs to them, and the hash by which damage is noticed

The last three are kept, and the best. The format holds arrays and nothing else: reading cannot run code.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from quickstudy.errors import InputError
from quickstudy.files import read_json, with_disk_errors, write_bytes, write_json

STATE, RECORD, UNFINISHED = "state.safetensors", "record.json", ".part"
KEPT = 3


class DamagedError(Exception):
    """A checkpoint that cannot be read; the message says why."""


class Checkpoints:
    """The checkpoints in one directory. A reader changes nothing there."""

    def __init__(self, directory: Path):
        self.directory = directory

    def steps(self) -> list[int]:
        """The numbers of updates after which there is one, in order."""
        if not self.directory.is_dir():
            return []
        return sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdigit())

    def latest(self) -> int | None:
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The one with the highest mean return on validation tasks; of equals the first."""
        readable = {step: value for step in self.steps() if (value := self._mean_return(step)) is not None}
        return max(readable, key=lambda step: (readable[step], -step), default=None)

    def save(self, step: int, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> None:
        """Write one and drop those that are no longer kept; `record` holds at least `return`.

        Raises `RunError` where the disk refuses it; those before are then as they were.
        """
        from safetensors.numpy import save

        # safetensors writes an array's buffer as it lies: rows must follow each other.
        data = save({name: np.ascontiguousarray(x).reshape(x.shape) for name, x in arrays.items()})
        place = self.directory / f"{step}{UNFINISHED}"
        with_disk_errors(self._clear)
        try:
            with_disk_errors(place.mkdir, parents=True)
            write_bytes(place / STATE, data)
            write_json(place / RECORD, {**record, "sha256": hashlib.sha256(data).hexdigest()})
            with_disk_errors(os.replace, place, self.directory / str(step))
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
        self._drop()

    def load(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """-> (arrays, record); raises `DamagedError`."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            record = read_json(self.directory / str(step) / RECORD)
            data = (self.directory / str(step) / STATE).read_bytes()
            if hashlib.sha256(data).hexdigest() != record.get("sha256"):
                raise DamagedError(f"{STATE} is not what was written")
            return load(data), record
        except (OSError, InputError, SafetensorError) as error:
            raise DamagedError(str(error)) from error

    def is_readable(self, step: int) -> bool:
        """Whether it is there, undamaged."""
        try:
            self.load(step)
        except DamagedError:
            return False
        return True

    def set_aside(self, steps: list[int], folder: Path) -> None:
        """Move damaged ones out of the way of those that will take their numbers."""
        with_disk_errors(folder.mkdir, exist_ok=True)
        for step in steps:
            target = folder / f"{step}-{time.time_ns()}"
            with_disk_errors((self.directory / str(step)).rename, target)

    def _clear(self) -> None:
        """Remove what a kill left half written."""
        for path in self.directory.glob(f"*{UNFINISHED}"):
            shutil.rmtree(path)

    def _drop(self) -> None:
        steps = self.steps()
        for step in set(steps) - {*steps[-KEPT:], self.best()}:
            with_disk_errors(shutil.rmtree, self.directory / str(step))

    def _mean_return(self, step: int) -> float | None:
        """None where the record cannot be read."""
        try:
            value = read_json(self.directory / str(step) / RECORD).get("return")
        except InputError:
            return None
        # JSON has no NaN: it is written as null.
        return value if isinstance(value, float | int) and math.isfinite(value) else -math.inf
