"""The long short-term memory, in a step form and a sequence form that agree.

    i, f, o = σ(x W_ifo + h U_ifo + b_ifo);   g = tanh(x W_g + h U_g + b_g)
    c' = f ∘ c + i ∘ g;   h' = o ∘ tanh(c')

The forget gate's bias begins at log(M - 1), for a cell that keeps its content for about M steps: M from 2 to
1000, spaced evenly in log M. With a bias of 1, after 100 steps 10^-14 is left of a cell's gradient.

Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000, and its bias after Tallec and
Ollivier 2018 (arXiv 1804.11188), section 2. The products with x stand where those of the GRU do.
Differs from the papers: Tallec and Ollivier draw M at random, and close the input gates of long memories.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets import resets as resetting
from quickstudy.types import Array, Key

SHORTEST, LONGEST = 2.0, 1000.0
"""Steps that cells keep their content for, at first."""


class LSTMState(NamedTuple):
    hidden: Array
    cell: Array


class LSTM(eqx.Module):
    """Acts on one example: x [in], h and c [hidden]; the features are h."""

    w_input: Array
    w_hidden: Array
    bias: Array

    def __init__(self, in_size: int, hidden_size: int, key: Key):
        k_input, k_hidden = jax.random.split(key)
        orthogonal = jax.nn.initializers.orthogonal()
        self.w_input = jax.nn.initializers.lecun_normal()(k_input, (in_size, 4 * hidden_size))
        gates = [orthogonal(k, (hidden_size, hidden_size)) for k in jax.random.split(k_hidden, 4)]
        self.w_hidden = jnp.concatenate(gates, axis=1)
        memories = jnp.geomspace(SHORTEST, LONGEST, hidden_size)
        self.bias = jnp.zeros(4 * hidden_size).at[hidden_size : 2 * hidden_size].set(jnp.log(memories - 1))

    @property
    def feature_size(self) -> int:
        return self.w_hidden.shape[0]

    def init_state(self) -> LSTMState:
        zero = jnp.zeros(self.feature_size, self.w_hidden.dtype)
        return LSTMState(zero, zero)

    def step(self, x: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        """x [in] -> (h' [hidden], state)"""
        return self._step(x @ self.w_input + self.bias, state)

    def unroll(self, xs: Array, state: LSTMState, resets: Array | None = None) -> Array:
        """xs [T, in] -> h_1 … h_T [T, hidden]"""
        if jax.default_backend() == "cpu":
            return resetting.scan(self.step, xs, state, self.init_state(), resets)
        from_inputs = xs @ self.w_input + self.bias
        return resetting.scan(self._step, from_inputs, state, self.init_state(), resets)

    def _step(self, from_input: Array, state: LSTMState) -> tuple[Array, LSTMState]:
        i, f, o, g = jnp.split(from_input + state.hidden @ self.w_hidden, 4, axis=-1)
        cell = jax.nn.sigmoid(f) * state.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return hidden, LSTMState(hidden, cell)
