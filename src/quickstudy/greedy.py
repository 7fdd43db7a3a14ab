"""Greedy actions, a setting of any agent in an evaluation: the policy's mode where it would draw.

    a_t = mode π(· | h_t)

What an agent knows is one thing, how much it explores by chance another: a trained policy keeps a little chance
that costs it returns, and only without it can its behaviour equal an optimal one exactly.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from quickstudy.types import Array, Distribution, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Mode(eqx.Module):
    """All on the mode of a policy; acts on any leading axes."""

    policy: Any

    def sample(self, key: Key) -> Array:
        return self.mode()

    def log_prob(self, action: Array) -> Array:
        """The log of a probability, for floats too: 0 of the mode, else minus infinity."""
        return jnp.where(self._is_mode(action), 0.0, -jnp.inf)

    def entropy(self) -> Array:
        return jnp.zeros_like(self.policy.entropy())

    def kl(self, other: Mode) -> Array:
        """0 where both have one mode, else infinite."""
        return -other.log_prob(self.mode())

    def mode(self) -> Array:
        return self.policy.mode()

    def _is_mode(self, action: Array) -> Array:
        same = action == self.mode()
        # An entropy has the leading axes alone; what an action has beyond them are its dimensions.
        dimensions = range(self.policy.entropy().ndim, same.ndim)
        return same.all(axis=tuple(dimensions))


@dataclasses.dataclass(frozen=True)
class Greedy:
    """An agent that takes the mode of its policy at every step; its meta-parameters are the agent's own."""

    agent: Any

    def init(self, env: Any, trial: TrialShape, key: Key) -> PyTree:
        return self.agent.init(env, trial, key)

    def init_task(self, meta_params: PyTree, key: Key) -> PyTree:
        return self.agent.init_task(meta_params, key)

    def init_memory(self, meta_params: PyTree, task_params: PyTree) -> PyTree:
        return self.agent.init_memory(meta_params, task_params)

    def step(
        self, meta_params: PyTree, task_params: PyTree, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        output, memory = self.agent.step(meta_params, task_params, memory, timestep, key)
        return _greedy(output), memory

    @property
    def unroll(self) -> Any:
        unroll = self.agent.unroll

        def unrolled(meta_params: PyTree, task_params: PyTree, memory: PyTree, timesteps: TimeStep) -> Output:
            return _greedy(unroll(meta_params, task_params, memory, timesteps))

        return unrolled

    def adapt(self, meta_params: PyTree, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return self.agent.adapt(meta_params, task_params, transitions, key)


def _greedy(output: Output) -> Output:
    policy: Distribution = output.policy
    return output._replace(policy=Mode(policy))
