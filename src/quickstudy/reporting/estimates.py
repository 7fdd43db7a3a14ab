"""Numbers as a page says them: an estimate with its interval, counts, and a dash where nothing is known."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

MISSING = "\N{EN DASH}"

UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
"""Short forms of large counts; numbers below 10,000 are written out."""

LARGEST = 1e100
"""Beyond this a number is taken for missing: the geometry of a chart would overflow."""


def finite(value: Any) -> float:
    """The number, or NaN for whatever is not a finite one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if -LARGEST < value < LARGEST else math.nan


class Estimate(NamedTuple):
    """A mean with its 95% interval; NaN where a number is missing."""

    mean: float
    low: float
    high: float

    @classmethod
    def read(cls, value: Any) -> Estimate:
        """From `{"mean": …, "low": …, "high": …}`; anything else is unknown."""
        stored = value if isinstance(value, Mapping) else {}
        return cls(*(finite(stored.get(name)) for name in cls._fields))

    @property
    def known(self) -> bool:
        return math.isfinite(self.mean)

    @property
    def bounded(self) -> bool:
        """Whether there is an interval around the mean (an exact value has none)."""
        return math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high

    def scaled(self, factor: float) -> Estimate:
        return Estimate(*(number * factor for number in self))

    def text(self, signed: bool = False) -> str:
        """The mean, to as many places as its interval supports."""
        return number(self.mean, self._places(), signed)

    def beside(self, value: float) -> str:
        """Another number of the same sample, to the same places."""
        return number(value, self._places())

    def bounds(self) -> str:
        """`[low, high]`, or nothing where there is no interval."""
        if not self.bounded:
            return ""
        return f"[{number(self.low, self._places())}, {number(self.high, self._places())}]"

    def full(self) -> str:
        """`mean [low, high]`."""
        return f"{self.text()} {self.bounds()}".strip()

    def _places(self) -> int | None:
        # Places that show half of the half width: both bounds then differ visibly from the mean.
        return places_of((self.high - self.low) / 4) if self.bounded else None


def places_of(size: float) -> int:
    """Decimal places that show the first digit of a positive size."""
    return min(max(-math.floor(math.log10(size)), 0), 8) if size > 0 else 0


def number(value: float, places: int | None = None, signed: bool = False) -> str:
    """A number with thousands separated; to four significant digits where no places are given."""
    if not math.isfinite(value):
        return MISSING
    if value != 0 and not 1e-6 <= abs(value) < 1e12:
        return minus(f"{value:{'+' if signed else ''}.3g}")
    if places is None:
        places = min(max(3 - math.floor(math.log10(abs(value))), 0), 8) if value else 0
    return minus(f"{round(value, places) + 0.0:{'+' if signed else ''},.{places}f}")


def short(value: float) -> str:
    """A number to four significant digits, without zeros at its end."""
    return minus(f"{value:.4g}") if math.isfinite(value) else MISSING


def count(value: float) -> str:
    """A large count in short: 812, 41.2k, 1.25M."""
    if not math.isfinite(value):
        return MISSING
    unit = next((unit for unit in UNITS if abs(value) >= unit[0]), None)
    if unit is None or abs(value) < 1e4:
        return number(value, 0)
    return minus(f"{value / unit[0]:.3g}{unit[1]}")


def minus(text: str) -> str:
    """A number's text with a minus sign where Python writes a hyphen."""
    return text.replace("-", "\N{MINUS SIGN}")
