"""Environments with a known answer, each small enough to reason about.

`DiscreteProbe` and `ContinuousProbe` exercise everything that an engine must get right: vector
observations, episodes that end by themselves and by the time limit, success. `CountProbe` is
deterministic, so that every recorded number can be foretold.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.agents.rl2 import RL2
from quickstudy.nets.heads import LinearHeads
from quickstudy.types import Outcome, TrialShape

TRIAL = TrialShape(num_adapts=0, num_streams=1, num_episodes=3)
WIDE_TRIAL = TrialShape(num_adapts=2, num_streams=2, num_episodes=2)


@dataclasses.dataclass(frozen=True)
class DiscreteProbe:
    """The task names the action that pays 1; an episode ends with probability 0.2 a step, or after 4."""

    max_steps: int = 4
    num_actions: int = 3

    @property
    def observation_space(self):
        return spaces.Box(-np.inf, np.inf, (2,), np.float32)

    @property
    def action_space(self):
        return spaces.Discrete(self.num_actions)

    def sample_task(self, key):
        return jax.random.randint(key, (), 0, self.num_actions)

    def reset(self, task, key):
        return jnp.zeros((), jnp.int32), jax.random.normal(key, (2,))

    def step(self, task, state, action, key):
        k_end, k_observation = jax.random.split(key)
        reward = (action == task).astype(jnp.float32)
        end = jax.random.uniform(k_end) < 0.2
        return state + 1, Outcome(jax.random.normal(k_observation, (2,)), reward, end, reward > 0)


@dataclasses.dataclass(frozen=True)
class ContinuousProbe:
    """The task is a point in [-1, 1]²; the reward is minus the squared distance of the action to it."""

    max_steps: int = 3

    @property
    def observation_space(self):
        return spaces.Box(-np.inf, np.inf, (3,), np.float32)

    @property
    def action_space(self):
        return spaces.Box(-2.0, 2.0, (2,), np.float32)

    def sample_task(self, key):
        return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)

    def reset(self, task, key):
        return jnp.zeros(()), jax.random.normal(key, (3,))

    def step(self, task, state, action, key):
        reward = -jnp.sum((action - task) ** 2)
        return state + 1, Outcome(jax.random.normal(key, (3,)), reward, jnp.zeros((), bool))


@dataclasses.dataclass(frozen=True)
class MultiDiscreteProbe:
    """The task is two numbers, of 3 and of 2; each that the action names pays 1. Three steps an episode."""

    max_steps: int = 3

    @property
    def observation_space(self):
        return spaces.MultiDiscrete([3, 4])

    @property
    def action_space(self):
        return spaces.MultiDiscrete([3, 2])

    def sample_task(self, key):
        return jax.random.randint(key, (2,), 0, jnp.array([3, 2]))

    def reset(self, task, key):
        return jnp.zeros((), jnp.int32), self._seen(key)

    def step(self, task, state, action, key):
        reward = (action == task).sum().astype(jnp.float32)
        return state + 1, Outcome(self._seen(key), reward, jnp.zeros((), bool))

    def _seen(self, key):
        return jax.random.randint(key, (2,), 0, jnp.array([3, 4]))


@dataclasses.dataclass(frozen=True)
class CountProbe:
    """Observation: steps since the reset. Reward: task × that number after the step. The task, 1 to 3, is
    also the number of steps after which an episode ends by itself; the time limit is 2.
    """

    max_steps: int = 2

    @property
    def observation_space(self):
        return spaces.Box(0, np.inf, (1,), np.float32)

    @property
    def action_space(self):
        return spaces.Discrete(2)

    def sample_task(self, key):
        return jax.random.randint(key, (), 1, 4)

    def reset(self, task, key):
        return jnp.zeros((), jnp.int32), jnp.zeros(1)

    def step(self, task, state, action, key):
        count = state + 1
        reward = (task * count).astype(jnp.float32)
        return count, Outcome(count[None].astype(jnp.float32), reward, count >= task)


@dataclasses.dataclass(frozen=True)
class AdaptingProbe(RL2):
    """RL² with a value that learns within the task, and a random key used wherever one is given.

    `task_params` is a number that begins at random and moves towards the phase's mean reward; it and
    noise from `step`'s own key move the policy's logits or mean, so that nothing can be replayed without
    the right task parameters, keys and order of phases.
    """

    hidden_size: int = 8

    def init_task(self, meta_params, key):
        return jax.random.normal(key)

    def init_memory(self, meta_params, task_params):
        memory = super().init_memory(meta_params, task_params)
        return memory._replace(core=memory.core + 0.1 * task_params)

    def step(self, meta_params, task_params, memory, timestep, key):
        output, memory = super().step(meta_params, task_params, memory, timestep, key)
        moved = (jax.random.normal(key) + task_params) * jnp.arange(output.policy.mode().size or 1)
        return output._replace(policy=jax.tree.map(lambda x: x + 0.1 * moved.sum() * x, output.policy)), memory

    def adapt(self, meta_params, task_params, transitions, key):
        paid = (transitions.reward * transitions.mask).sum() / transitions.mask.sum()
        assert isinstance(meta_params.heads, LinearHeads)
        rate = jax.nn.sigmoid(meta_params.heads.value.bias[0])
        return task_params + rate * (paid - task_params) + 0.1 * jax.random.normal(key)

    # A step that uses its key has no parallel form.
    @property
    def unroll(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        raise AttributeError("unroll")
