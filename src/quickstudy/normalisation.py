"""Normalised observations, a setting of any agent: mean 0 and deviation 1 by running statistics.

    clip((o - mean) / sqrt(variance + 1e-8), ±10)

The outer loop owns the statistics: they grow by the observations of each update's trials, after the update
(what was collected is replayed with the same statistics), and are part of the trained agent, so that an
evaluation or a session changes nothing.

Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
variances", equation 1.5b.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.bound import Bound, for_members
from quickstudy.errors import wrong
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, Trials, TrialShape, View

CLIP = 10.0


class Statistics(NamedTuple):
    """Of all observations that a training has seen."""

    seen: Array
    """[] float, their number; where float32 no longer counts on, the statistics hardly move any more."""
    mean: Array
    """As an observation."""
    variance: Array

    def normalise(self, observation: Array) -> Array:
        """[..., *observation] -> the same, as floats within ±10"""
        scaled = (observation - self.mean) / jnp.sqrt(self.variance + 1e-8)
        return jnp.clip(scaled, -CLIP, CLIP)

    def including(self, observations: Array, mask: Array) -> Statistics:
        """With those of `observations` [n, ...] whose `mask` [n] is True."""
        weight = mask.reshape(mask.shape + (1,) * self.mean.ndim).astype(jnp.float32)
        new = mask.sum(dtype=jnp.float32)
        mean = (observations * weight).sum(0) / new
        squares = ((observations - mean) ** 2 * weight).sum(0)
        total = self.seen + new
        apart = mean - self.mean
        # Shares, not products, of the numbers: these outgrow float32.
        share = new / total
        variance = self.variance * (1 - share) + squares / total + apart**2 * share * (1 - share)
        return Statistics(total, self.mean + apart * share, variance)


class NormalisedParams(NamedTuple):
    agent: PyTree
    statistics: Statistics


@dataclasses.dataclass(frozen=True)
class NormalisedObservations:
    """An agent whose observations are normalised by statistics beside its own meta-parameters."""

    agent: Any

    def init(self, env: Any, trial: TrialShape, key: Key) -> NormalisedParams:
        space = env.observation_space
        if not isinstance(space, spaces.Box):
            raise wrong("normalise_observations", True, f"False for the observation space {space}, no Box")
        view = View(env, observation_space=spaces.Box(-CLIP, CLIP, space.shape, np.float32))
        start = Statistics(jnp.zeros(()), jnp.zeros(space.shape), jnp.ones(space.shape))
        return NormalisedParams(self.agent.init(view, trial, key), start)

    def init_task(self, meta_params: NormalisedParams, key: Key) -> PyTree:
        return self.agent.init_task(meta_params.agent, key)

    def init_memory(self, meta_params: NormalisedParams, task_params: PyTree) -> PyTree:
        return self.agent.init_memory(meta_params.agent, task_params)

    def step(
        self, meta_params: NormalisedParams, task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        seen = _seen(meta_params.statistics, timestep)
        return self.agent.step(meta_params.agent, task_params, memory, seen, key)

    @property
    def unroll(self) -> Any:
        unroll = self.agent.unroll

        def unrolled(
            meta_params: NormalisedParams, task_params: PyTree, memory: PyTree, timesteps: TimeStep
        ) -> Output:
            return unroll(meta_params.agent, task_params, memory, _seen(meta_params.statistics, timesteps))

        return unrolled

    def adapt(
        self, meta_params: NormalisedParams, task_params: PyTree, transitions: Transition, key: Key
    ) -> PyTree:
        statistics = meta_params.statistics
        seen = transitions._replace(
            timestep=_seen(statistics, transitions.timestep),
            next_observation=statistics.normalise(transitions.next_observation),
        )
        return self.agent.adapt(meta_params.agent, task_params, seen, key)

    def recall(self, meta_params: NormalisedParams, task_params: PyTree, experience: Any) -> PyTree:
        """See `sharing`: what was seen in other tasks is seen as the observations of this one are."""
        seen = meta_params.statistics.normalise(experience.observations)
        return self.agent.recall(meta_params.agent, task_params, experience._replace(observations=seen))


class NormalisingState(NamedTuple):
    outer: Any
    statistics: Statistics

    @property
    def meta_params(self) -> NormalisedParams:
        return NormalisedParams(self.outer.meta_params, self.statistics)


@dataclasses.dataclass(frozen=True)
class Normalising:
    """An outer loop for a `NormalisedObservations` agent: `outer`, which also keeps the statistics."""

    outer: Any

    def init(self, agent: NormalisedObservations, meta_params: NormalisedParams, key: Key) -> NormalisingState:
        statistics = meta_params.statistics
        inner = _bound(agent, statistics)
        return NormalisingState(self.outer.init(inner, meta_params.agent, key), statistics)

    def update(
        self, agent: NormalisedObservations, state: NormalisingState, trials: Trials, progress: Array, key: Key
    ) -> tuple[NormalisingState, dict[str, Array]]:
        inner = _bound(agent, state.statistics)
        outer, metrics = self.outer.update(inner, state.outer, trials, progress, key)
        seen, mask = trials.phases.timestep.observation, trials.phases.mask
        flat = seen.reshape(-1, *seen.shape[mask.ndim :])
        return NormalisingState(outer, state.statistics.including(flat, mask.reshape(-1))), metrics

    @property
    def propose(self) -> Any:
        propose = self.outer.propose

        def proposed(agent: NormalisedObservations, state: NormalisingState) -> NormalisedParams:
            members = propose(_bound(agent, state.statistics), state.outer)
            return NormalisedParams(members, for_members(state.statistics, members))

        return proposed


def _bound(agent: NormalisedObservations, statistics: Statistics) -> Bound:
    return Bound(agent, lambda meta_params: NormalisedParams(meta_params, statistics))


def _seen(statistics: Statistics, timestep: TimeStep) -> TimeStep:
    return timestep._replace(observation=statistics.normalise(timestep.observation))
