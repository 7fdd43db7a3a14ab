"""Experience of other tasks, a setting of an agent that remembers: steps of the training, kept in a store.

    store: M steps (o_i, a_i, R_i) of tasks of the training, each known with its episode's end; empty at first
    a new task begins with what the agent makes of all of them, `agent.recall`
    after each update, of its trials' steps M / 16, drawn at random, replace the oldest

The outer loop owns the store, as `normalisation` owns its statistics: what was collected is replayed with the
same store, no gradient and no perturbation changes it, and it is part of the trained agent, so that an
evaluation or a session changes nothing. It holds observations and actions as the world has them. What the
agent sees of them (normalised, discretised, encoded by its present network) is made anew for each task, so that
gradients reach the network through them.

Source: Pritzel et al. 2017 (arXiv 1703.01988) keep embeddings of old steps, which age as the network learns;
Ritter et al. 2018 (arXiv 1805.09692) keep the tasks' own memories, to be found again when a task comes back.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.bound import Bound, for_members
from quickstudy.nets import episodic_memory
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, Trials, TrialShape

UPDATES_KEPT = 16
"""A store holds steps of about so many updates: of many tasks, and by policies that are not long gone."""


class Experience(NamedTuple):
    """M steps of other tasks, the newest last."""

    observations: Array
    """[M, *observation]"""
    actions: Array
    """[M, *action]"""
    returns: Array
    """[M], discounted, to the end of the episode."""
    known: Array
    """bool [M]: there is such a step."""

    def including(self, phases: Transition, discount: float, key: Key) -> Experience:
        """With some of the steps of phases [N, K+1, S, T] whose episodes ended, in place of the oldest."""
        size = len(self.known)
        ends = phases.terminated | phases.truncated
        kept = (phases.timestep.observation, phases.action, phases.reward, ends, phases.mask)
        seen, done, rewards, ends, mask = (x.reshape(-1, *x.shape[3:]) for x in kept)
        lived = Experience(*episodic_memory.of_phase(seen, done, rewards, ends, mask, discount))
        chance = jnp.where(lived.known, jax.random.uniform(key, lived.known.shape), -1.0)
        drawn = jax.lax.top_k(chance, min(max(1, size // UPDATES_KEPT), len(chance)))[1]
        return episodic_memory.latest(self, jax.tree.map(lambda x: x[drawn], lived), size)


def no_experience(env: Any, size: int) -> Experience:
    seen, done = (
        jnp.zeros((size, *space.shape), jax.dtypes.canonicalize_dtype(space.dtype))
        for space in (env.observation_space, env.action_space)
    )
    return Experience(seen, done, jnp.zeros(size), jnp.zeros(size, bool))


class SharingParams(NamedTuple):
    agent: PyTree
    experience: Experience


@dataclasses.dataclass(frozen=True)
class SharedExperience:
    """An agent that begins each task with `num_shared` steps of others."""

    agent: Any
    num_shared: int
    discount: float

    def init(self, env: Any, trial: TrialShape, key: Key) -> SharingParams:
        return SharingParams(self.agent.init(env, trial, key), no_experience(env, self.num_shared))

    def init_task(self, meta_params: SharingParams, key: Key) -> PyTree:
        task_params = self.agent.init_task(meta_params.agent, key)
        return self.agent.recall(meta_params.agent, task_params, meta_params.experience)

    def init_memory(self, meta_params: SharingParams, task_params: PyTree) -> PyTree:
        return self.agent.init_memory(meta_params.agent, task_params)

    def step(
        self, meta_params: SharingParams, task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        return self.agent.step(meta_params.agent, task_params, memory, timestep, key)

    @property
    def unroll(self) -> Any:
        unroll = self.agent.unroll

        def unrolled(
            meta_params: SharingParams, task_params: PyTree, memory: PyTree, timesteps: TimeStep
        ) -> Output:
            return unroll(meta_params.agent, task_params, memory, timesteps)

        return unrolled

    def adapt(
        self, meta_params: SharingParams, task_params: PyTree, transitions: Transition, key: Key
    ) -> PyTree:
        return self.agent.adapt(meta_params.agent, task_params, transitions, key)


class SharingState(NamedTuple):
    outer: Any
    experience: Experience

    @property
    def meta_params(self) -> SharingParams:
        return SharingParams(self.outer.meta_params, self.experience)


@dataclasses.dataclass(frozen=True)
class Sharing:
    """An outer loop for a `SharedExperience` agent: `outer`, which also keeps the store."""

    outer: Any

    def init(self, agent: SharedExperience, meta_params: SharingParams, key: Key) -> SharingState:
        experience = meta_params.experience
        return SharingState(self.outer.init(_bound(agent, experience), meta_params.agent, key), experience)

    def update(
        self, agent: SharedExperience, state: SharingState, trials: Trials, progress: Array, key: Key
    ) -> tuple[SharingState, dict[str, Array]]:
        k_outer, k_drawn = jax.random.split(key)
        inner = _bound(agent, state.experience)
        outer, metrics = self.outer.update(inner, state.outer, trials, progress, k_outer)
        return SharingState(outer, state.experience.including(trials.phases, agent.discount, k_drawn)), metrics

    @property
    def propose(self) -> Any:
        propose = self.outer.propose

        def proposed(agent: SharedExperience, state: SharingState) -> SharingParams:
            members = propose(_bound(agent, state.experience), state.outer)
            return SharingParams(members, for_members(state.experience, members))

        return proposed


def _bound(agent: SharedExperience, experience: Experience) -> Bound:
    return Bound(agent, lambda meta_params: SharingParams(meta_params, experience))
