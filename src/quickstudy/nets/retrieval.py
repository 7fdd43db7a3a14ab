"""What a query finds among remembered (key, action, return): three ways to weigh entries by their likeness.

    attention:   w_i = softmax_i(β cos(q, k_i))                    read  Σ w_i [a_i, a_i R_i, R_i]
    nearest:     w_i ∝ 1 / (|q - k_i|² + δ), over the n nearest    read  Σ w_i [a_i, a_i R_i, R_i]
    prototypes:  c_a, R_a = means of key and return where a was taken;
                 p_a = softmax_a(-|q - c_a|²)                      read  [p_a, R_a, share of a] of each a

Each also reads how full the memory is. Actions are vectors, one-hot where they are discrete.

Source: attention, Vinyals et al. 2016 (arXiv 1606.04080), section 2.1.1; nearest, Pritzel et al. 2017 (arXiv
1703.01988), equation 5; prototypes, Snell et al. 2017 (arXiv 1703.05175), algorithm 1.
Differs from the papers: the labels that are found are actions and the returns that they earned; the attention's
strength β is learned, where Vinyals et al. have 1.
"""

from __future__ import annotations

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
) -> Array:
    """query [D] -> [read_size], zeros from an empty memory; `strength` is β, of attention alone.

    Of the entries, at most `capacity` are known.
    """
    full = entries.known.sum(dtype=entries.returns.dtype)[None] / capacity
    if retrieval == "prototypes":
        return jnp.concatenate([_prototypes(query, entries, capacity), full])
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
    near = jnp.where(entries.known, 1 / (distance + KERNEL_WIDTH), 0.0)
    # The newest of those that are equally near: the order is turned, for the first of equals is taken.
    chosen = len(near) - 1 - jax.lax.top_k(near[::-1], min(num_nearest, len(near)))[1]
    near = jnp.zeros_like(near).at[chosen].set(near[chosen])
    return near / jnp.maximum(near.sum(), KERNEL_WIDTH)


def _prototypes(query: Array, entries: Entries, capacity: int) -> Array:
    taken = jnp.where(entries.known[:, None], entries.actions, 0.0)
    counts = taken.sum(0)
    per_entry = taken / jnp.maximum(counts, 1.0)
    centres, returns = per_entry.T @ entries.keys, per_entry.T @ entries.returns
    shares = _shares(-((centres - query) ** 2).sum(-1), counts > 0)
    return jnp.concatenate([shares, returns, counts / capacity])


def _shares(logits: Array, present: Array) -> Array:
    """Softmax over those present; zeros where there is none."""
    shares = jax.nn.softmax(jnp.where(present, logits, -1e9))
    return jnp.where(present, shares, 0.0)


def _unit(x: Array) -> Array:
    return x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-8)
