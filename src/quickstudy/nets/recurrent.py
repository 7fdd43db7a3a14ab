"""The gated recurrent unit, in a step form and a sequence form that agree.

    r, z = σ(x W_rz + h U_rz + b_rz)
    n    = tanh(x W_n + b_n + r ∘ (h U_n + c_n))
    h'   = (1 - z) ∘ n + z ∘ h

Source: Cho et al. 2014 (arXiv 1406.1078), in the form with r after the product, which cuDNN uses:
all products with h are then one matrix product. The sequence form takes the products with x out of
the scan, one matrix product for all steps, but on a CPU: there it is dearer to write and read them
all than to make them where they are needed.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets import resets as resetting
from quickstudy.types import Array, Key


class GRU(eqx.Module):
    """Acts on one example: x [in]; the state h [hidden] is the features."""

    w_input: Array
    w_hidden: Array
    bias: Array
    bias_candidate: Array

    def __init__(self, in_size: int, hidden_size: int, key: Key):
        k_input, k_hidden = jax.random.split(key)
        orthogonal = jax.nn.initializers.orthogonal()
        self.w_input = jax.nn.initializers.lecun_normal()(k_input, (in_size, 3 * hidden_size))
        gates = [orthogonal(k, (hidden_size, hidden_size)) for k in jax.random.split(k_hidden, 3)]
        self.w_hidden = jnp.concatenate(gates, axis=1)
        self.bias = jnp.zeros(3 * hidden_size)
        self.bias_candidate = jnp.zeros(hidden_size)

    @property
    def feature_size(self) -> int:
        return self.w_hidden.shape[0]

    def init_state(self) -> Array:
        return jnp.zeros(self.feature_size, self.w_hidden.dtype)

    def step(self, x: Array, state: Array) -> tuple[Array, Array]:
        """x [in] -> (h' [hidden], h')"""
        return self._step(x @ self.w_input + self.bias, state)

    def unroll(self, xs: Array, state: Array, resets: Array | None = None) -> Array:
        """xs [T, in] -> h_1 … h_T [T, hidden]"""
        if jax.default_backend() == "cpu":
            return resetting.scan(self.step, xs, state, self.init_state(), resets)
        from_inputs = xs @ self.w_input + self.bias
        return resetting.scan(self._step, from_inputs, state, self.init_state(), resets)

    def _step(self, from_input: Array, h: Array) -> tuple[Array, Array]:
        from_hidden = h @ self.w_hidden
        r_x, z_x, n_x = jnp.split(from_input, 3, axis=-1)
        r_h, z_h, n_h = jnp.split(from_hidden, 3, axis=-1)
        r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
        n = jnp.tanh(n_x + r * (n_h + self.bias_candidate))
        h = (1 - z) * n + z * h
        return h, h
