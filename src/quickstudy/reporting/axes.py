"""Axes of a chart: a linear map from values to drawing units, with round ticks."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from quickstudy.reporting.estimates import UNITS, minus, places_of

EVERY_ONE = 12


@dataclasses.dataclass(frozen=True)
class Axis:
    """Maps [low, high] to [start, end]; a vertical axis has its start below its end on the page."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def span(values: Iterable[float], padding: float = 0.06) -> tuple[float, float] | None:
    """The range of the finite values with some room around it; None if there is no such value."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return None
    low, high = min(known), max(known)
    room = padding * (high - low)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        room = 0.1 * abs(low) or 1.0
    return low - room, high + room


def ticks(low: float, high: float, count: int = 5, whole: bool = False) -> list[float]:
    """About `count` round numbers (1, 2 or 5 times a power of ten) within [low, high], two at least.

    `whole` keeps to whole numbers; of up to a dozen it takes every one.
    """
    if whole and high - low < EVERY_ONE:
        return [float(value) for value in range(math.ceil(low), math.floor(high) + 1)]
    found = _round_numbers(low, high, count, whole)
    return found if len(found) > 1 or whole else _round_numbers(low, high, 2 * count, whole)


def _round_numbers(low: float, high: float, count: int, whole: bool) -> list[float]:
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    step = max(step, 1.0) if whole else step
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_texts(values: Sequence[float]) -> list[str]:
    """Ticks as text, all with the same unit and the same number of decimal places."""
    largest = max((abs(value) for value in values), default=0.0)
    step = min((b - a for a, b in itertools.pairwise(values)), default=largest)
    if largest and not 1e-4 <= largest < 1e15:
        return [minus(f"{value:.1e}") if value else "0" for value in values]
    size, letter = next((unit for unit in UNITS if largest >= max(unit[0], 1e4)), (1.0, ""))
    places = places_of(step / size * 1.001)
    return [minus(f"{value / size:.{places}f}{letter}") if value else "0" for value in values]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions within [low, high], at least `gap` apart, that are nearest to the wanted ones (least squares).

    With the gaps subtracted this is isotonic regression, solved by pooling adjacent violators; clipping its
    solution keeps it optimal under bounds. The range must have room for them all.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    pools: list[tuple[float, int]] = []
    for rank, index in enumerate(order):
        mean, size = wanted[index] - rank * gap, 1
        while pools and pools[-1][0] > mean:
            before, before_size = pools.pop()
            mean = (mean * size + before * before_size) / (size + before_size)
            size += before_size
        pools.append((mean, size))
    highest = high - (len(wanted) - 1) * gap
    levels = [min(max(mean, low), highest) for mean, size in pools for _ in range(size)]
    placed = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        placed[index] = levels[rank] + rank * gap
    return placed


def thinned(length: int, limit: int) -> list[int]:
    """At most `limit` indices of `length`, evenly spaced, the first and the last among them."""
    if length <= limit:
        return list(range(length))
    return [int(index) for index in np.linspace(0, length - 1, limit).round()]
