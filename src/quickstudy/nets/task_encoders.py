"""What a phase of one task tells of it: from transitions [S, T] to one vector.

    x_st = [o_t, a_t, r_t, …] of stream s
    recurrent:   e_s = GRU(x_s0 … x_sT),           out = mean_s e_s
    relation:    e_s = mean_t σ(W x_st + b),       out = U mean_{s, s'} σ(V [e_s, e_s'] + c) + d

Neither asks in which order the streams come. Steps that are masked count for nothing, nor does a stream that is
masked altogether.

Source: Vuorio et al. 2019 (arXiv 1910.13616), the recurrent one; Rusu et al. 2019 (arXiv 1807.05960) and Sung
et al. 2018 (arXiv 1711.06025), the relation network.
Differs from the papers: no layers between the GRU and what is made of the mean; the relation network is over
pairs of streams, where theirs is over pairs of labelled pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.layers import Linear
from quickstudy.nets.recurrent import GRU
from quickstudy.types import Array, Key, Transition


def described(phase: Transition, observed: Callable[[Any], Array], acted: Callable[[Any], Array]) -> Array:
    """x of each step of a phase [S, T], [S, T, O + A + 1], by encoders of an observation and an action."""

    def describe(step: Transition) -> Array:
        return jnp.concatenate([observed(step.timestep.observation), acted(step.action), step.reward[None]])

    return jax.vmap(jax.vmap(describe))(phase)


class RecurrentEncoder(eqx.Module):
    """x [S, T, in], mask [S, T] -> [E]: what a GRU remembers at each stream's end, their mean."""

    core: GRU

    def __init__(self, in_size: int, size: int, key: Key):
        self.core = GRU(in_size, size, key)

    def __call__(self, x: Array, mask: Array) -> Array:
        def remembered(x: Array, mask: Array) -> Array:
            return self.core.unroll(x, self.core.init_state())[mask.sum() - 1]

        return jnp.mean(jax.vmap(remembered)(x, mask), axis=0, where=mask.any(axis=1)[:, None])


class RelationEncoder(eqx.Module):
    """x [S, T, in], mask [S, T] -> [out]: what is in each stream, and between every two of them."""

    inner: Linear
    pair: Linear
    out: Linear

    def __init__(self, in_size: int, size: int, out_size: int, key: Key, scale: float):
        k_inner, k_pair, k_out = jax.random.split(key, 3)
        self.inner = Linear(in_size, size, k_inner)
        self.pair = Linear(2 * size, size, k_pair)
        self.out = Linear(size, out_size, k_out, scale)

    def __call__(self, x: Array, mask: Array) -> Array:
        counts = mask[..., None].astype(x.dtype)
        # A stream of no steps has no mean, and is in no pair.
        streams = (jnp.tanh(self.inner(x)) * counts).sum(axis=1) / jnp.maximum(counts.sum(axis=1), 1)
        num_streams = len(streams)
        left = jnp.repeat(streams, num_streams, axis=0)
        right = jnp.tile(streams, (num_streams, 1))
        pairs = jnp.tanh(self.pair(jnp.concatenate([left, right], axis=-1)))
        lived = mask.any(axis=1)
        both = jnp.repeat(lived, num_streams) & jnp.tile(lived, num_streams)
        return self.out(jnp.mean(pairs, axis=0, where=both[:, None]))
