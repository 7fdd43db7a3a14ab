"""Recurrent layers one above the other: the features of each are the input of the next."""

from __future__ import annotations

from typing import Any

import equinox as eqx

from quickstudy.types import Array


class Stack(eqx.Module):
    """Acts on one example; the state is a tuple of the layers' states."""

    layers: tuple[Any, ...]

    @property
    def feature_size(self) -> int:
        return self.layers[-1].feature_size

    def init_state(self) -> tuple[Any, ...]:
        return tuple(layer.init_state() for layer in self.layers)

    def step(self, x: Array, state: tuple[Any, ...]) -> tuple[Array, tuple[Any, ...]]:
        """x [in] -> (features [F], state)"""
        after = []
        for layer, of_layer in zip(self.layers, state, strict=True):
            x, new = layer.step(x, of_layer)
            after.append(new)
        return x, tuple(after)

    def unroll(self, xs: Array, state: tuple[Any, ...], resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, F]"""
        for layer, of_layer in zip(self.layers, state, strict=True):
            xs = layer.unroll(xs, of_layer, resets)
        return xs
