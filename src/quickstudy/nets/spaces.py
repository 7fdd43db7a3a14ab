"""From spaces to networks: observations and actions as vectors, and a head for each kind of action."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import InputError
from quickstudy.nets.distributions import Categorical, Normal
from quickstudy.nets.layers import Linear
from quickstudy.types import Array, Key, TimeStep


class Encoder(eqx.Module):
    """A space's elements as vectors: one-hot for `Discrete`, flattened for `Box`. No parameters."""

    num_values: int | None = eqx.field(static=True)
    """Of a discrete space, else None."""
    size: int = eqx.field(static=True)

    def __init__(self, space: spaces.Space):
        if isinstance(space, spaces.Discrete) and space.start == 0:
            self.num_values = self.size = int(space.n)
        elif isinstance(space, spaces.Box):
            self.num_values, self.size = None, math.prod(space.shape)
        else:
            raise InputError(f"space: got {space}; expected Discrete from 0, or Box")

    def __call__(self, value: Array) -> Array:
        """-> [size]"""
        if self.num_values is not None:
            return jax.nn.one_hot(value, self.num_values)
        return jnp.ravel(value).astype(jnp.float32)


class TimeStepEncoder(eqx.Module):
    """All that RL² feeds its memory: (o_t, a_{t-1}, r_{t-1}, first_t) as one vector. No parameters."""

    observation: Encoder
    action: Encoder

    def __init__(self, env: Any):
        self.observation, self.action = Encoder(env.observation_space), Encoder(env.action_space)

    @property
    def size(self) -> int:
        return self.observation.size + self.action.size + 2

    def __call__(self, timestep: TimeStep) -> Array:
        """-> [size]"""
        scalars = jnp.stack([timestep.reward, timestep.first.astype(jnp.float32)])
        return jnp.concatenate([self.observation(timestep.observation), self.action(timestep.action), scalars])


class PolicyHead(eqx.Module):
    """Features [..., F] -> a distribution over the actions of a space.

    `Discrete`: categorical. `Box` of shape [A]: independent normals, whose log_std is a parameter of
    its own, the same in every state. A bounded dimension is measured in half ranges from its centre, so
    that the first policy, N(0, 1) by its small weights, spreads over the actions that there are.
    """

    linear: Linear
    log_std: Array | None
    centre: tuple[float, ...] = eqx.field(static=True)
    half_range: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, in_size: int, space: spaces.Space, key: Key, scale: float = 0.01):
        if isinstance(space, spaces.Discrete):
            self.linear, self.log_std = Linear(in_size, int(space.n), key, scale), None
            self.centre = self.half_range = ()
        elif isinstance(space, spaces.Box) and len(space.shape) == 1:
            self.linear = Linear(in_size, space.shape[0], key, scale)
            self.log_std = jnp.zeros(space.shape[0])
            bounded = np.isfinite(space.low) & np.isfinite(space.high)
            low, high = np.where(bounded, space.low, -1.0), np.where(bounded, space.high, 1.0)
            self.centre = tuple(float(x) for x in (low + high) / 2)
            self.half_range = tuple(float(x) for x in (high - low) / 2)
        else:
            raise InputError(f"action_space: got {space}; expected Discrete or Box of one axis")

    def __call__(self, features: Array) -> Categorical | Normal:
        out = self.linear(features)
        if self.log_std is None:
            return Categorical(out)
        half_range = jnp.asarray(self.half_range)
        log_std = jnp.broadcast_to(self.log_std + jnp.log(half_range), out.shape)
        return Normal(jnp.asarray(self.centre) + half_range * out, log_std)
