"""Where metrics go: metrics.csv, TensorBoard events, and Weights & Biases on request."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import time
from pathlib import Path
from typing import Any, Literal, Self

from quickstudy.errors import InputError
from quickstudy.experiment import Experiment, to_dict
from quickstudy.files import with_disk_errors
from quickstudy.metrics import MetricsLog
from quickstudy.run import EVENTS, METRICS, Run

WandbMode = Literal["off", "online", "offline"]
COLUMNS = ("update", "env_steps", "seconds", "steps_per_second", "return",
           "eval_return", "eval_low", "eval_high", "skipped")  # fmt: skip


class Loggers:
    """All loggers of one training; without a run directory there are none but Weights & Biases."""

    def __init__(self, experiment: Experiment, run: Run | None, start: int, env_steps: int, wandb: WandbMode):
        self._env_steps = env_steps
        self.seconds = 0.0
        """Of training so far, those before a resume included; the training counts them on."""
        self._csv: MetricsLog | None = None
        self._events = self._wandb = None
        if run is not None:
            self._csv = MetricsLog(run.directory / METRICS, COLUMNS, start)
            self.seconds = self._csv.last_seconds
            self._events = with_disk_errors(Events, run.directory / EVENTS, env_steps)
        if wandb != "off":
            self._wandb = _wandb_run(experiment, run, wandb)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.finish()

    def row(self, update: int, env_steps: int, seconds: float, skipped: int) -> dict[str, float]:
        """The columns that every line has; `env_steps` in all, those since the last line took `seconds`."""
        since, self._env_steps = env_steps - self._env_steps, env_steps
        return {
            "update": update,
            "env_steps": env_steps,
            "seconds": round(self.seconds + seconds, 3),
            "steps_per_second": round(since / max(seconds, 1e-9)),
            "skipped": skipped,
        }

    def write(self, row: dict[str, Any]) -> None:
        measured = {name: value for name, value in row.items() if name not in ("update", "env_steps")}
        values = {name: value for name, value in measured.items() if math.isfinite(value)}
        if self._csv is not None:
            self._csv.write(row)
        if self._events is not None:
            with_disk_errors(self._events.write, values, row["env_steps"])
        if self._wandb is not None:
            self._wandb.log(values, step=row["env_steps"])


class Events:
    """TensorBoard events, each line written at once.

    tensorboardX's own writer has a thread, in which a full disk would end unseen and block the training.
    """

    def __init__(self, directory: Path, start: int):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        directory.mkdir(exist_ok=True)
        self._writer, self._proto = EventsWriter(str(directory / "events")), event_pb2
        if start:
            # A resumed training: TensorBoard drops what another process wrote behind this step.
            log = self._proto.SessionLog(status=self._proto.SessionLog.START)  # pyright: ignore[reportAttributeAccessIssue]
            self._event(step=start + 1, session_log=log)
        self._writer.flush()

    def write(self, values: dict[str, float], step: int) -> None:
        from tensorboardX.summary import scalar

        for name, value in values.items():
            self._event(step=step, summary=scalar(name, value))
        self._writer.flush()

    def close(self) -> None:
        # On a full disk the last line has been reported as unwritten; closing would only say it again.
        with contextlib.suppress(OSError):
            self._writer.close()

    def _event(self, **fields: Any) -> None:
        event = self._proto.Event(wall_time=time.time(), **fields)  # pyright: ignore[reportAttributeAccessIssue]
        self._writer.write_event(event)


def check_wandb(mode: WandbMode) -> None:
    """Raise `InputError` where Weights & Biases is asked for and not installed."""
    if mode != "off" and importlib.util.find_spec("wandb") is None:
        raise InputError("wandb: the package is not installed; pip install 'quickstudy[wandb]'")


def _wandb_run(experiment: Experiment, run: Run | None, mode: WandbMode) -> Any:
    wandb = importlib.import_module("wandb")
    directory = None if run is None else str(run.directory)
    try:
        return wandb.init(project="quickstudy", dir=directory, mode=mode, config=to_dict(experiment))
    except wandb.errors.Error as error:
        raise InputError(f"wandb: {str(error).splitlines()[0]}") from error
