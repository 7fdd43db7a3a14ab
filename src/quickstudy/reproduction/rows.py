"""The rows of a reproduced table as words, for the terminal and the page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from quickstudy.reporting.estimates import MISSING, Estimate, count, finite, number
from quickstudy.reporting.page import duration

SUMMARY = ("cell", "best published", "ours, mean of seeds", "best of seeds", "limit", "gap")
METHODS = ("", "published", "measured here")
TRAININGS = ("seed", "return of a trial", "environment steps", "time")
PUBLISHED_PLACES = 1
"""Of every published mean."""
LIMIT_DIGITS = 5
"""Of every limit, which all were stated to."""
FEWEST_SEEDS = 5
TOO_NARROW = ", too narrow where they are fewer than five: it reaches no further than they do"


def plain(value: float, digits: int = LIMIT_DIGITS) -> str:
    """A number to so many significant digits, without zeros at its end."""
    return f"{value:.{digits}g}" if math.isfinite(value) else MISSING


def limit_words(limit: Mapping[str, Any]) -> str:
    """`6.6599, exact`, `at least 78.65` or `85.54 … 86.18`."""
    low, high = finite(limit.get("low")), finite(limit.get("high"))
    if limit.get("exact"):
        return f"{plain(low)}, exact"
    if math.isfinite(high):
        return f"{plain(low)} … {plain(high)}"
    margin = finite(limit.get("standard_error"))
    return f"at least {plain(low)}" + (f" ± {plain(margin)}" if margin > 0 else "")


def seeds_words(num_seeds: int) -> str:
    return "1 seed" if num_seeds == 1 else f"{num_seeds} seeds"


def too_narrow(nums_seeds: Iterable[int]) -> str:
    """What is to be said of intervals over so few seeds."""
    return TOO_NARROW if any(1 < num < FEWEST_SEEDS for num in nums_seeds) else ""


def best_published(entry: Mapping[str, Any]) -> tuple[str, float] | None:
    """The highest published mean and the methods that have it."""
    rows: dict[str, float] = entry["published"]
    if not rows:
        return None
    best = max(rows.values())
    return ", ".join(name for name, value in rows.items() if value == best), best


def places(entry: Mapping[str, Any]) -> int | None:
    """Decimal places that the interval over seeds supports, the limit's gap in view."""
    ours = entry["ours"]
    estimate = Estimate.read(ours)
    gap = abs(entry["limit"]["low"] - ours["mean"])
    width = (estimate.high - estimate.low) / 4 if estimate.bounded else math.inf
    size = min(width, gap)
    return min(max(math.ceil(-math.log10(size)), 0), 4) if 0 < size < math.inf else None


def ours_words(entry: Mapping[str, Any]) -> str:
    """`6.645 [6.641, 6.650]`, or the mean alone of one seed."""
    ours, digits = entry["ours"], places(entry)
    mean, low, high = (finite(ours[name]) for name in ("mean", "low", "high"))
    if not math.isfinite(low):
        return number(mean, digits)
    return f"{number(mean, digits)} [{number(low, digits)}, {number(high, digits)}]"


def trained_by(entry: Mapping[str, Any]) -> str:
    """How ours was trained: a start by imitation is said wherever its figures are."""
    experiment = entry["experiment"]
    agent, outer, imitation = experiment["agent"], experiment["outer"], experiment["imitation"]
    core = f" with the core {agent['core']}" if "core" in agent else ""
    how = f", by {outer['type']}"
    if imitation["teacher"] is not None and imitation["share"] < 1:
        how += f", which imitated {imitation['teacher']} for the first {imitation['share']:.0%} of the updates"
    elif imitation["teacher"] is not None:
        # The outer loop never had an update.
        how = f", which imitated {imitation['teacher']} for all the updates, without reinforcement"
    return f"{entry['cell']}, ours: {agent['type']}{core}{how}"


def summary_row(entry: Mapping[str, Any]) -> list[str]:
    """The cells of `SUMMARY`."""
    best = best_published(entry)
    return [
        entry["cell"],
        MISSING if best is None else f"{number(best[1], PUBLISHED_PLACES)} {best[0]}",
        f"{ours_words(entry)}, {seeds_words(entry['ours']['num_seeds'])}",
        number(entry["ours"]["best"], places(entry)),
        limit_words(entry["limit"]),
        gap_words(entry),
    ]


def gap_words(entry: Mapping[str, Any]) -> str:
    """How far the mean of our seeds is below the limit; a negative one is above a lower bound, or chance."""
    return f"{number(entry['gap_percent']['mean'], 2)}%"


def method_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """Every method, published and measured here, ours and the limit; the best last."""
    measured: Mapping[str, Any] = entry["references"]["rows"]
    published: Mapping[str, float] = entry["published"]
    ours = entry["ours"]
    rows = [
        (
            measured[name]["mean"] if name in measured else published[name],
            [
                name,
                _published(entry, name),
                Estimate.read(measured.get(name)).full() if name in measured else "",
            ],
        )
        for name in {**published, **measured}
    ]
    of = seeds_words(ours["num_seeds"])
    rows.append((ours["mean"], [f"ours, mean of {of}", "", ours_words(entry)]))
    if ours["num_seeds"] > 1:
        rows.append((ours["best"], [f"ours, best of {of}", "", number(ours["best"], places(entry))]))
        rows.append((ours["iqm"], ["ours, interquartile mean", "", number(ours["iqm"], places(entry))]))
    rows.append((entry["limit"]["low"], ["limit", "", limit_words(entry["limit"])]))
    return [row for _, row in sorted(rows, key=lambda row: row[0])]


def _published(entry: Mapping[str, Any], name: str) -> str:
    if name not in entry["published"]:
        return ""
    margin = entry["published_margins"].get(name)
    shown = number(entry["published"][name], PUBLISHED_PLACES)
    return shown if margin is None else f"{shown} ± {number(margin, PUBLISHED_PLACES)}"


def verdict(result: Mapping[str, Any]) -> str:
    """What came out, in two or three sentences."""
    cells = result["cells"]
    if not cells:
        return "Nothing is measured yet."
    said = [_against_published(cells), _against_limit(cells)]
    said += [optimality_words(entry["optimality"]) for entry in cells if "optimality" in entry]
    return " ".join(words for words in said if words)


def _against_published(cells: list[dict[str, Any]]) -> str:
    sides = [side for entry in cells if (side := _side(entry))]
    if not sides:
        return ""
    told = [
        f"{words} in {sides.count(side)}"
        for side, words in (("above", "above it"), ("level", "level with it"), ("below", "below it"))
        if side in sides
    ]
    cells_words = "1 cell" if len(sides) == 1 else f"{len(sides)} cells"
    return f"The mean of our seeds beside the best published row, in {cells_words}: {', '.join(told)}."


def _side(entry: Mapping[str, Any]) -> str | None:
    """Of the best published row, on which ours is; level where our interval over seeds meets its own."""
    best, ours = _best_interval(entry), entry["ours"]
    if best is None:
        return None
    low, high = (ours["mean"], ours["mean"]) if ours["low"] is None else (ours["low"], ours["high"])
    if low <= best[1] and best[0] <= high:
        return "level"
    return "above" if low > best[1] else "below"


def _best_interval(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    """Between which the best published mean is: by its ± where one was published, else as it was rounded.

    What is above the highest that is possible counts as that. Of equals the best is meant, each with its own ±.
    """
    best = best_published(entry)
    if best is None:
        return None
    highest = entry["limit"]["high"]
    mean = best[1] if highest is None else min(best[1], highest)
    rounded = 0.5 * 10.0**-PUBLISHED_PLACES
    margins = [
        max(entry["published_margins"].get(name, 0.0), rounded)
        for name, value in entry["published"].items()
        if value == best[1]
    ]
    return mean - min(margins), mean + max(margins)


def _against_limit(cells: list[dict[str, Any]]) -> str:
    gaps = [entry["gap_percent"]["mean"] for entry in cells]
    first, last = (number(gap, 2) for gap in (min(gaps), max(gaps)))
    between = f"{first}%" if first == last else f"{first}% to {last}%"
    return f"The gap from the mean of our seeds up to the limit is {between}."


def optimality_words(optimality: Mapping[str, Any]) -> str:
    """How many seeds are exactly optimal, ours and the published."""
    others = ", ".join(
        f"{name} {found['count']} of {found['of']}" for name, found in optimality["published"].items()
    )
    return (
        f"Acting greedily, {optimality['count']} of our {seeds_words(optimality['of'])} "
        f"{'is' if optimality['count'] == 1 else 'are'} exactly Bayes-optimal (published: {others})."
    )


def held_out_words(result: Mapping[str, Any]) -> str:
    """`held-out tasks`, and of few different ones what that means."""
    different = result["num_different_tasks"]
    return f"held-out tasks{f', which are fresh draws of the same {different}' if different else ''}"


def share_words(told: Mapping[str, Any]) -> str:
    """A probability, or a difference of some, with its interval, to two places."""
    mean, low, high = (finite(told.get(name)) for name in ("mean", "low", "high"))
    bounds = f" [{number(low, 2)}, {number(high, 2)}]" if math.isfinite(low) else ""
    return number(mean, 2) + bounds


def training_rows(entry: Mapping[str, Any]) -> list[list[str]]:
    """The cells of `TRAININGS`."""
    return [
        [
            str(run["seed"]),
            Estimate.read(run["total"]).full(),
            count(run["env_steps"]),
            duration(run["seconds"]),
        ]
        for run in entry["runs"]
    ]
