"""The gated transformer, with a window of bounded length as its memory.

    y = x ⊕ relu(Attention(LayerNorm(x)));    x' = y ⊕ relu(MLP(LayerNorm(y)))
    x ⊕ y:  r, z = σ(y W_rz + x U_rz - (0, b));   n = tanh(y W_n + (r ∘ x) U_n);   (1 - z) ∘ x + z ∘ n

The gate's bias b begins at 2, so that a block begins near the identity and the agent as one that reacts to what
it sees. Each block keeps the keys and values of its last `context` - 1 steps; L blocks look back over
L × (context - 1) steps and forget exactly what is older.

Source: Parisotto et al. 2019 (GTrXL, arXiv 1910.06764), section 3.2 with the GRU-type gate.
Differs from the paper:
- Positions are rotations (see `attention`), where Transformer-XL learns them.
- Keys and values are kept and not the blocks' inputs, which says the same and is less work.
- A weighted mean does not tell how much it is a mean of, and a critic needs to know how late it is: the
  stream's age, up to the window's length, is fed beside x.
- What comes in goes through a linear layer and relu. The features are normalised once more, so that large
  rewards make no large actions.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.attention import attend
from quickstudy.nets.layers import LayerNorm, Linear
from quickstudy.nets.resets import ages
from quickstudy.types import Array, Key

GATE_BIAS = 2.0
WIDENING = 4
"""Of the MLP's hidden layer, as in Vaswani et al. 2017."""


class Window(NamedTuple):
    """What a stream remembers."""

    age: Array
    """int: steps since the last reset."""
    keys: Array
    """[layers, context - 1, heads, K], the newest last."""
    values: Array


class Gate(eqx.Module):
    """x ⊕ y, [..., size] each."""

    from_y: Linear
    from_x: Array
    candidate_from_x: Array

    def __init__(self, size: int, key: Key):
        k_y, k_x, k_candidate = jax.random.split(key, 3)
        orthogonal = jax.nn.initializers.orthogonal()
        linear = Linear(size, 3 * size, k_y)
        self.from_y = eqx.tree_at(lambda x: x.bias, linear, linear.bias.at[size : 2 * size].set(-GATE_BIAS))
        self.from_x = orthogonal(k_x, (size, 2 * size))
        self.candidate_from_x = orthogonal(k_candidate, (size, size))

    def __call__(self, x: Array, y: Array) -> Array:
        r_y, z_y, n_y = jnp.split(self.from_y(y), 3, axis=-1)
        r_x, z_x = jnp.split(x @ self.from_x, 2, axis=-1)
        r, z = jax.nn.sigmoid(r_y + r_x), jax.nn.sigmoid(z_y + z_x)
        return (1 - z) * x + z * jnp.tanh(n_y + (r * x) @ self.candidate_from_x)


class TransformerBlock(eqx.Module):
    """Acts on a sequence of one example, xs [T, hidden]."""

    attention_norm: LayerNorm
    project: Linear
    mix: Linear
    attention_gate: Gate
    mlp_norm: LayerNorm
    widen: Linear
    narrow: Linear
    mlp_gate: Gate
    num_heads: int = eqx.field(static=True)

    def __init__(self, size: int, num_heads: int, key: Key):
        k_project, k_mix, k_gate, k_widen, k_narrow, k_mlp_gate = jax.random.split(key, 6)
        self.attention_norm, self.mlp_norm = LayerNorm(size), LayerNorm(size)
        self.project, self.mix = Linear(size, 3 * size, k_project), Linear(size, size, k_mix)
        self.widen = Linear(size, WIDENING * size, k_widen)
        self.narrow = Linear(WIDENING * size, size, k_narrow)
        self.attention_gate, self.mlp_gate = Gate(size, k_gate), Gate(size, k_mlp_gate)
        self.num_heads = num_heads

    def __call__(
        self, xs: Array, past_keys: Array, past_values: Array, ages: Array
    ) -> tuple[Array, Array, Array]:
        """-> (x' [T, hidden], keys and values [context - 1, H, K] after the last step)"""
        shape = (*xs.shape[:-1], self.num_heads, -1)
        q, k, v = (x.reshape(shape) for x in jnp.split(self.project(self.attention_norm(xs)), 3, axis=-1))
        keys, values = jnp.concatenate([past_keys, k]), jnp.concatenate([past_values, v])
        read = attend(q, keys, values, ages, rotary=True).reshape(xs.shape)
        ys = self.attention_gate(xs, jax.nn.relu(self.mix(read)))
        wide = jax.nn.relu(self.widen(self.mlp_norm(ys)))
        return self.mlp_gate(ys, jax.nn.relu(self.narrow(wide))), keys[len(xs) :], values[len(xs) :]


class Transformer(eqx.Module):
    """Acts on one example: x [in], features [hidden]; `num_heads` divides `hidden_size`."""

    embed: Linear
    """Of x, and of the share of the window that the stream has filled."""
    blocks: tuple[TransformerBlock, ...]
    norm: LayerNorm
    num_past: int = eqx.field(static=True)

    def __init__(self, in_size: int, hidden_size: int, num_layers: int, num_heads: int, context: int, key: Key):
        k_embed, *k_blocks = jax.random.split(key, num_layers + 1)
        self.embed = Linear(in_size + 1, hidden_size, k_embed)
        self.blocks = tuple(TransformerBlock(hidden_size, num_heads, k) for k in k_blocks)
        # Longer features make a loud first critic, and a policy that is sure before it has learned.
        self.norm, self.num_past = LayerNorm(hidden_size, hidden_size**-0.5), context - 1

    @property
    def feature_size(self) -> int:
        return self.embed.bias.shape[0]

    def init_state(self) -> Window:
        num_heads = self.blocks[0].num_heads
        shape = (len(self.blocks), self.num_past, num_heads, self.feature_size // num_heads)
        zeros = jnp.zeros(shape, self.embed.bias.dtype)
        return Window(jnp.zeros((), jnp.int32), zeros, zeros)

    def step(self, x: Array, state: Window) -> tuple[Array, Window]:
        """x [in] -> (features [hidden], state)"""
        features, state = self._walk(x[None], state, None)
        return features[0], state

    def unroll(self, xs: Array, state: Window, resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, hidden]"""
        return self._walk(xs, state, resets)[0]

    def _walk(self, xs: Array, state: Window, resets: Array | None) -> tuple[Array, Window]:
        since = ages(state.age, resets, len(xs))
        filled = jnp.minimum(since, self.num_past + 1).astype(xs.dtype) / (self.num_past + 1)
        xs = jax.nn.relu(self.embed(jnp.concatenate([xs, filled[:, None]], axis=-1)))
        after = []
        for block, keys, values in zip(self.blocks, state.keys, state.values, strict=True):
            xs, keys, values = block(xs, keys, values, since)
            after.append((keys, values))
        keys, values = (jnp.stack(x) for x in zip(*after, strict=True))
        # An age beyond the window says no more than the window's length.
        return self.norm(xs), Window(jnp.minimum(since[-1] + 1, self.num_past + 1), keys, values)
