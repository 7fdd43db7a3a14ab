"""A family with one state and an agent that is a softmax, so that every gradient is a line of algebra."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.nets.distributions import Categorical
from quickstudy.rollout import collect
from quickstudy.types import Outcome, Output, TrialShape

live_in = jax.jit(collect, static_argnums=(0, 1, 2))


@dataclasses.dataclass(frozen=True)
class Arms:
    """An episode is one step; action a pays `pays[a]`, always. There is one task."""

    pays: tuple[float, ...] = (1.0, 0.0)
    max_steps: int = 1

    @property
    def observation_space(self):
        return spaces.Discrete(1)

    @property
    def action_space(self):
        return spaces.Discrete(len(self.pays))

    def sample_task(self, key):
        return jnp.zeros(())

    def reset(self, task, key):
        return (), jnp.zeros((), jnp.int32)

    def step(self, task, state, action, key):
        return (), Outcome(jnp.zeros((), jnp.int32), jnp.asarray(self.pays)[action], jnp.ones((), bool))


@dataclasses.dataclass(frozen=True)
class Softmax:
    """Logits and a value of no input; `adapt` is a policy-gradient step on what was seen, at a learned rate."""

    def init(self, env, trial, key):
        return {"logits": jnp.zeros(env.action_space.n), "rate": jnp.zeros(()), "value": jnp.zeros(())}

    def init_task(self, meta_params, key):
        return meta_params["logits"]

    def init_memory(self, meta_params, task_params):
        return ()

    def step(self, meta_params, task_params, memory, timestep, key):
        return Output(Categorical(task_params), meta_params["value"], {}), memory

    def adapt(self, meta_params, task_params, transitions, key):
        surprise = jax.nn.one_hot(transitions.action, task_params.size) - jax.nn.softmax(task_params)
        gradient = (surprise * transitions.reward[..., None]).mean(axis=(0, 1))
        return task_params + jnp.exp(meta_params["rate"]) * gradient


def trials_of(env, meta_params, actions, num_adapts=0, seed=0):
    """Trials of one stream and one episode whose last phase takes these actions [N], as its rewards say."""
    actions = np.asarray(actions)
    tasks = jnp.zeros(len(actions))
    trial = TrialShape(num_adapts, 1, 1)
    keys = jax.random.split(jax.random.key(seed), len(actions))
    trials = live_in(Softmax(), env, trial, meta_params, tasks, keys)
    phases = trials.phases
    chosen = phases.action.at[:, -1, 0, 0].set(actions)
    reward = jnp.asarray(env.pays, phases.reward.dtype)[chosen]
    return trials._replace(phases=phases._replace(action=chosen, reward=reward))
