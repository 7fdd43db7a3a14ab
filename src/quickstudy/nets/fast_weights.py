"""Fast weights, or linear attention: a memory that adds to tables what came after each thing it saw.

    k_t = softmax(W_k LayerNorm(x_t));   v_t = W_v x_t                       for each head
    M_t = M_{t-1} + k_{t-1} v_tᵀ;   n_t = n_{t-1} + k_{t-1}
    read_t = [k_t M_t / (p + k_t n_t), log(1 + k_t n_t)]
    y = x + W read;   x' = y + MLP(LayerNorm(y))

A step is filed under the step before it, and one that is like that finds it: x_t holds what an action earned
and where it led, x_{t-1} where it was taken. Where keys are one-hot, k n counts the visits, and the first part
of what is read is the mean of what came after them, drawn towards 0 by p > 0 visits of prior weight: what a
learner in a tabular task keeps by hand. The state never grows with the stream, and a sequence is read in
chunks, all steps of one at a time.

Source: Katharopoulos et al. 2020 (arXiv 2006.16236), equations 18 and 19; as fast weights Schlag et al. 2021
(arXiv 2102.11174), in reinforcement learning Irie et al. 2021 (arXiv 2106.06295).
Differs from the papers: a step's query is the next step's key; both through a softmax, so that their product is
at most 1; the prior's weight; the count is read too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.layers import LayerNorm, Linear
from quickstudy.nets.resets import ages
from quickstudy.types import Array, Key

CHUNK = 128
"""Steps that are read at once: the work within a chunk grows with its square, that between chunks does not."""
WIDENING = 2
"""Of the MLP's hidden layer."""
SHARPNESS = 2.0
"""Of the keys at the start: the deviation of the numbers that their softmax is taken of."""


class Tables(NamedTuple):
    """What one block remembers."""

    sums: Array
    """M, [heads, K, V]"""
    counts: Array
    """n, [heads, K]"""
    last_key: Array
    """[heads, K]; zeros before the first step."""


class FastWeightBlock(eqx.Module):
    """Acts on a sequence of one example, xs [T, hidden]."""

    norm: LayerNorm
    key: Linear
    value: Linear
    prior: Array
    """[heads]; p is its softplus."""
    mix: Linear
    mlp_norm: LayerNorm
    widen: Linear
    narrow: Linear
    num_heads: int = eqx.field(static=True)

    def __init__(self, size: int, num_heads: int, key: Key):
        k_key, k_value, k_mix, k_widen, k_narrow = jax.random.split(key, 5)
        self.norm, self.mlp_norm = LayerNorm(size), LayerNorm(size)
        self.key, self.value = Linear(size, size, k_key, SHARPNESS), Linear(size, size, k_value)
        self.prior = 0.5 * jnp.ones(num_heads)
        self.mix = Linear(2 * size + num_heads, size, k_mix)
        self.widen, self.narrow = (
            Linear(size, WIDENING * size, k_widen),
            Linear(WIDENING * size, size, k_narrow),
        )
        self.num_heads = num_heads

    def init_state(self) -> Tables:
        size = self.mix.bias.shape[0] // self.num_heads
        zeros = jnp.zeros((self.num_heads, size, size), self.mix.bias.dtype)
        return Tables(zeros, zeros[:, :, 0], zeros[:, :, 0])

    def __call__(self, xs: Array, tables: Tables, ages: Array) -> tuple[Array, Tables]:
        """Steps since the last reset `ages` [T] -> (x' [T, hidden], the tables after the last step)"""
        heads = (*xs.shape[:-1], self.num_heads, -1)
        keys = jax.nn.softmax(self.key(self.norm(xs)).reshape(heads))
        before = jnp.concatenate([tables.last_key[None], keys[:-1]])
        before = jnp.where(ages[:, None, None] == 0, 0.0, before)
        sums, counts, after = _read(keys, before, self.value(xs).reshape(heads), tables, ages)
        root = jax.lax.rsqrt(jax.nn.softplus(self.prior) + counts)[..., None]
        sums = (sums * root).reshape(xs.shape)
        means = (sums.reshape(heads) * root).reshape(xs.shape)
        read = jnp.concatenate([means, sums, jnp.log1p(counts)], axis=-1)
        ys = xs + self.mix(read)
        return ys + self.narrow(jax.nn.relu(self.widen(self.mlp_norm(ys)))), Tables(*after, keys[-1])


class FastWeights(eqx.Module):
    """Acts on one example: x [in], features [hidden]; `num_heads` divides `hidden_size`."""

    embed: Linear
    blocks: tuple[FastWeightBlock, ...]
    norm: LayerNorm

    def __init__(self, in_size: int, hidden_size: int, num_layers: int, num_heads: int, key: Key):
        k_embed, *k_blocks = jax.random.split(key, num_layers + 1)
        self.embed = Linear(in_size, hidden_size, k_embed)
        self.blocks = tuple(FastWeightBlock(hidden_size, num_heads, k) for k in k_blocks)
        # As in the transformer: longer features make a loud first critic.
        self.norm = LayerNorm(hidden_size, hidden_size**-0.5)

    @property
    def feature_size(self) -> int:
        return self.embed.bias.shape[0]

    def init_state(self) -> tuple[Tables, ...]:
        return tuple(block.init_state() for block in self.blocks)

    def step(self, x: Array, state: tuple[Tables, ...]) -> tuple[Array, tuple[Tables, ...]]:
        """x [in] -> (features [hidden], state)"""
        # Nothing is reset within one step, so its age is of no matter.
        features, state = self._walk(x[None], state, jnp.ones(1, jnp.int32))
        return features[0], state

    def unroll(self, xs: Array, state: tuple[Tables, ...], resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, hidden]"""
        # The state is older than any of these steps, unless there was a reset.
        return self._walk(xs, state, ages(jnp.ones((), jnp.int32), resets, len(xs)))[0]

    def _walk(self, xs: Array, state: tuple[Tables, ...], ages: Array) -> tuple[Array, tuple[Tables, ...]]:
        xs = jax.nn.relu(self.embed(xs))
        after = []
        for block, tables in zip(self.blocks, state, strict=True):
            xs, tables = block(xs, tables, ages)
            after.append(tables)
        return self.norm(xs), tuple(after)


def _read(
    q: Array, k: Array, v: Array, tables: Tables, ages: Array
) -> tuple[Array, Array, tuple[Array, Array]]:
    """q, k [T, H, K], v [T, H, V] -> (sums [T, H, V] and counts [T, H] that q finds, M and n after them)."""
    num_steps = q.shape[0]
    if num_steps <= CHUNK:
        return _read_chunk(q, k, v, (tables.sums, tables.counts), ages)

    num_chunks = -(-num_steps // CHUNK)
    behind = num_chunks * CHUNK - num_steps

    def cut(x: Array) -> Array:
        # Keys of 0 behind the end add nothing; an age that goes on resets nothing.
        return jnp.pad(x, [(0, behind)] + [(0, 0)] * (x.ndim - 1)).reshape(num_chunks, CHUNK, *x.shape[1:])

    def body(state: tuple[Array, Array], chunk: Any) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        q, k, v, ages = chunk
        sums, counts, state = _read_chunk(q, k, v, state, ages)
        return state, (sums, counts)

    going_on = jnp.concatenate([ages, ages[-1] + 1 + jnp.arange(behind)]).reshape(num_chunks, CHUNK)
    state, read = jax.lax.scan(body, (tables.sums, tables.counts), (cut(q), cut(k), cut(v), going_on))
    sums, counts = (x.reshape(-1, *x.shape[2:])[:num_steps] for x in read)
    return sums, counts, state


def _read_chunk(
    q: Array, k: Array, v: Array, state: tuple[Array, Array], ages: Array
) -> tuple[Array, Array, tuple[Array, Array]]:
    old_sums, old_counts = state
    places = jnp.arange(q.shape[0])
    distance = places[:, None] - places
    seen = (distance >= 0) & (distance <= ages[:, None])
    # Of what was there before the chunk a step sees all or, behind a reset within the chunk, nothing.
    before = (ages > places).astype(q.dtype)
    match = jnp.where(seen, jnp.einsum("qhd,khd->hqk", q, k), 0.0)
    q_before = q * before[:, None, None]
    sums = jnp.einsum("hqk,khv->qhv", match, v) + jnp.einsum("qhd,hdv->qhv", q_before, old_sums)
    counts = match.sum(-1).T + jnp.einsum("qhd,hd->qh", q_before, old_counts)

    k_last = k * seen[-1][:, None, None]
    new_sums = old_sums * before[-1] + jnp.einsum("khd,khv->hdv", k_last, v)
    return sums, counts, (new_sums, old_counts * before[-1] + k_last.sum(0))
