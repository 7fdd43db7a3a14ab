"""One small memory for each action, all with the same weights: an agent that does not know actions apart.

    c_a = 1 where a was the last action, else 0
    x_a = [c_a, c_a r_{t-1}, pool_{t-1}, o_t, first_t, share of the trial that is left]
    h_a = GRU(x_a, h_a);   y_a = relu(W [h_a, pool_t]);   pool = [mean, max] of h over the actions
    π = softmax_a(w y_a);   V = mean of y over the actions, times v

Whatever is done with the actions' numbers, the policy does it with their probabilities: nothing is learned of
the third arm that is not known of the others. What one action taught holds for all, so that it learns from few
tasks, and its weights serve a family with any number of actions.

Source: Kirsch et al. 2022 (arXiv 2109.10781), who show what such symmetries are worth in meta-learning; pooling
as in Zaheer et al. 2017 (arXiv 1703.06114).
Differs from the papers: observations and rewards are fed as they are, where Kirsch et al. have a memory for
each pair of an observation's entry and an action.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from quickstudy.errors import require, wrong
from quickstudy.nets.distributions import Categorical
from quickstudy.nets.layers import Linear
from quickstudy.nets.recurrent import GRU
from quickstudy.nets.spaces import Encoder
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Memory(NamedTuple):
    hidden: Array
    """[A, hidden]"""
    num_steps: Array
    """Steps before the one that comes, int32."""


class SymmetricParams(eqx.Module):
    observation: Encoder
    core: GRU
    out: Linear
    policy: Linear
    value: Linear
    num_actions: int = eqx.field(static=True)
    trial_steps: int = eqx.field(static=True)
    """T, of which the time left in the trial is a share."""


@dataclasses.dataclass(frozen=True)
class Symmetric:
    """A memory for each action with shared weights (Kirsch et al. 2022): no action is special."""

    hidden_size: int = 16
    """Units of each action's memory."""

    def __post_init__(self) -> None:
        require(self, hidden_size=(self.hidden_size >= 1, "at least 1"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> SymmetricParams:
        space = env.action_space
        if not isinstance(space, spaces.Discrete) or space.start != 0:
            raise wrong("action_space", space, "Discrete from 0, for an agent with a memory of each action")
        k_core, k_out, k_policy, k_value = jax.random.split(key, 4)
        observation, size = Encoder(env.observation_space), self.hidden_size
        # The choice, its reward, mean and maximum, the episode's start and the time left.
        core = GRU(2 + 2 * size + observation.size + 2, size, k_core)
        out = Linear(3 * size, 2 * size, k_out)
        policy, value = Linear(2 * size, 1, k_policy, 0.01), Linear(2 * size, 1, k_value)
        return SymmetricParams(observation, core, out, policy, value, int(space.n), trial.num_steps(env))

    def init_task(self, meta_params: SymmetricParams, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: SymmetricParams, task_params: PyTree) -> Memory:
        hidden = jnp.zeros((meta_params.num_actions, self.hidden_size), meta_params.out.bias.dtype)
        return Memory(hidden, jnp.zeros((), jnp.int32))

    def step(
        self, meta_params: SymmetricParams, task_params: PyTree, memory: Memory, timestep: TimeStep, key: Key
    ) -> tuple[Output, Memory]:
        num_actions = meta_params.num_actions
        # At the start of a trial there was no last action.
        chosen = jax.nn.one_hot(timestep.action, num_actions) * (memory.num_steps > 0)
        left = jnp.maximum(1 - memory.num_steps / meta_params.trial_steps, 0.0)
        now = jnp.stack([timestep.first.astype(jnp.float32), left])
        shared = jnp.concatenate([_pool(memory.hidden), meta_params.observation(timestep.observation), now])
        own = jnp.stack([chosen, chosen * timestep.reward], axis=1)
        x = jnp.concatenate([own, jnp.broadcast_to(shared, (num_actions, *shared.shape))], axis=1)
        hidden, _ = meta_params.core.step(x, memory.hidden)

        pooled = jnp.broadcast_to(_pool(hidden), (num_actions, 2 * self.hidden_size))
        features = jax.nn.relu(meta_params.out(jnp.concatenate([hidden, pooled], axis=1)))
        policy = Categorical(meta_params.policy(features)[:, 0])
        value = meta_params.value(features.mean(0))[0]
        return Output(policy, value, {}), Memory(hidden, memory.num_steps + 1)

    def unroll(
        self, meta_params: SymmetricParams, task_params: PyTree, memory: Memory, timesteps: TimeStep
    ) -> Output:
        def body(memory: Memory, timestep: TimeStep) -> tuple[Memory, Output]:
            # No key is used.
            output, memory = self.step(meta_params, task_params, memory, timestep, jax.random.key(0))
            return memory, output

        return jax.lax.scan(body, memory, timesteps)[1]

    def adapt(
        self, meta_params: SymmetricParams, task_params: PyTree, transitions: Transition, key: Key
    ) -> PyTree:
        return task_params


def _pool(hidden: Array) -> Array:
    """[A, hidden] -> mean and maximum over the actions [2 hidden]"""
    return jnp.concatenate([hidden.mean(0), hidden.max(0)])
