"""Adaptation curves beside the published ones as words, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.estimates import MISSING, Estimate, count, finite, short
from quickstudy.reporting.page import duration
from quickstudy.reproduction.rows import seeds_words

WORDS = ("method", "")
"""Of a row of the table, before its numbers."""


def num_points(result: Mapping[str, Any]) -> int:
    """Of the longest curve."""
    return max(len(entry["published"]) for entry in result["cells"])


def head(result: Mapping[str, Any]) -> list[str]:
    """Of the table: one column for each number of gradient steps."""
    return [*WORDS, *map(str, range(num_points(result)))]


def curve(entry: Mapping[str, Any]) -> list[Estimate]:
    """Ours, with intervals over seeds; of one seed alone, over tasks. Empty where nothing is measured."""
    runs = entry["runs"]
    points = runs[0]["curve"] if len(runs) == 1 else entry["ours"]["curve"] if runs else []
    return [Estimate.read(point) for point in points]


def published(entry: Mapping[str, Any]) -> list[float]:
    return [finite(value) for value in entry["published"]]


def table_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """Of every method what was published, what is exact and what is ours, each with the cells of `head`."""
    rows = [row for entry in result["cells"] for row in _method_rows(entry)]
    return [[*row, *[MISSING] * (len(head(result)) - len(row))] for row in rows]


def verdict(result: Mapping[str, Any]) -> str:
    """What came out: of every method its last point that both have, ours beside the published one."""
    said = [words for entry in result["cells"] if (words := _beside(entry))]
    if not said:
        return "Nothing is measured yet that was published."
    return f"Ours beside the published means: {'; '.join(said)}."


def trained_by(entry: Mapping[str, Any]) -> str:
    """How ours was trained, and for how long."""
    experiment = entry["experiment"]
    if experiment is None:
        return f"{entry['cell']}: {'exact' if entry['exact'] is not None else 'not measured yet'}"
    told = f"{entry['cell']}, {entry['setting']}"
    if not experiment["num_updates"]:
        return told
    loop = f"{experiment['agent']['type']} by {experiment['outer']['type']}"
    steps, seconds = (_mean(entry, name) for name in ("env_steps", "seconds"))
    updates = f"{experiment['num_updates']:,} updates of {experiment['num_tasks']:,} tasks"
    return f"{told}: {loop}, {updates}, {count(steps)} steps and {duration(seconds)} a seed"


def training_head(entry: Mapping[str, Any]) -> list[str]:
    """Of the table of our trainings."""
    return ["seed", *map(_after, range(len(entry["ours"]["curve"]))), "environment steps", "time"]


def training_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """The cells of `training_head`; the best seed is marked."""
    best = entry["ours"]["best"]["seed"]
    return [
        [
            f"{run['seed']}{', the best' if run['seed'] == best and len(entry['runs']) > 1 else ''}",
            *(Estimate.read(point).full() for point in run["curve"]),
            count(run["env_steps"]),
            duration(run["seconds"]),
        ]
        for run in entry["runs"]
    ]


def _method_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    rows, name, ours = [], entry["cell"], entry["ours"]
    if any(math.isfinite(value) for value in published(entry)):
        rows.append([name, "published", *_published_words(entry)])
    if entry["exact"] is not None:
        rows.append([name, "exact", short(entry["exact"])])
    if ours is not None:
        rows.append([name, f"ours, {seeds_words(ours['num_seeds'])}", *(x.full() for x in curve(entry))])
    if ours is not None and ours["num_seeds"] > 1:
        best = zip(curve(entry), ours["best"]["curve"], strict=True)
        rows.append([name, "ours, best seed", *(estimate.beside(value) for estimate, value in best)])
    return rows


def _published_words(entry: Mapping[str, Any]) -> list[str]:
    words = [short(value) for value in published(entry)]
    if entry["published_margin"] is not None:
        words[-1] += f" ± {short(entry['published_margin'])}"
    return words


def _beside(entry: Mapping[str, Any]) -> str:
    both = [
        (steps, ours, theirs)
        for steps, (ours, theirs) in enumerate(zip(curve(entry), published(entry), strict=False))
        if ours.known and math.isfinite(theirs)
    ]
    if not both:
        return ""
    steps, ours, theirs = both[-1]
    after = f" after {_after(steps)}" if entry["takes_steps"] else ""
    return f"{entry['cell']}{after} {ours.full()}, {_side(ours, theirs)} {short(theirs)}"


def _side(ours: Estimate, theirs: float) -> str:
    """Level where our interval holds theirs."""
    if ours.bounded and ours.low <= theirs <= ours.high:
        return "level with"
    return "above" if ours.mean > theirs else "below"


def _after(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _mean(entry: Mapping[str, Any], name: str) -> float:
    return sum(run[name] for run in entry["runs"]) / len(entry["runs"])
