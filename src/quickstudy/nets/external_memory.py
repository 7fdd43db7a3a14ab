"""A memory of slots beside an LSTM: what is new goes to the slot that was least used, and is found by content.

    h = LSTM([x, r_{t-1}]);   k, β, α linear in h, of each head; k through tanh
    w^w = σ(α) w^r_{t-1} + (1 - σ(α)) [the head's least used slot]
    M   = (M_{t-1}, that slot emptied) + Σ_heads w^w kᵀ
    w^r = softmax_i(softplus(β) cos(k, M_i));   r = w^r M
    w^u = 0.95 w^u_{t-1} + w^r + w^w, summed over heads;   features LayerNorm([h, r])

Source: Santoro et al. 2016 (arXiv 1605.06065), section 3; after the neural Turing machine of Graves et al.
2014 (arXiv 1410.5401), whose key strength β it takes.
Differs from the paper:
- The strength β; without it a softmax of cosines is nearly even over many slots.
- Of n heads, head i writes to the i-th least used slot, where the paper lets each write to all n.
- α is linear in h.
- The features are normalised: what a slot holds, and so what is read, grows with each write to it.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets import resets as resetting
from quickstudy.nets.layers import LayerNorm, Linear
from quickstudy.nets.lstm import LSTM, LSTMState
from quickstudy.types import Array, Key

USAGE_DECAY = 0.95
"""The paper searched from 0.95 to 0.99."""
FIRST_STRENGTH = 2.0
"""β at the start, of which the softplus is about 2."""


class Slots(NamedTuple):
    controller: LSTMState
    memory: Array
    """[slots, width]"""
    usage: Array
    """[slots]"""
    read_weights: Array
    """[heads, slots]"""
    read: Array
    """[heads × width]"""


class ExternalMemory(eqx.Module):
    """Acts on one example: x [in], features [hidden + heads × width], where width is half of hidden."""

    controller: LSTM
    interface: Linear
    norm: LayerNorm
    num_heads: int = eqx.field(static=True)
    num_slots: int = eqx.field(static=True)
    width: int = eqx.field(static=True)

    def __init__(self, in_size: int, hidden_size: int, num_heads: int, num_slots: int, key: Key):
        k_controller, k_interface = jax.random.split(key)
        self.num_heads, self.num_slots, self.width = num_heads, num_slots, max(1, hidden_size // 2)
        self.controller = LSTM(in_size + num_heads * self.width, hidden_size, k_controller)
        linear = Linear(hidden_size, num_heads * (self.width + 2), k_interface)
        bias = linear.bias.reshape(num_heads, -1).at[:, self.width].set(FIRST_STRENGTH).ravel()
        self.interface = eqx.tree_at(lambda x: x.bias, linear, bias)
        # Longer features make a loud first critic, and a policy that is sure before it has learned.
        self.norm = LayerNorm(self.feature_size, self.feature_size**-0.5)

    @property
    def feature_size(self) -> int:
        return self.controller.feature_size + self.num_heads * self.width

    def init_state(self) -> Slots:
        dtype = self.interface.bias.dtype
        return Slots(
            self.controller.init_state(),
            jnp.zeros((self.num_slots, self.width), dtype),
            jnp.zeros(self.num_slots, dtype),
            jnp.zeros((self.num_heads, self.num_slots), dtype),
            jnp.zeros(self.num_heads * self.width, dtype),
        )

    def step(self, x: Array, state: Slots) -> tuple[Array, Slots]:
        """x [in] -> (features [F], state)"""
        hidden, controller = self.controller.step(jnp.concatenate([x, state.read]), state.controller)
        said = self.interface(hidden).reshape(self.num_heads, -1)
        key, strength, gate = jnp.tanh(said[:, : self.width]), said[:, self.width], said[:, self.width + 1]

        free = self._least_used(state.usage)
        gate = jax.nn.sigmoid(gate)[:, None]
        write_weights = gate * state.read_weights + (1 - gate) * free
        memory = state.memory * (1 - free.sum(0))[:, None] + write_weights.T @ key

        read_weights = jax.nn.softmax(jax.nn.softplus(strength)[:, None] * _cosines(key, memory))
        read = (read_weights @ memory).ravel()
        usage = USAGE_DECAY * state.usage + (read_weights + write_weights).sum(0)
        features = self.norm(jnp.concatenate([hidden, read]))
        return features, Slots(controller, memory, usage, read_weights, read)

    def unroll(self, xs: Array, state: Slots, resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, F]: a scan, for what is written depends on what was read."""
        return resetting.scan(self.step, xs, state, self.init_state(), resets)

    def _least_used(self, usage: Array) -> Array:
        """A slot for each head, one-hot [heads, slots]."""
        chosen = jax.lax.top_k(-usage, self.num_heads)[1]
        return jax.nn.one_hot(chosen, self.num_slots, dtype=usage.dtype)


def _cosines(keys: Array, memory: Array) -> Array:
    """keys [heads, width], memory [slots, width] -> [heads, slots]; 0 where one is empty."""

    def unit(x: Array) -> Array:
        return x * jax.lax.rsqrt((x**2).sum(-1, keepdims=True) + 1e-8)

    return unit(keys) @ unit(memory).T
