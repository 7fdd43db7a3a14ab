"""Feature-wise modulation: each hidden unit of a network is scaled and shifted by what is known of the task.

    x ← activation(γ ∘ (W x + b) + β),   γ = 1 + C_γ e,   β = C_β e,   for an embedding e of the task

Source: Perez et al. 2018 (FiLM, arXiv 1709.07871), equation 2.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from quickstudy.nets.actor_critic import ACTIVATIONS, MLP
from quickstudy.nets.layers import Linear
from quickstudy.types import Array, Key

FIRST_SCALE = 0.3
"""Of the first C: a first network is all but unmodulated, and yet a gradient goes on."""


class Modulation(NamedTuple):
    """Of all hidden units of an `MLP`, layer behind layer, [F_1 + F_2 + …] each."""

    scale: Array
    shift: Array


class FiLM(eqx.Module):
    """Embedding [..., E] -> the modulation of an `MLP`."""

    linear: Linear

    def __init__(self, in_size: int, mlp: MLP, key: Key):
        num_units = sum(layer.bias.size for layer in mlp.layers)
        self.linear = Linear(in_size, 2 * num_units, key, FIRST_SCALE)

    def __call__(self, embedding: Array) -> Modulation:
        scale, shift = jnp.split(self.linear(embedding), 2, axis=-1)
        return Modulation(1 + scale, shift)


def unmodulated(mlp: MLP) -> Modulation:
    """The modulation that changes nothing."""
    biases = jnp.concatenate([layer.bias for layer in mlp.layers])
    return Modulation(jnp.ones_like(biases), jnp.zeros_like(biases))


def modulated(mlp: MLP, x: Array, modulation: Modulation) -> Array:
    """x [..., in] -> features [..., F], as `mlp` makes them under a modulation."""
    start = 0
    for layer in mlp.layers:
        end = start + layer.bias.size
        x = modulation.scale[start:end] * layer(x) + modulation.shift[start:end]
        x, start = ACTIVATIONS[mlp.activation][0](x), end
    return x
