"""The linear layer, layer normalisation, and their initialisers."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer

from quickstudy.maths.baselines import orthonormal
from quickstudy.types import Array, Key


class Linear(eqx.Module):
    """x [..., in] -> x W + b [..., out]; W [in, out] is orthogonal times `scale`, b zero."""

    weight: Array
    bias: Array

    def __init__(self, in_size: int, out_size: int, key: Key, scale: float = 1.0):
        self.weight = scale * orthogonal(key, in_size, out_size)
        self.bias = jnp.zeros(out_size)

    def __call__(self, x: Array) -> Array:
        return x @ self.weight + self.bias


def orthogonal(key: Key, num_rows: int, num_columns: int) -> Array:
    """A random matrix whose columns, or the fewer rows, have length 1 and are at right angles.

    In a compiled program, where a hundred networks may be made at once, it is made without LAPACK: XLA's calls
    of it have been seen to wait for each other for ever. Both are the same up to rounding; published figures
    were made with the bits of LAPACK's.
    """
    if not isinstance(key, Tracer):
        return jax.random.orthogonal(key, num_rows, m=num_columns)
    shape = (max(num_rows, num_columns), min(num_rows, num_columns))
    matrix = orthonormal(jax.random.normal(key, shape))
    return matrix if num_rows >= num_columns else matrix.T


class LayerNorm(eqx.Module):
    """x [..., size], to mean 0 and deviation 1 over the last axis, then a learned scale and bias.

    The scale begins at `scale`; with 1/√size the vector begins at length 1.
    Source: Ba et al. 2016 (arXiv 1607.06450).
    """

    scale: Array
    bias: Array

    def __init__(self, size: int, scale: float = 1.0):
        self.scale, self.bias = scale * jnp.ones(size), jnp.zeros(size)

    def __call__(self, x: Array) -> Array:
        return jax.nn.standardize(x, axis=-1, epsilon=1e-5) * self.scale + self.bias
