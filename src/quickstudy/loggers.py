"""Where metrics go: metrics.csv, TensorBoard events, and Weights & Biases on request."""

from __future__ import annotations

import importlib
import importlib.util
import math
from typing import Any, Literal, Self

from quickstudy.errors import InputError
from quickstudy.experiment import Experiment, to_dict
from quickstudy.run import EVENTS, METRICS, MetricsLog, Run, with_disk_errors

WandbMode = Literal["off", "online", "offline"]
COLUMNS = ("update", "env_steps", "seconds", "steps_per_second", "return",
           "eval_return", "eval_low", "eval_high", "skipped")  # fmt: skip


class Loggers:
    """All loggers of one training; without a run directory there are none but Weights & Biases."""

    def __init__(self, experiment: Experiment, run: Run | None, start: int, wandb: WandbMode):
        self._steps_per_update = experiment.steps_per_update
        self.seconds = 0.0
        """Of training so far, those before a resume included; the training counts them on."""
        self._csv: MetricsLog | None = None
        self._events = self._wandb = None
        if run is not None:
            self._csv = MetricsLog(run.directory / METRICS, COLUMNS, start)
            self.seconds = self._csv.last_seconds
            self._events = with_disk_errors(_event_writer, str(run.directory / EVENTS), start)
        if wandb != "off":
            self._wandb = _wandb_run(experiment, run, wandb)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.finish()

    def row(self, update: int, num_updates: int, seconds: float, skipped: int) -> dict[str, float]:
        """The columns that every line has; the last `num_updates` updates took `seconds`."""
        return {
            "update": update,
            "env_steps": update * self._steps_per_update,
            "seconds": round(self.seconds + seconds, 3),
            "steps_per_second": round(num_updates * self._steps_per_update / max(seconds, 1e-9)),
            "skipped": skipped,
        }

    def write(self, row: dict[str, Any]) -> None:
        measured = {name: value for name, value in row.items() if name not in ("update", "env_steps")}
        values = {name: value for name, value in measured.items() if math.isfinite(value)}
        if self._csv is not None:
            self._csv.write(row)
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(name, value, row["env_steps"])
            with_disk_errors(self._events.flush)
        if self._wandb is not None:
            self._wandb.log(values, step=row["env_steps"])


def _event_writer(directory: str, start: int) -> Any:
    from tensorboardX import SummaryWriter

    return SummaryWriter(directory, purge_step=start or None)


def check_wandb(mode: WandbMode) -> None:
    """Raise `InputError` where Weights & Biases is asked for and not installed."""
    if mode != "off" and importlib.util.find_spec("wandb") is None:
        raise InputError("wandb: the package is not installed; pip install 'quickstudy[wandb]'")


def _wandb_run(experiment: Experiment, run: Run | None, mode: WandbMode) -> Any:
    wandb = importlib.import_module("wandb")
    directory = None if run is None else str(run.directory)
    return wandb.init(project="quickstudy", dir=directory, mode=mode, config=to_dict(experiment))
