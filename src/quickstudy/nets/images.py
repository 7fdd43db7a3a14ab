"""Pictures and grids as vectors: a small convolutional network whose depth is chosen by the space.

    x [H, W, C] → one-hot of the entries, or a scaling by the bounds
      → 3×3 convolutions with relu, of stride 2 while the picture is longer than 8, at least two
      → linear, relu → [size]

Entries that are integers of few values are numbers of things (the tiles and colours of a grid) and become
one-hot. Others are magnitudes (the brightness of a pixel) and are scaled to 0 … 1 where they have bounds.
"""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.nets.layers import Linear
from quickstudy.types import Array, Key

MOST_KINDS = 32
"""Integers of at most so many values are one-hot."""
LONG = 8
"""A side longer than this is halved."""
CHANNELS = (16, 32, 32)
"""Of the first convolutions; those behind them have as many as the last."""
SIZE = 128


def is_image(space: spaces.Space) -> bool:
    """Whether a space's elements are pictures: a `Box` of three axes, [H, W, C]."""
    return isinstance(space, spaces.Box) and len(space.shape) == 3


class Convolution(eqx.Module):
    """x [H, W, in] -> [H', W', out], 3×3, zeros around it."""

    weight: Array
    bias: Array
    stride: int = eqx.field(static=True)

    def __init__(self, in_size: int, out_size: int, stride: int, key: Key):
        initial = jax.nn.initializers.orthogonal(math.sqrt(2.0))(key, (9 * in_size, out_size))
        self.weight, self.bias = initial.reshape(3, 3, in_size, out_size), jnp.zeros(out_size)
        self.stride = stride

    def __call__(self, x: Array) -> Array:
        out = jax.lax.conv_general_dilated(
            x[None], self.weight, (self.stride, self.stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return out[0] + self.bias


class ImageEncoder(eqx.Module):
    """Acts on one example, [H, W, C] of a `Box`."""

    convolutions: tuple[Convolution, ...]
    linear: Linear
    lowest: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)
    num_kinds: int | None = eqx.field(static=True)
    """Of integers that are one-hot, else None."""
    size: int = eqx.field(static=True)

    def __init__(self, space: Any, key: Key):
        low, high = float(np.min(space.low)), float(np.max(space.high))
        bounded = math.isfinite(low) and math.isfinite(high) and high > low
        few = bounded and np.issubdtype(space.dtype, np.integer) and high - low < MOST_KINDS
        self.num_kinds = int(high - low) + 1 if few else None
        self.lowest, self.scale = (low, 1 / (high - low)) if bounded else (0.0, 1.0)

        height, width, channels = space.shape
        channels *= self.num_kinds or 1
        convolutions: list[Convolution] = []
        while len(convolutions) < 2 or max(height, width) > LONG:
            key, k_layer = jax.random.split(key)
            stride = 2 if max(height, width) > LONG else 1
            out = CHANNELS[min(len(convolutions), len(CHANNELS) - 1)]
            convolutions.append(Convolution(channels, out, stride, k_layer))
            height, width, channels = -(-height // stride), -(-width // stride), out
        self.convolutions = tuple(convolutions)
        self.linear = Linear(height * width * channels, SIZE, key, math.sqrt(2.0))
        self.size = SIZE

    def __call__(self, image: Array) -> Array:
        """-> [size]"""
        dtype = self.linear.bias.dtype
        if self.num_kinds is None:
            x = (image.astype(dtype) - self.lowest) * self.scale
        else:
            kinds = image.astype(jnp.int32) - int(self.lowest)
            x = jax.nn.one_hot(kinds, self.num_kinds, dtype=dtype).reshape(*image.shape[:2], -1)
        for convolution in self.convolutions:
            x = jax.nn.relu(convolution(x))
        return jax.nn.relu(self.linear(x.ravel()))
