"""From a memory's features to policy and value: by two linear maps, or by a network that the features write.

    linear:         π = W_π y,  v = W_v y
    hypernetwork:   θ = W y + b;   [π, v] = θ_2 tanh(θ_1 o), an MLP of the observation o with the weights θ

Source of the hypernetwork: Beck et al. 2022 (arXiv 2210.11348) and 2023 (arXiv 2309.14970). What was learned of
the task decides on the policy as a whole, and the policy sees the observation alone. It begins by their
Bias-HyperInit: W = 0 and b the first weights of an ordinary MLP, so that every task begins with the same
policy. The first gradient step moves W and b alone; from the second on a gradient reaches the memory.
Differs from the paper: one MLP of one hidden layer says policy and value.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.layers import Linear
from quickstudy.nets.spaces import Actions, PolicyHead
from quickstudy.types import Array, Key

HeadName = Literal["linear", "hypernetwork"]


class LinearHeads(eqx.Module):
    policy: PolicyHead
    value: Linear

    def __init__(self, in_size: int, space: Any, k_policy: Key, k_value: Key, *, squash: bool = False):
        self.policy = PolicyHead(in_size, space, k_policy, squash=squash)
        self.value = Linear(in_size, 1, k_value)

    def __call__(self, features: Array, observed: Array) -> tuple[Any, Array]:
        """features [..., F], observed [..., O], which is not looked at -> (policy, value [...])"""
        return self.policy(features), self.value(features)[..., 0]


class HyperHeads(eqx.Module):
    weight: Array
    """W, from features to all weights θ [F, P]."""
    bias: Array
    """b [P], the first network's weights."""
    actions: Actions
    shapes: tuple[tuple[int, int], ...] = eqx.field(static=True)
    """Of the layers' weights; each has a bias too."""

    def __init__(
        self, in_size: int, observed_size: int, hidden_size: int, space: Any, key: Key, *, squash: bool = False
    ):
        k_hidden, k_policy, k_value = jax.random.split(key, 3)
        self.actions = Actions(space, squash)
        self.shapes = ((observed_size, hidden_size), (hidden_size, self.actions.size + 1))
        hidden = Linear(observed_size, hidden_size, k_hidden, math.sqrt(2.0)).weight
        policy = Linear(hidden_size, self.actions.size, k_policy, 0.01).weight
        value = Linear(hidden_size, 1, k_value).weight
        layers = [hidden, jnp.concatenate([policy, value], axis=1)]
        self.bias = jnp.concatenate([jnp.pad(x, ((0, 1), (0, 0))).ravel() for x in layers])
        self.weight = jnp.zeros((in_size, len(self.bias)))

    def __call__(self, features: Array, observed: Array) -> tuple[Any, Array]:
        """features [..., F], observed [..., O] -> (policy, value [...])"""
        theta, x, start = features @ self.weight + self.bias, observed, 0
        for i, (rows, columns) in enumerate(self.shapes):
            end = start + (rows + 1) * columns
            # The last row is the layer's bias.
            layer = theta[..., start:end].reshape(*theta.shape[:-1], rows + 1, columns)
            x = jnp.einsum("...i,...io->...o", jnp.tanh(x) if i else x, layer[..., :-1, :]) + layer[..., -1, :]
            start = end
        return self.actions(x[..., :-1]), x[..., -1]
