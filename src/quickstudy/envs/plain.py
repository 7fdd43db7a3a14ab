"""Other people's spaces as the two that agents know: `Discrete` from 0, and `Box` of at most float32.

Observations of other kinds (dictionaries, tuples, bits) are flattened into one vector; actions of several
axes too, and an action outside its bounds is clipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from quickstudy.errors import InputError

Plain = spaces.Discrete | spaces.Box


def plain_observation_space(space: spaces.Space) -> Plain:
    """The space of `plain_observation(space, …)`."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.Box):
        return _box(space, space.shape)
    flat = spaces.flatten_space(space)
    if not isinstance(flat, spaces.Box):
        raise InputError(f"observation_space: got {space}; expected a space that can be flattened to a Box")
    return _box(flat, flat.shape)


def plain_observation(space: spaces.Space, observation: Any) -> Any:
    if isinstance(space, spaces.Discrete):
        return int(observation) - int(space.start)
    if isinstance(space, spaces.Box):
        return observation
    return spaces.flatten(space, observation)


def plain_action_space(space: spaces.Space) -> Plain:
    """The space of actions that `own_action(space, …)` understands."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return _box(space, (int(np.prod(space.shape)),))
    raise InputError(f"action_space: got {space}; expected Discrete, or Box of floats")


def own_action(space: spaces.Space, action: np.ndarray) -> Any:
    """A plain action as the environment wants it, inside its bounds."""
    if isinstance(space, spaces.Discrete):
        return int(action) + int(space.start)
    assert isinstance(space, spaces.Box)
    # np.clip takes five times as long for a few numbers.
    return np.minimum(np.maximum(action.astype(space.dtype).reshape(space.shape), space.low), space.high)


def _box(space: spaces.Box, shape: tuple[int, ...]) -> spaces.Box:
    dtype = np.dtype(np.float32) if np.issubdtype(space.dtype, np.floating) else space.dtype
    if dtype == np.int64:
        dtype = np.dtype(np.int32)
    with np.errstate(over="ignore"):  # bounds beyond the largest number of a smaller type are infinite
        low, high = space.low.astype(dtype).reshape(shape), space.high.astype(dtype).reshape(shape)
    return spaces.Box(low, high, shape, dtype.type)
