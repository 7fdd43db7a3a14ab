"""The linear layer, and its initialisers."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.types import Array, Key


class Linear(eqx.Module):
    """x [..., in] -> x W + b [..., out]; W [in, out] is orthogonal times `scale`, b zero."""

    weight: Array
    bias: Array

    def __init__(self, in_size: int, out_size: int, key: Key, scale: float = 1.0):
        self.weight = jax.nn.initializers.orthogonal(scale)(key, (in_size, out_size))
        self.bias = jnp.zeros(out_size)

    def __call__(self, x: Array) -> Array:
        return x @ self.weight + self.bias
