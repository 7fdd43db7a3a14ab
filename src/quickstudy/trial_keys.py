"""The tree of random keys below a trial's key.

Every key is made from its place in the trial, so that `replay` finds the ones that `collect` used.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from quickstudy.types import Array, Key, PyTree

# What a random key of a step is for: the agent, its action, the environment, the critic's value behind a cut,
# a reset.
AGENT, ACTION, ENV, VALUE, RESET = range(NUM_USES := 5)
# Steps of all streams whose first three keys are made before the scan; they take 24 bytes each.
MOST_STORED_KEYS = 2**22


def init_key(key: Key) -> Key:
    return jax.random.fold_in(key, 0)


def phase_key(key: Key, phase: Array | int) -> Key:
    return jax.random.fold_in(key, phase + 1)


def adapt_key(key: Key, phase: Array | int) -> Key:
    return jax.random.fold_in(phase_key(key, phase), 0)


def stream_keys_of(key: Key, phase: Array | int, num_streams: int) -> Key:
    return jax.random.split(jax.random.fold_in(phase_key(key, phase), 1), num_streams)


def reset_key(key: Key) -> Key:
    return jax.random.fold_in(key, 0)


def step_key(key: Key, t: Array | int, use: int) -> Key:
    """Of a stream's step t."""
    return jax.random.fold_in(key, 1 + NUM_USES * t + use)


def walk(num_steps: int, num_streams: int, keys_at: Any) -> tuple[PyTree, Any]:
    """What a scan over time walks through, and how `(t, keys for AGENT, ACTION, ENV)` come from it.

    Keys are made for all steps at once where they fit: one by one they are a large part of a small agent's
    step. Keys that only some steps need are made where they are needed.
    """
    steps = jnp.arange(num_steps)

    def with_keys(t: Array) -> tuple[Array, tuple[Key, Key, Key]]:
        return t, (keys_at(t, AGENT), keys_at(t, ACTION), keys_at(t, ENV))

    if num_steps * num_streams > MOST_STORED_KEYS:
        return steps, with_keys
    return jax.vmap(with_keys)(steps), lambda step: step
