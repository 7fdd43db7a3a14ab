"""One tree of random keys below a seed; each branch has one use, so train and test tasks never meet."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from quickstudy.types import Key

INIT, TRAIN, VALIDATION, TEST, SESSION, FINGERPRINT, OUTER, KNOWN, EXAM, TRANSFER = range(10)


def branch(seed: int, use: int) -> Key:
    """The key of one use below a seed."""
    return jax.random.fold_in(jax.random.key(seed), use)


def per_task(key: Key, indices: ArrayLike) -> tuple[Key, Key]:
    """Keys for the tasks with these numbers [n] -> (to sample them, to live in them), [n] each.

    They depend on the number of the task alone, not on how many there are.
    """
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(jnp.asarray(indices))
    return keys[:, 0], keys[:, 1]
