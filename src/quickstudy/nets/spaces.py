"""From spaces to networks: observations and actions as vectors, and a distribution for each kind of action."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import InputError
from quickstudy.nets.distributions import Categorical, MultiCategorical, Normal, TanhNormal
from quickstudy.nets.images import ImageEncoder, is_image
from quickstudy.nets.layers import Linear
from quickstudy.types import Array, Key, TimeStep


class Encoder(eqx.Module):
    """A space's elements as vectors, without parameters: one-hot for `Discrete`, one-hot side by side for
    `MultiDiscrete`, flattened for `Box`.
    """

    num_values: tuple[int, ...] | None = eqx.field(static=True)
    """Of each number of a discrete space, else None."""
    size: int = eqx.field(static=True)

    def __init__(self, space: spaces.Space):
        self.num_values = _num_values(space)
        if self.num_values is not None:
            self.size = sum(self.num_values)
        elif isinstance(space, spaces.Box):
            self.size = math.prod(space.shape)
        else:
            raise InputError(
                f"space: got {space}; expected Discrete from 0, MultiDiscrete of one axis from 0, or Box"
            )

    def __call__(self, value: Array) -> Array:
        """-> [size]"""
        if self.num_values is None:
            return jnp.ravel(value).astype(jnp.float32)
        numbers = jnp.atleast_1d(value)
        return jnp.concatenate([jax.nn.one_hot(numbers[i], n) for i, n in enumerate(self.num_values)])


class TimeStepEncoder(eqx.Module):
    """All that RL² feeds its memory, (o_t, a_{t-1}, r_{t-1}, first_t), as one vector.

    Each of the last three may be left out. With a key, pictures go through a convolutional network; nothing
    else has parameters.
    """

    observation: Encoder | ImageEncoder
    action: Encoder
    feeds: tuple[bool, bool, bool] = eqx.field(static=True)
    """Whether action, reward and first are fed."""

    def __init__(
        self, env: Any, key: Key | None = None, *, action: bool = True, reward: bool = True, first: bool = True
    ):
        space = env.observation_space
        self.observation = Encoder(space) if key is None or not is_image(space) else ImageEncoder(space, key)
        self.action = Encoder(env.action_space)
        self.feeds = (action, reward, first)

    @property
    def size(self) -> int:
        action, reward, first = self.feeds
        return self.observation.size + action * self.action.size + reward + first

    def __call__(self, timestep: TimeStep) -> Array:
        """-> [size]"""
        return self.beside(self.observation(timestep.observation), timestep)

    def beside(self, observed: Array, timestep: TimeStep) -> Array:
        """The same, for an observation that is encoded already."""
        action, reward, first = self.feeds
        parts = [observed]
        if action:
            parts.append(self.action(timestep.action))
        scalars = [timestep.reward] * reward + [timestep.first.astype(jnp.float32)] * first
        return jnp.concatenate([*parts, jnp.stack(scalars)] if scalars else parts)


class Actions(eqx.Module):
    """Numbers [..., size] -> a distribution over the actions of a space.

    `Discrete`: categorical. `MultiDiscrete`: independent categoricals. `Box` of shape [A]: independent normals,
    whose log_std is a parameter of its own, the same in every state. A bounded dimension is measured in half
    ranges from its centre, so that the first policy, N(0, 1) by its small weights, spreads over the actions
    that there are; with `squash` all dimensions are bounded and a tanh keeps every action within.
    """

    log_std: Array | None
    num_values: tuple[int, ...] | None = eqx.field(static=True)
    """Of each number of a discrete space, else None."""
    single: bool = eqx.field(static=True)
    """Whether an action is one number, without an axis."""
    centre: tuple[float, ...] = eqx.field(static=True)
    half_range: tuple[float, ...] = eqx.field(static=True)
    squash: bool = eqx.field(static=True)

    def __init__(self, space: spaces.Space, squash: bool = False):
        self.num_values, self.single, self.squash = _num_values(space), not space.shape, squash
        self.log_std, self.centre, self.half_range = None, (), ()
        if squash and not (isinstance(space, spaces.Box) and space.is_bounded("both")):
            raise InputError(f"action_space: got {space}; squash expects Box of one axis with bounds")
        if isinstance(space, spaces.Box) and len(space.shape) == 1:
            self.log_std = jnp.zeros(space.shape[0])
            bounded = np.isfinite(space.low) & np.isfinite(space.high)
            low, high = np.where(bounded, space.low, -1.0), np.where(bounded, space.high, 1.0)
            self.centre = tuple(float(x) for x in (low + high) / 2)
            self.half_range = tuple(float(x) for x in (high - low) / 2)
        elif self.num_values is None:
            raise InputError(
                f"action_space: got {space}; expected Discrete from 0, MultiDiscrete or Box of one axis"
            )

    @property
    def size(self) -> int:
        return len(self.centre) if self.num_values is None else sum(self.num_values)

    def __call__(self, out: Array) -> Categorical | MultiCategorical | Normal | TanhNormal:
        if self.num_values is not None:
            return Categorical(out) if self.single else MultiCategorical(out, self.num_values)
        assert self.log_std is not None
        centre, half_range = jnp.asarray(self.centre), jnp.asarray(self.half_range)
        if self.squash:
            log_std, centre, half_range = (
                jnp.broadcast_to(x, out.shape) for x in (self.log_std, centre, half_range)
            )
            return TanhNormal(out, log_std, centre, half_range)
        log_std = jnp.broadcast_to(self.log_std + jnp.log(half_range), out.shape)
        return Normal(centre + half_range * out, log_std)


class PolicyHead(eqx.Module):
    """Features [..., F] -> a distribution over the actions of a space; see `Actions`."""

    linear: Linear
    actions: Actions

    def __init__(
        self, in_size: int, space: spaces.Space, key: Key, scale: float = 0.01, *, squash: bool = False
    ):
        self.actions = Actions(space, squash)
        self.linear = Linear(in_size, self.actions.size, key, scale)

    def __call__(self, features: Array) -> Categorical | MultiCategorical | Normal | TanhNormal:
        return self.actions(self.linear(features))


def _num_values(space: spaces.Space) -> tuple[int, ...] | None:
    """How many values each number of a discrete space has; None for a space that is not, or not from 0."""
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1 and not np.any(space.start):
        return tuple(int(n) for n in space.nvec)
    return None
