"""SNAIL: dilated causal convolutions that gather experience, and attention that finds a piece of it again.

    Dense(x, d):   x'_t = [x_t, tanh(f) ∘ σ(g)],   f, g linear in (x_{t-d}, x_t)
    TC(x):         Dense with d = 1, 2, 4, … until d × 2 ≥ context
    Attention(x):  x'_t = [x_t, Σ_j softmax_j(q_t · k_j / √K) v_j]
    core:          tanh of a linear layer, then (TC, Attention), `num_layers` times

Source: Mishra et al. 2018 (arXiv 1707.03141), section 3 and figure 2.
Differs from the paper:
- Dilations begin at 1; the paper's text begins at 2, with which no odd distance is ever seen.
- The paper's context is the trial's length. Here it is bounded, so that a step keeps buffers of bounded length:
  a pair of TC and attention forgets exactly what is older than (2^n - 1) + (context - 1) steps, n dilations.
- The linear layer before; what is fed may be large, and stands in the features.
- Filters, keys and values have half of `hidden_size` each.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.attention import attend
from quickstudy.nets.layers import Linear
from quickstudy.nets.resets import ages
from quickstudy.types import Array, Key


class Buffers(NamedTuple):
    """What a stream remembers."""

    age: Array
    """int: steps since the last reset."""
    layers: tuple[tuple[Array, ...], ...]
    """Of each layer: its past inputs, or its past keys and values; the newest last."""


class DenseBlock(eqx.Module):
    """A gated convolution of two taps, put beside its input; xs [T, in] -> [T, in + filters]."""

    linear: Linear
    dilation: int = eqx.field(static=True)

    def __init__(self, in_size: int, num_filters: int, dilation: int, key: Key):
        self.linear, self.dilation = Linear(2 * in_size, 2 * num_filters, key), dilation

    @property
    def out_size(self) -> int:
        in_twice, filters_twice = self.linear.weight.shape
        return (in_twice + filters_twice) // 2

    def init_state(self) -> tuple[Array, ...]:
        weight = self.linear.weight
        return (jnp.zeros((self.dilation, weight.shape[0] // 2), weight.dtype),)

    def __call__(self, xs: Array, state: tuple[Array, ...], ages: Array) -> tuple[Array, tuple[Array, ...]]:
        inputs = jnp.concatenate([state[0], xs])
        earlier = jnp.where(ages[:, None] >= self.dilation, inputs[: len(xs)], 0.0)
        f, g = jnp.split(self.linear(jnp.concatenate([earlier, xs], axis=-1)), 2, axis=-1)
        out = jnp.concatenate([xs, jnp.tanh(f) * jax.nn.sigmoid(g)], axis=-1)
        return out, (inputs[len(xs) :],)


class AttentionBlock(eqx.Module):
    """What a query finds, put beside the input; xs [T, in] -> [T, in + size]."""

    project: Linear
    num_past: int = eqx.field(static=True)

    def __init__(self, in_size: int, size: int, context: int, key: Key):
        self.project, self.num_past = Linear(in_size, 3 * size, key), context - 1

    @property
    def out_size(self) -> int:
        in_size, thrice = self.project.weight.shape
        return in_size + thrice // 3

    def init_state(self) -> tuple[Array, ...]:
        bias = self.project.bias
        zeros = jnp.zeros((self.num_past, 1, bias.shape[0] // 3), bias.dtype)
        return zeros, zeros

    def __call__(self, xs: Array, state: tuple[Array, ...], ages: Array) -> tuple[Array, tuple[Array, ...]]:
        q, k, v = jnp.split(self.project(xs)[:, None], 3, axis=-1)  # one head
        keys, values = jnp.concatenate([state[0], k]), jnp.concatenate([state[1], v])
        read = attend(q, keys, values, ages, rotary=False)[:, 0]
        return jnp.concatenate([xs, read], axis=-1), (keys[len(xs) :], values[len(xs) :])


class SNAIL(eqx.Module):
    """Acts on one example: x [in]; the features are the first layer's and all that was put beside them."""

    embed: Linear
    layers: tuple[DenseBlock | AttentionBlock, ...]
    context: int = eqx.field(static=True)

    def __init__(self, in_size: int, hidden_size: int, num_layers: int, context: int, key: Key):
        size = max(1, hidden_size // 2)
        num_dilations = max(1, (context - 1).bit_length())
        k_embed, *k_pairs = jax.random.split(key, num_layers + 1)
        self.embed, in_size = Linear(in_size, size, k_embed), size
        layers: list[DenseBlock | AttentionBlock] = []
        for k_pair in k_pairs:
            *k_dense, k_attention = jax.random.split(k_pair, num_dilations + 1)
            for i, k in enumerate(k_dense):
                layers.append(DenseBlock(in_size, size, 2**i, k))
                in_size = layers[-1].out_size
            layers.append(AttentionBlock(in_size, size, context, k_attention))
            in_size = layers[-1].out_size
        self.layers, self.context = tuple(layers), context

    @property
    def feature_size(self) -> int:
        return self.layers[-1].out_size

    def init_state(self) -> Buffers:
        return Buffers(jnp.zeros((), jnp.int32), tuple(layer.init_state() for layer in self.layers))

    def step(self, x: Array, state: Buffers) -> tuple[Array, Buffers]:
        """x [in] -> (features [F], state)"""
        features, state = self._walk(x[None], state, None)
        return features[0], state

    def unroll(self, xs: Array, state: Buffers, resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, F]"""
        return self._walk(xs, state, resets)[0]

    def _walk(self, xs: Array, state: Buffers, resets: Array | None) -> tuple[Array, Buffers]:
        since, after = ages(state.age, resets, len(xs)), []
        xs = jnp.tanh(self.embed(xs))
        for layer, of_layer in zip(self.layers, state.layers, strict=True):
            xs, new = layer(xs, of_layer, since)
            after.append(new)
        # An age beyond every buffer says no more than the longest buffer's length.
        return xs, Buffers(jnp.minimum(since[-1] + 1, self.context), tuple(after))
