"""Causal attention over a bounded window that is cut at resets, for a step and for a sequence alike.

    out_t = Σ_j softmax_j(q_t · k_j / √K) v_j,    0 ≤ t - j < context,  t - j ≤ age_t

age_t counts the steps since the last reset. A sequence longer than the context is cut into blocks that see
themselves and the block before, so that the work is T × context and not T².

Source: Vaswani et al. 2017 (arXiv 1706.03762); positions by rotation, Su et al. 2021 (arXiv 2104.09864):
a product of two rotated vectors depends on their distance alone.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from quickstudy.types import Array

BASE = 10_000.0
"""The slowest rotation has a period of 2π times about this many steps."""


def attend(queries: Array, keys: Array, values: Array, ages: Array, *, rotary: bool) -> Array:
    """queries [T, H, K], keys [C-1+T, H, K], values [C-1+T, H, V], ages [T] -> [T, H, V].

    The first C-1 keys and values are of the steps before the first; C is the context.
    """
    num_steps, num_past = queries.shape[0], keys.shape[0] - queries.shape[0]
    context = num_past + 1
    if num_steps <= context:
        return _attend_block(queries, keys, values, ages, context, rotary)

    num_blocks = -(-num_steps // context)
    behind = num_blocks * context - num_steps

    def cut(x: Array, before: int) -> Array:
        x = jnp.pad(x, [(before, behind)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, context, *x.shape[1:])

    def windows(x: Array) -> Array:
        # One step before the past, which is out of reach, makes it a block of its own.
        blocks = cut(x, 1)
        return jnp.concatenate([blocks[:-1], blocks[1:]], axis=1)

    def block(q: Array, k: Array, v: Array, ages: Array) -> Array:
        return _attend_block(q, k, v, ages, context, rotary)

    out = jax.vmap(block)(cut(queries, 0), windows(keys), windows(values), cut(ages, 0))
    return out.reshape(-1, *out.shape[2:])[:num_steps]


def _attend_block(q: Array, k: Array, v: Array, ages: Array, context: int, rotary: bool) -> Array:
    """q [B, H, K]; k and v [P+B, H, …], of which P are before the block."""
    places = jnp.arange(k.shape[0])
    own = places[k.shape[0] - q.shape[0] :]
    distance = own[:, None] - places
    seen = (distance >= 0) & (distance < context) & (distance <= ages[:, None])
    if rotary:
        q, k = rotated(q, own), rotated(k, places)
    logits = jnp.einsum("qhd,khd->hqk", q, k) / jnp.sqrt(jnp.asarray(q.shape[-1], q.dtype))
    # A step sees itself always, so no row is empty.
    weights = jax.nn.softmax(jnp.where(seen, logits, -jnp.inf))
    return jnp.einsum("hqk,khd->qhd", weights, v)


def rotated(x: Array, places: Array) -> Array:
    """Turn pairs of entries of x [T, H, K] by angles that grow with `places` [T]; an odd entry stays."""
    half = x.shape[-1] // 2
    rates = BASE ** (-jnp.arange(half, dtype=x.dtype) / max(half, 1))
    angles = places[:, None, None].astype(x.dtype) * rates
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    one, two, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return jnp.concatenate([one * cos - two * sin, one * sin + two * cos, rest], axis=-1)
