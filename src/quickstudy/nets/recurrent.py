"""The gated recurrent unit, in a step form and a sequence form that agree.

    r, z = σ(x W_rz + h U_rz + b_rz)
    n    = tanh(x W_n + b_n + r ∘ (h U_n + c_n))
    h'   = (1 - z) ∘ n + z ∘ h

Source: Cho et al. 2014 (arXiv 1406.1078), in the form with r after the product, which cuDNN uses:
all products with h are then one matrix product. The sequence form takes the products with x out of
the scan, one matrix product for all steps.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.types import Array, Key


class GRU(eqx.Module):
    """Acts on one example: x [in], h [hidden]."""

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

    def init_state(self) -> Array:
        return jnp.zeros(self.w_hidden.shape[0], self.w_hidden.dtype)

    def step(self, x: Array, h: Array) -> Array:
        """-> h' [hidden]"""
        return self._step(x @ self.w_input + self.bias, h)

    def unroll(self, xs: Array, h: Array) -> Array:
        """xs [T, in] -> h_1 … h_T [T, hidden]"""
        from_inputs = xs @ self.w_input + self.bias

        def body(h: Array, from_input: Array) -> tuple[Array, Array]:
            h = self._step(from_input, h)
            return h, h

        return jax.lax.scan(body, h, from_inputs)[1]

    def _step(self, from_input: Array, h: Array) -> Array:
        from_hidden = h @ self.w_hidden
        r_x, z_x, n_x = jnp.split(from_input, 3, axis=-1)
        r_h, z_h, n_h = jnp.split(from_hidden, 3, axis=-1)
        r, z = jax.nn.sigmoid(r_x + r_h), jax.nn.sigmoid(z_x + z_h)
        n = jnp.tanh(n_x + r * (n_h + self.bias_candidate))
        return (1 - z) * n + z * h
