"""RL²: a network whose memory is the learning algorithm.

    h_t = core(h_{t-1}, (o_t, a_{t-1}, r_{t-1}, first_t));   π(·|h_t), V(h_t)

The memory is kept over the episodes of a trial and starts empty in a new task; what is learned
within a task lives there alone, and the outer loop learns the network.

Source: Duan et al. 2016 (arXiv 1611.02779), a GRU; Wang et al. 2016 (arXiv 1611.05763), an LSTM. Other memories
(Santoro et al. 2016, Mishra et al. 2018, Parisotto et al. 2019, Lu et al. 2023) and the hypernetwork as a head
(Beck et al. 2022) have their own files in `nets`.
Differs from the paper: policy and value share the core; the paper's GRU had 256 units.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.errors import require
from quickstudy.nets import clock, cores, resets
from quickstudy.nets.clock import Clock
from quickstudy.nets.heads import HeadName, HyperHeads, LinearHeads
from quickstudy.nets.spaces import TimeStepEncoder
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Memory(NamedTuple):
    core: PyTree
    clock: Clock
    previous: Array | None
    """The last observation, encoded [O]; None where it is not fed."""


class RL2Params(eqx.Module):
    encoder: TimeStepEncoder
    core: cores.Core
    heads: LinearHeads | HyperHeads
    trial_steps: int = eqx.field(static=True)
    """T, of which the time left in the trial is a share."""
    episode_steps: int = eqx.field(static=True)


@dataclasses.dataclass(frozen=True)
class RL2:
    """RL² (Duan et al. 2016): a network whose memory is the learning algorithm."""

    core: cores.CoreName = "gru"
    """The memory."""
    hidden_size: int = 64
    """Units of the memory."""
    num_layers: int = 1
    """Layers of the memory; of snail, pairs of convolutions and attention."""
    num_heads: int = 4
    """Heads of transformer and fast weights, read and write heads of the memory of slots."""
    context: int = 256
    """Steps that transformer and snail look back, no more than the trial has."""
    num_slots: int = 32
    """Slots of the core 'memory'."""
    reset: Literal["trial", "episode"] = "trial"
    """When the memory is emptied; 'episode' is the ablation that cannot learn from one episode to the next, and
    is not fed the last step of the one before."""
    feed_action: bool = True
    """Feed the previous action."""
    feed_reward: bool = True
    """Feed the previous reward."""
    feed_first: bool = True
    """Feed whether an episode begins."""
    feed_previous: bool = False
    """Feed the previous observation, so that one time step holds a whole transition: a memory that attends to
    steps finds what an action led to in one place."""
    feed_trial_time: bool = False
    """Feed the share of the trial that is left."""
    feed_episode_time: bool = False
    """Feed the share of the episode that is left."""
    head: HeadName = "linear"
    """How policy and value are read from the memory."""
    head_size: int = 32
    """Hidden units of the network that the head 'hypernetwork' writes."""
    squash: bool = False
    """Keep actions within their bounds by a tanh; else the family clips them."""

    def __post_init__(self) -> None:
        by_heads = (
            self.core not in ("transformer", "fast-weights") or self.hidden_size % max(1, self.num_heads) == 0
        )
        require(
            self,
            hidden_size=(self.hidden_size >= 1, "at least 1"),
            num_layers=(self.num_layers >= 1, "at least 1"),
            num_heads=(
                self.num_heads >= 1 and by_heads,
                "at least 1, and a divisor of hidden_size for transformer and fast-weights",
            ),
            context=(self.context >= 1, "at least 1"),
            num_slots=(self.core != "memory" or self.num_slots >= self.num_heads, "at least num_heads"),
            head_size=(self.head_size >= 1, "at least 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> RL2Params:
        k_core, k_policy, k_value, k_image = jax.random.split(key, 4)
        encoder = TimeStepEncoder(
            env, k_image, action=self.feed_action, reward=self.feed_reward, first=self.feed_first
        )
        trial_steps = trial.num_steps(env)
        in_size = encoder.size + self.feed_trial_time + self.feed_episode_time
        in_size += encoder.observation.size if self.feed_previous else 0
        core = cores.make(
            self.core,
            in_size,
            self.hidden_size,
            k_core,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            context=min(self.context, trial_steps),
            num_slots=self.num_slots,
        )
        size, space = core.feature_size, env.action_space
        if self.head == "linear":
            heads = LinearHeads(size, space, k_policy, k_value, squash=self.squash)
        else:
            observed_size = encoder.observation.size
            heads = HyperHeads(size, observed_size, self.head_size, space, k_policy, squash=self.squash)
        return RL2Params(encoder, core, heads, trial_steps, env.max_steps)

    def init_task(self, meta_params: RL2Params, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: RL2Params, task_params: PyTree) -> Memory:
        previous = jnp.zeros(meta_params.encoder.observation.size) if self.feed_previous else None
        return Memory(meta_params.core.init_state(), clock.begin(), previous)

    def step(
        self, meta_params: RL2Params, task_params: PyTree, memory: Memory, timestep: TimeStep, key: Key
    ) -> tuple[Output, Memory]:
        now = memory.clock.at(timestep.first)
        observed, x = self._inputs(meta_params, timestep, now)
        if memory.previous is not None:
            x = jnp.append(x, self._kept(timestep.first, memory.previous))
        state = memory.core
        if self.reset == "episode":
            state = resets.where(timestep.first, meta_params.core.init_state(), state)
        features, state = meta_params.core.step(x, state)
        output = Output(*meta_params.heads(features, observed), {})
        previous = None if memory.previous is None else observed
        return output, Memory(state, now.later(), previous)

    def unroll(
        self, meta_params: RL2Params, task_params: PyTree, memory: Memory, timesteps: TimeStep
    ) -> Output:
        first = timesteps.first
        times = memory.clock.through(first)
        observed, xs = jax.vmap(lambda step, time: self._inputs(meta_params, step, time))(timesteps, times)
        if memory.previous is not None:
            before = jnp.concatenate([memory.previous[None], observed[:-1]])
            before = jax.vmap(self._kept)(first, before)
            xs = jnp.concatenate([xs, before], axis=-1)
        features = meta_params.core.unroll(xs, memory.core, first if self.reset == "episode" else None)
        return Output(*meta_params.heads(features, observed), {})

    def adapt(self, meta_params: RL2Params, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params

    def _kept(self, first: Array, before: Array) -> Array:
        """What is fed of the step before, which may be of another episode."""
        return jnp.where(first, jnp.zeros_like(before), before) if self.reset == "episode" else before

    def _inputs(self, meta_params: RL2Params, timestep: TimeStep, time: Clock) -> tuple[Array, Array]:
        """-> (the observation encoded [O], all that is fed to the memory [in])"""
        observed = meta_params.encoder.observation(timestep.observation)
        action, reward = (self._kept(timestep.first, x) for x in (timestep.action, timestep.reward))
        fed = meta_params.encoder.beside(observed, timestep._replace(action=action, reward=reward))
        trial_steps = meta_params.trial_steps if self.feed_trial_time else None
        episode_steps = meta_params.episode_steps if self.feed_episode_time else None
        return observed, clock.with_left(fed, time, trial_steps, episode_steps)
