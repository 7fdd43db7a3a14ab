"""What the exams of a learning found, as a dictionary that JSON can hold, and back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from quickstudy.errors import InputError
from quickstudy.files import read_json
from quickstudy.maths.statistics import interquartile_mean, mean_interval, share_interval

EXAMS = "exams.json"
# A paired difference of fewer is no ground for a sentence.
FEWEST_JUDGED = 5


class Row(NamedTuple):
    """One exam of all N learners."""

    adapts: int
    """Adaptations before it."""
    seconds: float
    """Of the whole learning up to it."""
    earned: float
    """Mean return of the episodes lived since the exam before; NaN where none ended."""
    returns: list[float]
    """[N], the mean return of each learner's exam."""
    success: list[float] | None
    """[N], the share of its episodes that succeeded."""

    @property
    def mean(self) -> float:
        return float(np.mean(self.returns))


def exams_record(
    rows: list[Row], shape: tuple[int, int], steps_per_adapt: int, solved: float | None
) -> dict[str, Any]:
    """The learning curve; `shape` is the number of tasks and of learners in each.

    Intervals are over tasks, each with its learners' mean; over learners where there is one task.
    """
    return {
        "num_tasks": shape[0],
        "num_seeds": shape[1],
        "interval": "95%, expanded percentile bootstrap over " + ("tasks" if shape[0] > 1 else "learners"),
        "exams": [_entry(row, shape, steps_per_adapt, solved) for row in rows],
        "verdict": _verdict(rows, shape),
    }


def read_rows(directory: Path) -> list[Row]:
    """The exams in a run directory; raises `InputError` where they are damaged."""
    record = read_json(directory / EXAMS)
    try:
        return [
            Row(int(e["adapts"]), float(e["seconds"]), _number(e["earned"]), e["returns"], e["successes"])
            for e in record["exams"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{EXAMS}: damaged ({type(error).__name__}: {error})") from error


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _entry(row: Row, shape: tuple[int, int], steps_per_adapt: int, solved: float | None) -> dict[str, Any]:
    values = _independent(np.asarray(row.returns), shape)
    mean, low, high = mean_interval(values) if len(values) > 1 else (values.mean(), math.nan, math.nan)
    entry = {
        "adapts": row.adapts,
        "steps": row.adapts * steps_per_adapt,
        "seconds": row.seconds,
        "earned": row.earned,
        "mean": float(mean),
        "iqm": float(interquartile_mean(values)),
        "low": float(low),
        "high": float(high),
        "lowest": float(np.min(row.returns)),
        "success": None,
        "solved": None if solved is None else float(np.mean(np.asarray(row.returns) >= solved)),
        "returns": row.returns,
        "successes": row.success,
    }
    if row.success is not None:
        share = share_interval(np.asarray(row.success))
        entry["success"] = {name: float(x) for name, x in share._asdict().items()}
    return entry


def _independent(returns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """What an interval is over: the means of tasks, or the learners of the only one."""
    by_task = returns.reshape(shape)
    return by_task.mean(1) if shape[0] > 1 else by_task[0]


def _verdict(rows: list[Row], shape: tuple[int, int]) -> dict[str, Any]:
    first, last = (_independent(np.asarray(row.returns), shape) for row in (rows[0], rows[-1]))
    if not (np.isfinite(first).all() and np.isfinite(last).all()):
        return {"learned": False, "text": "Not measured: some returns are not finite."}
    said = f"{last.mean():.4g} at the end, {first.mean():.4g} at the start"
    if len(last) < FEWEST_JUDGED:
        return {"learned": False, "text": f"Not judged: {said}; {FEWEST_JUDGED} tasks or learners are needed."}
    gain = mean_interval(last - first)
    better = f"{gain.mean:.3g} [{gain.low:.3g}, {gain.high:.3g}] more"
    if gain.low > 0:
        return {"learned": True, "text": f"Learned: {said}, {better}."}
    return {"learned": False, "text": f"Learned nothing that shows: {said}, {better}."}
