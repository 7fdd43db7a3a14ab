"""Discretised actions, a setting of any agent: it chooses among evenly spaced values of each dimension.

    value of index i in dimension a:  low_a + (high_a - low_a) i / (num_bins - 1)

The agent meets a family with a `MultiDiscrete` action space; the world goes on in floats, so trials, sessions
and reports are what they would be without the setting.

Source: Tang and Agrawal 2020, "Discretizing continuous action space for on-policy optimization" (arXiv
1901.10500), section 4.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import require, wrong
from quickstudy.types import Array, Distribution, Key, Output, PyTree, TimeStep, Transition, TrialShape, View


class Bins(eqx.Module):
    """Evenly spaced values between bounds; no array."""

    low: tuple[float, ...] = eqx.field(static=True)
    high: tuple[float, ...] = eqx.field(static=True)
    count: int = eqx.field(static=True)

    def value(self, index: Array) -> Array:
        """[..., A] integers -> [..., A] floats"""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        return low + (high - low) * index / (self.count - 1)

    def index(self, value: Array) -> Array:
        """[..., A] floats -> the nearest bin's number, [..., A] integers"""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        share = (value - low) / (high - low)
        return jnp.clip(jnp.round(share * (self.count - 1)), 0, self.count - 1).astype(jnp.int32)


class Binned(eqx.Module):
    """A distribution over the values [..., A] of bins, by one over their numbers."""

    policy: Any
    bins: Bins

    def sample(self, key: Key) -> Array:
        return self.bins.value(self.policy.sample(key))

    def log_prob(self, action: Array) -> Array:
        """Of the nearest value."""
        return self.policy.log_prob(self.bins.index(action))

    def entropy(self) -> Array:
        """Over the bins, in nats; comparable between agents with as many of them only."""
        return self.policy.entropy()

    def kl(self, other: Binned) -> Array:
        return self.policy.kl(other.policy)

    def mode(self) -> Array:
        return self.bins.value(self.policy.mode())


class DiscretisedParams(eqx.Module):
    agent: PyTree
    bins: Bins


@dataclasses.dataclass(frozen=True)
class DiscretisedActions:
    """An agent that chooses among `num_bins` values of each dimension of a bounded Box."""

    agent: Any
    num_bins: int = 11

    def __post_init__(self) -> None:
        require(self, num_bins=(2 <= self.num_bins <= 10_000, "between 2 and 10,000"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> DiscretisedParams:
        space = env.action_space
        if not (isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded("both")):
            raise wrong("action_bins", self.num_bins, f"None for the action space {space}, no Box with bounds")
        low, high = (tuple(map(float, bound)) for bound in (space.low, space.high))
        bins = Bins(low, high, self.num_bins)
        view = View(env, action_space=spaces.MultiDiscrete(np.full(space.shape, self.num_bins)))
        return DiscretisedParams(self.agent.init(view, trial, key), bins)

    def init_task(self, meta_params: DiscretisedParams, key: Key) -> PyTree:
        return self.agent.init_task(meta_params.agent, key)

    def init_memory(self, meta_params: DiscretisedParams, task_params: PyTree) -> PyTree:
        return self.agent.init_memory(meta_params.agent, task_params)

    def step(
        self, meta_params: DiscretisedParams, task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        seen = _seen(meta_params.bins, timestep)
        output, memory = self.agent.step(meta_params.agent, task_params, memory, seen, key)
        return _said(meta_params.bins, output), memory

    @property
    def unroll(self) -> Any:
        unroll = self.agent.unroll

        def unrolled(
            meta_params: DiscretisedParams, task_params: PyTree, memory: PyTree, timesteps: TimeStep
        ) -> Output:
            seen = _seen(meta_params.bins, timesteps)
            return _said(meta_params.bins, unroll(meta_params.agent, task_params, memory, seen))

        return unrolled

    def adapt(
        self, meta_params: DiscretisedParams, task_params: PyTree, transitions: Transition, key: Key
    ) -> PyTree:
        bins = meta_params.bins
        seen = transitions._replace(
            timestep=_seen(bins, transitions.timestep), action=bins.index(transitions.action)
        )
        return self.agent.adapt(meta_params.agent, task_params, seen, key)

    def recall(self, meta_params: DiscretisedParams, task_params: PyTree, experience: Any) -> PyTree:
        """See `sharing`: what was done in other tasks is a choice among the values, too."""
        chosen = meta_params.bins.index(experience.actions)
        return self.agent.recall(meta_params.agent, task_params, experience._replace(actions=chosen))


def _seen(bins: Bins, timestep: TimeStep) -> TimeStep:
    return timestep._replace(action=bins.index(timestep.action))


def _said(bins: Bins, output: Output) -> Output:
    policy: Distribution = output.policy
    return output._replace(policy=Binned(policy, bins))
