"""How a rate or a coefficient moves over a training, as a function of the share that is done.

    decayed     end + (start - end) left,  left = 1 | 1 - progress | (1 + cos(π progress))/2
    moved       start + (end - start) progress

No state counts updates, so a resumed training is where it was.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from quickstudy.types import Array

Schedule = Literal["constant", "linear", "cosine"]


def decayed(schedule: Schedule, start: float, end: float, progress: Array) -> Array:
    """From `start` to `end` along a schedule; `progress` in [0, 1]. A constant one stays at `start`."""
    left = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + jnp.cos(jnp.pi * progress)) / 2}
    return end + (start - end) * left[schedule]


def moved(start: float, end: float | None, progress: Array | float) -> Array | float:
    """From `start` to `end` in a straight line; None stays at `start`."""
    return start if end is None else start + (end - start) * progress
