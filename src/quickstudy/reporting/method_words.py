"""What is said of methods in words: what their intervals are, which seeds count, whether steps are equal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from quickstudy.reporting.estimates import count
from quickstudy.reporting.methods import FEWEST_SEEDS, Method, seed_of

STEPS_TOLERANCE = 0.01
"""Environment steps that differ by a smaller share are equal: an update more or less."""
NARROW = {4: "four", 3: "three"}
"""Resampled means reach no further than the seeds do: of 4,000 normal samples, the interval holds the mean in
75% with 3 seeds, 87% with 4, 91% with 5 and 95% with 10."""


def interval_meaning(methods: Sequence[Method]) -> str:
    """What the intervals of these methods are, which are too narrow, and which methods have none."""
    keys: dict[int, list[str]] = {}
    for method in methods:
        keys.setdefault(len(method.evaluated), []).append(method.key)
    parts = []
    if max(keys, default=0) >= FEWEST_SEEDS:
        parts.append("Intervals: 95%, bootstrap over seeds.")
    for seeds, word in NARROW.items():
        if seeds in keys:
            parts.append(f"Only {word} seeds ({', '.join(keys[seeds])}): too narrow, about lowest … highest.")
    if 2 in keys:
        parts.append(f"Only two seeds ({', '.join(keys[2])}): lowest … highest, no interval.")
    if 1 in keys:
        parts.append(f"Only one seed ({', '.join(keys[1])}): no interval.")
    return " ".join(parts)


def repetitions(methods: Sequence[Method]) -> str:
    """Which runs count for nothing; empty where all count."""
    told = [
        f"{run.name} (seed {seed_of(run)} of {method.key})" for method in methods for run in method.repeated
    ]
    return f"Seeds that are there already, and not counted again: {', '.join(told)}." if told else ""


def unequal_steps(methods: Sequence[Method]) -> str:
    """Which methods were trained for more or for fewer environment steps; empty where none was."""
    known = [method for method in methods if math.isfinite(method.env_steps[0])]

    def alike(steps: float) -> list[Method]:
        return [method for method in known if all(_near(steps, end) for end in method.env_steps)]

    # What most methods have is what the others are held against.
    usual = max((alike(method.env_steps[1]) for method in known), key=len, default=[])
    apart = [method for method in known if method not in usual]
    if not apart:
        return ""
    told = [f"{method.key} {steps_text(method)}" for method in (apart if len(usual) > 1 else known)]
    if len(usual) > 1:
        told.append(f"the others {steps_text(usual[0])}")
    return f"Not at equal environment steps: {', '.join(told)}."


def steps_text(method: Method) -> str:
    low, high = method.env_steps
    return f"{count(low)} … {count(high)}" if low < high and not _near(low, high) else count(high)


def seeds_text(method: Method) -> str:
    """How many seeds it has, and how many of them are evaluated where that is fewer."""
    seeds, evaluated = len(method.runs), len(method.evaluated)
    return str(seeds) if seeds == evaluated else f"{evaluated} of {seeds}"


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= STEPS_TOLERANCE * max(abs(a), abs(b))
