"""What a reset within a sequence means to a memory that is a scan, and to one that looks back.

A reset at t says that the state before x_t is the initial one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from quickstudy.types import Array, PyTree

State = TypeVar("State", bound=PyTree)


def scan(
    step: Callable[[PyTree, State], tuple[Array, State]],
    xs: PyTree,
    state: State,
    initial: State,
    resets: Array | None,
) -> Array:
    """`step`, (x, state) -> (features, state), over xs [T, ...] -> features [T, F]."""

    def body(state: State, x: tuple[PyTree, Array | None]) -> tuple[State, Array]:
        given, reset = x
        if reset is not None:
            state = where(reset, initial, state)
        features, state = step(given, state)
        return state, features

    return jax.lax.scan(body, state, (xs, resets))[1]


def where(reset: Array, initial: State, state: State) -> State:
    """`initial` if `reset`, a bool, else `state`."""
    return jax.tree.map(lambda new, old: jnp.where(reset, new, old), initial, state)


def ages(age: Array, resets: Array | None, num_steps: int) -> Array:
    """How many steps lie between each of T steps and the last reset, int [T]; `age` steps came before."""
    t = jnp.arange(num_steps)
    if resets is None:
        return age + t
    return t - jax.lax.cummax(jnp.where(resets, t, -age))
