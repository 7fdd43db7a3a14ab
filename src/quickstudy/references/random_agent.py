"""The agent that learns nothing: every action is as likely as any other, at every step.

Discrete, MultiDiscrete: uniform over the actions.
Box with bounds: uniform between them.   Box without: standard normal.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import wrong
from quickstudy.nets.distributions import Categorical, MultiCategorical, Normal
from quickstudy.types import Array, Distribution, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Uniform(eqx.Module):
    """Independent dimensions between `low` and `high` [..., A]; actions [..., A]; acts on any leading axes."""

    low: Array
    high: Array

    def sample(self, key: Key) -> Array:
        return jax.random.uniform(key, self.low.shape, self.low.dtype, self.low, self.high)

    def log_prob(self, action: Array) -> Array:
        inside = ((action >= self.low) & (action <= self.high)).all(-1)
        return jnp.where(inside, -self.entropy(), -jnp.inf)

    def entropy(self) -> Array:
        return jnp.log(self.high - self.low).sum(-1)

    def kl(self, other: Uniform) -> Array:
        inside = ((self.low >= other.low) & (self.high <= other.high)).all(-1)
        return jnp.where(inside, other.entropy() - self.entropy(), jnp.inf)

    def mode(self) -> Array:
        """The middle; every action is as likely."""
        return 0.5 * (self.low + self.high)


@dataclasses.dataclass(frozen=True)
class Random:
    """Random actions, the floor of every comparison; its `meta_params` are the one policy that it has."""

    meta_learned: ClassVar[bool] = False

    def init(self, env: Any, trial: TrialShape, key: Key) -> Distribution:
        space = env.action_space
        if isinstance(space, spaces.Discrete):
            return Categorical(jnp.zeros(int(space.n)))
        if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1:
            return MultiCategorical(jnp.zeros(int(space.nvec.sum())), tuple(int(n) for n in space.nvec))
        if not (
            isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)
        ):
            raise wrong("action_space", space, "Discrete, MultiDiscrete or Box of floats, of one axis")
        if space.is_bounded("both"):
            return Uniform(jnp.asarray(space.low, jnp.float32), jnp.asarray(space.high, jnp.float32))
        return Normal(jnp.zeros(space.shape), jnp.zeros(space.shape))

    def init_task(self, meta_params: Distribution, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: Distribution, task_params: PyTree) -> PyTree:
        return ()

    def step(
        self, meta_params: Distribution, task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        return Output(meta_params, jnp.zeros(()), {}), memory

    def adapt(
        self, meta_params: Distribution, task_params: PyTree, transitions: Transition, key: Key
    ) -> PyTree:
        return task_params
