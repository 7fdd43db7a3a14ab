"""What a query finds among remembered (key, action, return): three ways to weigh entries by their likeness.

    attention:   w_i = softmax_i(β cos(q, k_i))                    read  Σ w_i [a_i, a_i R_i, R_i]
    nearest:     w_i ∝ 1 / (|q - k_i|² + δ), over the n nearest    read  Σ w_i [a_i, a_i R_i, R_i]
    prototypes:  c_a, R_a = means of key and return where a was taken;
                 p_a = softmax_a(-|q - c_a|²)                      read  [p_a, R_a, share of a] of each a
                 of an action of many numbers, a softmax over the values of each

Each also reads how full the memory is. Actions are vectors, one-hot where they are discrete.

Source: attention, Vinyals et al. 2016 (arXiv 1606.04080), section 2.1.1; nearest, Pritzel et al. 2017 (arXiv
1703.01988), equation 5; prototypes, Snell et al. 2017 (arXiv 1703.05175), algorithm 1.
Differs from the papers: the labels that are found are actions and the returns that they earned; the attention's
strength β is learned, where Vinyals et al. have 1.
"""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.types import Array

RetrievalName = Literal["attention", "nearest", "prototypes"]
KERNEL_WIDTH = 1e-3
"""δ, as in Pritzel et al."""


class Entries(NamedTuple):
    """What is remembered, C entries, the newest last."""

    keys: Array
    """[C, D]"""
    actions: Array
    """[C, A]"""
    returns: Array
    """[C]"""
    known: Array
    """bool [C]: there is an entry, and its episode has ended, so that its return is known."""


def read_size(retrieval: RetrievalName, action_size: int) -> int:
    """The numbers that `read` returns."""
    return 3 * action_size + 1 if retrieval == "prototypes" else 2 * action_size + 2


def read(
    retrieval: RetrievalName,
    query: Array,
    entries: Entries,
    capacity: int,
    strength: Array | None,
    num_nearest: int,
    num_values: tuple[int, ...] | None = None,
) -> Array:
    """query [D] -> [read_size], zeros from an empty memory; `strength` is β, of attention alone.

    Of the entries, at most `capacity` are known. `num_values`, of each number of an action, tells prototypes
    which values are rivals; None takes all of an action for one number.
    """
    full = entries.known.sum(dtype=entries.returns.dtype)[None] / capacity
    if retrieval == "prototypes":
        return jnp.concatenate([_prototypes(query, entries, capacity, num_values), full])
    if retrieval == "nearest":
        weights = _nearest(query, entries, num_nearest)
    else:
        assert strength is not None
        weights = _shares(strength * _unit(entries.keys) @ _unit(query), entries.known)
    labels = [entries.actions, entries.actions * entries.returns[:, None], entries.returns[:, None]]
    return jnp.concatenate([weights @ jnp.concatenate(labels, axis=-1), full])


def _nearest(query: Array, entries: Entries, num_nearest: int) -> Array:
    """Weights [C], 0 for all but the nearest."""
    distance = ((entries.keys - query) ** 2).sum(-1)
    # A softmax of logarithms: the weights sum to 1 however far the nearest are.
    near = jnp.where(entries.known, -jnp.log(distance + KERNEL_WIDTH), -jnp.inf)
    # The newest of those that are equally near: the order is turned, for the first of equals is taken.
    chosen = len(near) - 1 - jax.lax.top_k(near[::-1], min(num_nearest, len(near)))[1]
    return _shares(near, entries.known & jnp.zeros_like(entries.known).at[chosen].set(True))


def _prototypes(query: Array, entries: Entries, capacity: int, num_values: tuple[int, ...] | None) -> Array:
    taken = jnp.where(entries.known[:, None], entries.actions, 0.0)
    counts = taken.sum(0)
    per_entry = taken / jnp.maximum(counts, 1.0)
    centres, returns = per_entry.T @ entries.keys, per_entry.T @ entries.returns
    # A softmax for each number of an action: its values are rivals of each other, not of another number's.
    logits, ends = -((centres - query) ** 2).sum(-1), list(itertools.accumulate(num_values or ()))[:-1]
    each = zip(jnp.split(logits, ends), jnp.split(counts > 0, ends), strict=True)
    return jnp.concatenate([*(_shares(some, present) for some, present in each), returns, counts / capacity])


def _shares(logits: Array, present: Array) -> Array:
    """Softmax over those present; zeros where there is none."""
    shares = jax.nn.softmax(jnp.where(present, logits, -1e9))
    return jnp.where(present, shares, 0.0)


def _unit(x: Array) -> Array:
    return x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-8)
