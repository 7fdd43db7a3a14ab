"""An agent that remembers what it did and what came of it, and looks up what is like what it sees now.

    h_t = tanh(W (o_t, a_{t-1}, r_{t-1}, first_t));   q_t = U o_t
    m_t = read(q_t, {(q_i, a_i, R_i)}: steps i of episodes of this task that have ended)
    s_t = read(q_t, {(q_j, a_j, R_j)}: num_shared steps j of other tasks)
    π, v = heads(tanh(V [h_t, m_t, s_t]))
    when an episode ends, the discounted returns R_i of its steps become known

Nothing else is carried from step to step: what is learned within a task lies in the memory alone, and the outer
loop learns what likeness is and what to do with what is found. See `nets.retrieval` for the ways to read. What
the phases before an adaptation lived is remembered after it.

Source: Blundell et al. 2016 (arXiv 1606.04460) and Pritzel et al. 2017 (arXiv 1703.01988) for the memory of
returns; Vinyals et al. 2016 (arXiv 1606.04080) and Snell et al. 2017 (arXiv 1703.05175) for ways to read it.
Differs from the papers:
- What is found enters policy and value as features; in Pritzel et al. it is the value.
- One memory for all actions, and the oldest entry makes room for the newest.
- The memory of a task begins empty. What other tasks taught stands beside it as `num_shared` steps that were
  lived in them (`sharing`), and in it as `num_learned` entries that are meta-parameters.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.errors import require, wrong
from quickstudy.nets import clock, episodic_memory
from quickstudy.nets.clock import Clock
from quickstudy.nets.heads import LinearHeads
from quickstudy.nets.layers import Linear
from quickstudy.nets.retrieval import Entries, RetrievalName, read, read_size
from quickstudy.nets.spaces import Actions, TimeStepEncoder
from quickstudy.types import MOST, Array, Key, Output, TimeStep, Transition, TrialShape

FIRST_STRENGTH = 5.0
"""Of the attention: the weight of an equal is e^5 times that of something unlike."""


class EpisodicParams(eqx.Module):
    encoder: TimeStepEncoder
    embed: Linear
    to_key: Linear
    log_strength: Array | None
    learned: tuple[Array, Array, Array] | None
    """Keys [L, D], actions [L, A] and returns [L]."""
    hidden: Linear
    heads: LinearHeads
    capacity: int = eqx.field(static=True)
    trial_steps: int = eqx.field(static=True)
    """T, of which the time left in the trial is a share."""
    episode_steps: int = eqx.field(static=True)


class Remembered(NamedTuple):
    """What a stream of the task begins with."""

    own: Entries
    """[C], of earlier phases of the task."""
    shared: Entries | None
    """[M], of other tasks; None where nothing is shared."""


class Memory(NamedTuple):
    record: episodic_memory.Record
    clock: Clock


@dataclasses.dataclass(frozen=True)
class Episodic:
    """Episodic control, meta-learned: earlier steps of the task and their returns, found by likeness."""

    retrieval: RetrievalName = "attention"
    """How the memory is read: matching networks, a kernel over the nearest, or a prototype of each action."""
    hidden_size: int = 64
    """Units of each of the two layers."""
    key_size: int = 16
    """Dimensions in which observations are compared."""
    capacity: int = 256
    """Steps that are remembered, no more than the trial has."""
    num_neighbours: int = 50
    """Entries that 'nearest' looks at; 50 in Pritzel et al."""
    num_learned: int = 0
    """Entries that every task begins with, written by the outer loop."""
    num_shared: int = 0
    """Steps of other tasks that every task begins with; the training fills them with what it lives (`sharing`).
    None by default: they help on the half circle and slow cartpole down, see `benchmarks/episodic.py`."""
    discount: float = 0.99
    """Of the returns that are remembered."""
    reset: Literal["trial", "episode"] = "trial"
    """When what is remembered of this task is forgotten; 'episode' is the ablation that cannot learn from one
    episode to the next: a return is known when its episode ends, so that nothing of this task is ever found."""
    feed_action: bool = True
    """Feed the previous action."""
    feed_reward: bool = True
    """Feed the previous reward."""
    feed_first: bool = True
    """Feed whether an episode begins."""
    feed_trial_time: bool = False
    """Feed the share of the trial that is left."""
    feed_episode_time: bool = False
    """Feed the share of the episode that is left."""
    squash: bool = False
    """Keep actions within their bounds by a tanh; else the family clips them."""

    def __post_init__(self) -> None:
        require(
            self,
            hidden_size=(self.hidden_size >= 1, "at least 1"),
            key_size=(self.key_size >= 1, "at least 1"),
            capacity=(self.capacity >= 1, "at least 1"),
            num_neighbours=(self.num_neighbours >= 1, "at least 1"),
            num_learned=(self.num_learned >= 0, "0 or more"),
            num_shared=(0 <= self.num_shared <= MOST, f"between 0 and {MOST:,}"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> EpisodicParams:
        k_image, k_embed, k_key, k_learned, k_hidden, k_policy, k_value = jax.random.split(key, 7)
        encoder = TimeStepEncoder(
            env, k_image, action=self.feed_action, reward=self.feed_reward, first=self.feed_first
        )
        action_size, space = encoder.action.size, env.action_space
        if self.retrieval == "prototypes" and Actions(space).num_values is None:
            raise wrong("action_space", space, "Discrete or MultiDiscrete, for a prototype of each action")
        in_size = encoder.size + self.feed_trial_time + self.feed_episode_time
        found_size = read_size(self.retrieval, action_size) * (2 if self.num_shared else 1)
        trial_steps, size = trial.num_steps(env), self.hidden_size + found_size
        return EpisodicParams(
            encoder=encoder,
            embed=Linear(in_size, self.hidden_size, k_embed),
            to_key=Linear(encoder.observation.size, self.key_size, k_key),
            log_strength=math.log(FIRST_STRENGTH) * jnp.ones(()) if self.retrieval == "attention" else None,
            learned=self._first_learned(action_size, k_learned) if self.num_learned else None,
            hidden=Linear(size, self.hidden_size, k_hidden),
            heads=LinearHeads(self.hidden_size, space, k_policy, k_value, squash=self.squash),
            capacity=min(self.capacity, trial_steps * trial.num_streams * (trial.num_adapts + 1)),
            trial_steps=trial_steps,
            episode_steps=env.max_steps,
        )

    def init_task(self, meta_params: EpisodicParams, key: Key) -> Remembered:
        """Entries of earlier phases: none; of other tasks: those that `recall` is given."""
        none = self._no_entries(meta_params, meta_params.capacity)
        return Remembered(none, self._no_entries(meta_params, self.num_shared) if self.num_shared else None)

    def recall(self, meta_params: EpisodicParams, task_params: Remembered, experience: Any) -> Remembered:
        """With a `sharing.Experience` of other tasks [M], whose keys are those of the present network."""
        encoder = meta_params.encoder
        shared = Entries(
            meta_params.to_key(jax.vmap(encoder.observation)(experience.observations)),
            jax.vmap(encoder.action)(experience.actions),
            experience.returns,
            experience.known,
        )
        return task_params._replace(shared=shared)

    def init_memory(self, meta_params: EpisodicParams, task_params: Remembered) -> Memory:
        return Memory(episodic_memory.begin(task_params.own), clock.begin())

    def step(
        self, meta_params: EpisodicParams, task_params: Remembered, memory: Memory, timestep: TimeStep, key: Key
    ) -> tuple[Output, Memory]:
        now, action = memory.clock.at(timestep.first), meta_params.encoder.action(timestep.action)
        told = (action, timestep.reward, timestep.first, self.discount)
        record = episodic_memory.told(memory.record, *told, empty=self.reset == "episode")
        x, query = self._embedded(meta_params, timestep, now)
        output = self._output(meta_params, x, query, record.entries, task_params.shared)
        return output, Memory(episodic_memory.appended(record, query), now.later())

    def unroll(
        self, meta_params: EpisodicParams, task_params: Remembered, memory: Memory, timesteps: TimeStep
    ) -> Output:
        times = memory.clock.through(timesteps.first)
        xs, queries = jax.vmap(lambda step, time: self._embedded(meta_params, step, time))(timesteps, times)
        actions = jax.vmap(meta_params.encoder.action)(timesteps.action)
        told = (actions, timesteps.reward, timesteps.first, self.discount)
        entries, known = episodic_memory.sequence(memory.record, queries, *told, empty=self.reset == "episode")

        def at(x: Array, query: Array, known: Array) -> Output:
            return self._output(meta_params, x, query, entries._replace(known=known), task_params.shared)

        return jax.vmap(at)(xs, queries, known)

    def adapt(
        self, meta_params: EpisodicParams, task_params: Remembered, transitions: Transition, key: Key
    ) -> Remembered:
        """The steps of a phase [S, T] whose episodes ended are remembered in the next."""
        encoder = meta_params.encoder
        observed = jax.vmap(jax.vmap(encoder.observation))(transitions.timestep.observation)
        phase = episodic_memory.of_phase(
            meta_params.to_key(observed),
            jax.vmap(jax.vmap(encoder.action))(transitions.action),
            transitions.reward,
            transitions.terminated | transitions.truncated,
            transitions.mask,
            self.discount,
        )
        return task_params._replace(own=episodic_memory.latest(task_params.own, phase, meta_params.capacity))

    def _embedded(self, meta_params: EpisodicParams, timestep: TimeStep, time: Clock) -> tuple[Array, Array]:
        """-> (features of all that is seen [hidden], the observation as a key [D])"""
        encoder, first = meta_params.encoder, timestep.first
        observed = encoder.observation(timestep.observation)
        if self.reset == "episode":
            # Nor is the last step of the episode before fed.
            action, reward = (
                jnp.where(first, jnp.zeros_like(x), x) for x in (timestep.action, timestep.reward)
            )
            timestep = timestep._replace(action=action, reward=reward)
        trial_steps = meta_params.trial_steps if self.feed_trial_time else None
        episode_steps = meta_params.episode_steps if self.feed_episode_time else None
        fed = clock.with_left(encoder.beside(observed, timestep), time, trial_steps, episode_steps)
        return jnp.tanh(meta_params.embed(fed)), meta_params.to_key(observed)

    def _output(
        self, meta_params: EpisodicParams, x: Array, query: Array, own: Entries, shared: Entries | None
    ) -> Output:
        if meta_params.learned is not None:
            learned = Entries(*meta_params.learned, jnp.ones(self.num_learned, bool))
            own = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), learned, own)
        found = [self._found(meta_params, query, own, meta_params.capacity + self.num_learned)]
        if shared is not None:
            # Apart from what is the task's own, which few entries hold and many others' would drown.
            found.append(self._found(meta_params, query, shared, self.num_shared))
        features = jnp.tanh(meta_params.hidden(jnp.concatenate([x, *found])))
        return Output(*meta_params.heads(features, query), {})

    def _found(self, meta_params: EpisodicParams, query: Array, entries: Entries, capacity: int) -> Array:
        strength = None if meta_params.log_strength is None else jnp.exp(meta_params.log_strength)
        values = meta_params.encoder.action.num_values
        return read(self.retrieval, query, entries, capacity, strength, self.num_neighbours, values)

    def _no_entries(self, meta_params: EpisodicParams, size: int) -> Entries:
        dtype = meta_params.embed.bias.dtype
        keys = jnp.zeros((size, self.key_size), dtype)
        actions = jnp.zeros((size, meta_params.encoder.action.size), dtype)
        return Entries(keys, actions, jnp.zeros(size, dtype), jnp.zeros(size, bool))

    def _first_learned(self, action_size: int, key: Key) -> tuple[Array, Array, Array]:
        k_keys, k_actions, k_returns = jax.random.split(key, 3)
        keys = jax.random.normal(k_keys, (self.num_learned, self.key_size))
        actions = jax.nn.softmax(jax.random.normal(k_actions, (self.num_learned, action_size)))
        return keys, actions, jax.random.normal(k_returns, (self.num_learned,))
