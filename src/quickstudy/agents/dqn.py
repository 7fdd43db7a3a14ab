"""Deep Q-learning: Q of every action, learned from what was seen before, by a target that moves more slowly.

    act:      argmax_a Q(o, a), or with probability ε any action
    adapt:    remember the phase's steps; then num_updates times, for a batch of n-step returns R to o':
        y = R + γ^m Q_target(o', argmax_a Q(o', a))        (without `double`: max_a Q_target(o', a))
        Q ← Adam(Q, ∇ mean loss(Q(o, a) - y));   every target_period updates Q_target ← (1 - τ) Q_target + τ Q

ε falls in a straight line over the first share of the life.

Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", algorithm 1; double by
van Hasselt et al. 2016 (arXiv 1509.06461); dueling by Wang et al. 2016 (arXiv 1511.06581); n steps by Hessel et
al. 2018 (arXiv 1710.02298).
Differs from the papers: Adam; several streams may be lived side by side, several updates made in an adaptation.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from gymnasium import spaces

from quickstudy.errors import require, wrong
from quickstudy.nets.actor_critic import ACTIVATIONS, Activation
from quickstudy.nets.distributions import Categorical
from quickstudy.nets.q_networks import DiscreteQ
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.schedules import Schedule, decayed
from quickstudy.replay_buffer import Batch, Remembering, ReplayBuffer
from quickstudy.types import MOST, Array, Key, Output, PyTree, TimeStep, Transition, TrialShape

Loss = Literal["huber", "squared"]
# ε stays so far below 1: the mode of the policy is the greedy action at all times.
LEAST_GREEDY = 1e-5
# Probabilities below it are taken for it: logits are finite, and such an action is never drawn.
LEAST_PROBABILITY = 1e-20


class Networks(NamedTuple):
    """What an update changes."""

    online: DiscreteQ
    target: DiscreteQ
    optimizer: PyTree
    num_updates: Array
    """int32"""


class Learner(NamedTuple):
    """The `task_params`."""

    networks: Networks
    buffer: Any
    num_adapts: Array
    """int32"""


@dataclasses.dataclass(frozen=True)
class DQN:
    """Deep Q-learning from scratch in each task (Mnih et al. 2015), double and dueling if wanted."""

    meta_learned: ClassVar[bool] = False

    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units of each hidden layer."""
    activation: Activation = "relu"
    double: bool = True
    """The online network chooses the action whose target value counts."""
    dueling: bool = False
    """Value and advantages each have a last hidden layer of their own."""
    num_steps: int = 1
    """n: rewards in a return, as long as the episode goes on."""
    discount: float = 0.99
    learning_rate: float = 1e-3
    schedule: Schedule = "constant"
    """How the learning rate falls over the life, to 0."""
    loss: Loss = "huber"
    max_grad_norm: float = 10.0
    """The gradient's global norm is clipped to this."""
    num_updates: int = 32
    """Of one adaptation."""
    batch_size: int = 64
    buffer_size: int = 50_000
    """The last steps of all streams that are remembered."""
    learning_starts: int = 1000
    """Steps of all streams before the first update."""
    target_period: int = 32
    """Updates between two moves of the target network."""
    target_rate: float = 1.0
    """τ; 1 copies the online network."""
    initial_epsilon: float = 1.0
    final_epsilon: float = 0.05
    exploration_share: float = 0.2
    """Of the life, over which ε falls."""

    def __post_init__(self) -> None:
        require(
            self,
            hidden_sizes=(
                len(self.hidden_sizes) >= 1 and all(n >= 1 for n in self.hidden_sizes),
                "one layer or more, of at least 1 each",
            ),
            activation=(self.activation in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
            num_steps=(1 <= self.num_steps <= 1000, "between 1 and 1000"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
            num_updates=(1 <= self.num_updates <= MOST, f"between 1 and {MOST:,}"),
            batch_size=(1 <= self.batch_size <= MOST, f"between 1 and {MOST:,}"),
            buffer_size=(1 <= self.buffer_size <= MOST, f"between 1 and {MOST:,}"),
            learning_starts=(0 <= self.learning_starts <= self.buffer_size, "between 0 and buffer_size"),
            target_period=(1 <= self.target_period <= MOST, f"between 1 and {MOST:,}"),
            target_rate=(0 < self.target_rate <= 1, "above 0, up to 1"),
            initial_epsilon=(0 <= self.initial_epsilon <= 1, "between 0 and 1"),
            final_epsilon=(0 <= self.final_epsilon <= 1, "between 0 and 1"),
            exploration_share=(0 < self.exploration_share <= 1, "above 0, up to 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> Remembering:
        space = env.action_space
        if not (isinstance(space, spaces.Discrete) and space.start == 0):
            raise wrong("action_space", space, "Discrete from 0, of which dqn can try every action")
        buffer = ReplayBuffer(self.buffer_size, trial.num_streams, self.num_steps, self.discount)
        meta_params = Remembering(env, trial.num_adapts, buffer)
        # It says what is wrong with a space here, before anything is compiled.
        jax.eval_shape(lambda key: self.init_task(meta_params, key), key)
        return meta_params

    def init_task(self, meta_params: Remembering, key: Key) -> Learner:
        online: PyTree = DiscreteQ(
            meta_params.env, self.hidden_sizes, self.activation, key, dueling=self.dueling
        )
        # A copy: a life gives its arrays away, and none twice.
        target = jax.tree.map(jnp.copy, online)
        optimizer, zero = clipped_adam(self.max_grad_norm).init(online), jnp.zeros((), jnp.int32)
        networks = Networks(online, target, optimizer, zero)
        return Learner(networks, meta_params.buffer.init(meta_params.env), jnp.zeros((), jnp.int32))

    def init_memory(self, meta_params: Remembering, task_params: Learner) -> PyTree:
        return ()

    def step(
        self, meta_params: Remembering, task_params: Learner, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        q = task_params.networks.online(timestep.observation)
        policy = epsilon_greedy(q, self.epsilon(_progress(meta_params, task_params)))
        return Output(policy, q.max(), {}), memory

    def adapt(
        self, meta_params: Remembering, task_params: Learner, transitions: Transition, key: Key
    ) -> Learner:
        replay, before = meta_params.buffer, task_params.networks
        rate = decayed(self.schedule, self.learning_rate, 0.0, _progress(meta_params, task_params))
        buffer = replay.add(task_params.buffer, transitions)
        batches = replay.sample(buffer, key, (self.num_updates, self.batch_size))

        def update(networks: Networks, batch: Batch) -> tuple[Networks, None]:
            return self.update(networks, batch, rate), None

        after, _ = jax.lax.scan(update, before, batches)
        ready = replay.ready(buffer, self.learning_starts)
        networks = jax.tree.map(lambda new, old: jnp.where(ready, new, old), after, before)
        return Learner(networks, buffer, task_params.num_adapts + 1)

    def epsilon(self, progress: Array | float) -> Array:
        """When this share of the life is over."""
        fallen = jnp.minimum(progress / self.exploration_share, 1.0)
        return self.initial_epsilon + (self.final_epsilon - self.initial_epsilon) * fallen

    def update(self, networks: Networks, batch: Batch, rate: Array | float) -> Networks:
        """One step against the gradient, of a batch [B]."""
        gradient = jax.grad(self.error)(networks.online, networks.target, batch)
        optimizer = clipped_adam(self.max_grad_norm)
        online, state = descend(optimizer, networks.online, networks.optimizer, gradient, jnp.asarray(rate))
        num_updates = networks.num_updates + 1
        tau = jnp.where(num_updates % self.target_period == 0, self.target_rate, 0.0)
        target = jax.tree.map(lambda t, q: (1 - tau) * t + tau * q, networks.target, online)
        return Networks(online, target, state, num_updates)

    def error(self, online: DiscreteQ, target: DiscreteQ, batch: Batch) -> Array:
        """What an update makes smaller, []."""
        q = _of(jax.vmap(online)(batch.observation), batch.action)
        apart = q - jax.lax.stop_gradient(self.targets(online, target, batch))
        return batch.mean(optax.losses.huber_loss(apart) if self.loss == "huber" else 0.5 * apart**2)

    def targets(self, online: DiscreteQ, target: DiscreteQ, batch: Batch) -> Array:
        """y [B]"""
        behind = jax.vmap(target)(batch.next_observation)
        if self.double:
            best = jnp.argmax(jax.vmap(online)(batch.next_observation), axis=-1)
            value = _of(behind, best)
        else:
            value = behind.max(-1)
        return batch.reward + batch.discount * value


def epsilon_greedy(q: Array, epsilon: Array | float) -> Categorical:
    """q [..., A]; of several best actions the first is the greedy one."""
    epsilon = jnp.minimum(epsilon, 1 - LEAST_GREEDY)
    num_actions = q.shape[-1]
    greedy = jax.nn.one_hot(jnp.argmax(q, axis=-1), num_actions)
    probability = epsilon / num_actions + (1 - epsilon) * greedy
    return Categorical(jnp.log(jnp.maximum(probability, LEAST_PROBABILITY)))


def _of(q: Array, action: Array) -> Array:
    """q [..., A], action [...] -> [...]; by a mask, whose gradient is no scatter."""
    return jnp.where(jax.nn.one_hot(action, q.shape[-1], dtype=bool), q, 0.0).sum(-1)


def _progress(meta_params: Remembering, learner: Learner) -> Array:
    return learner.num_adapts / max(1, meta_params.num_adapts)
