"""What a report is made of: a run directory's experiment, evaluation and metrics, read into one value."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from quickstudy.animation import EPISODES
from quickstudy.errors import InputError, is_file
from quickstudy.files import read_json
from quickstudy.metrics import metrics_rows
from quickstudy.reporting.command import repeat_command
from quickstudy.reporting.estimates import Estimate, finite
from quickstudy.run import EVALUATION, EXPERIMENT, METRICS, Run

LEAD_LETTERS = 40
"""Up to a colon before this many letters, a verdict says what was found."""


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """One run, as its directory tells it."""

    name: str
    experiment: dict[str, Any]
    """experiment.json"""
    evaluation: dict[str, Any] | None
    """evaluation.json, or None before the run is evaluated."""
    metrics: dict[str, list[float]]
    """The columns of metrics.csv, all of one length; NaN where a cell is empty."""
    command: str
    """How to repeat the run, for a shell; may be empty."""
    animation: bytes | None = None
    """episodes.png, or None where there is none."""

    @property
    def agent(self) -> str:
        return str(_kind(self.experiment.get("agent")) or (self.evaluation or {}).get("agent") or "agent")

    @property
    def env(self) -> str:
        return str(
            _kind(self.experiment.get("env")) or (self.evaluation or {}).get("env") or "unknown environment"
        )

    @property
    def outer(self) -> str | None:
        """The outer loop's name; None for an agent that learns from scratch."""
        return _kind(self.experiment.get("outer"))

    @property
    def episodes(self) -> list[Estimate]:
        """The adaptation curve."""
        return [Estimate.read(episode) for episode in listed(self.evaluation, "episodes")]

    @property
    def references(self) -> dict[str, dict[str, Any]]:
        stored = (self.evaluation or {}).get("references") or {}
        return {str(name): value for name, value in stored.items() if isinstance(value, dict)}

    @property
    def learned(self) -> bool | None:
        """The verdict; None where there is none yet."""
        verdict = (self.evaluation or {}).get("verdict")
        return bool(verdict.get("learned")) if isinstance(verdict, dict) else None

    @property
    def finding(self) -> tuple[str, str]:
        """The verdict's sentence in two: what was found in a few words, and what that rests on."""
        verdict = (self.evaluation or {}).get("verdict")
        text = str(verdict.get("text") or "") if isinstance(verdict, dict) else ""
        lead, colon, rest = text.partition(": ")
        if colon and len(lead) <= LEAD_LETTERS:
            return lead, rest[:1].upper() + rest[1:]
        return {True: "Learned to learn", False: "Learned nothing", None: "No verdict"}[self.learned], text

    def estimate(self, name: str) -> Estimate:
        """One of the evaluation's estimates: total, gain, success, optimum_gap_percent."""
        return Estimate.read((self.evaluation or {}).get(name))

    def column(self, name: str) -> list[float]:
        return [finite(value) for value in self.metrics.get(name, [])]

    @property
    def env_steps(self) -> float:
        """Environment steps of the whole training; NaN before the first update."""
        known = [value for value in self.column("env_steps") if math.isfinite(value)]
        return known[-1] if known else math.nan

    @property
    def steps_per_second(self) -> float:
        """The median over updates, so that compiling and pauses do not count."""
        known = sorted(value for value in self.column("steps_per_second") if math.isfinite(value))
        return known[len(known) // 2] if known else math.nan


def load_summary(directory: Path) -> RunSummary:
    """Read a run directory; only experiment.json must be there.

    Raises InputError if a file is missing that must be there, or holds something else than JSON.
    """
    experiment = read_json(Run.locate(directory) / EXPERIMENT)
    return RunSummary(
        name=directory.resolve().name,
        experiment=experiment,
        evaluation=_read_evaluation(directory / EVALUATION),
        metrics=_read_columns(directory / METRICS),
        command=repeat_command(experiment),
        animation=_read_animation(directory / EPISODES),
    )


def listed(stored: dict[str, Any] | None, name: str) -> list[Any]:
    """A list within stored JSON; empty where there is none."""
    value = (stored or {}).get(name)
    return value if isinstance(value, list) else []


def _kind(stored: Any) -> str | None:
    return str(stored.get("type", "")) or None if isinstance(stored, dict) else stored


def _read_evaluation(path: Path) -> dict[str, Any] | None:
    if not is_file(path):
        return None
    evaluation = read_json(path)
    for name in ("agent", "env", "episodes", "total", "verdict", "references"):
        if name not in evaluation:
            raise InputError(
                f"{path}: {name} is missing; expected what `quickstudy evaluate DIR --save` writes"
            )
    return evaluation


def _read_animation(path: Path) -> bytes | None:
    return path.read_bytes() if is_file(path) else None


def _read_columns(path: Path) -> dict[str, list[float]]:
    if not is_file(path):
        return {}
    rows = metrics_rows(path)
    return {name: [_cell(row[name]) for row in rows] for name in (rows[0] if rows else {})}


def _cell(text: str) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
