"""Soft actor-critic: a policy that earns much and stays as random as it can, and two critics of it.

    V(o) = E_a~π [min_i Q_i(o, a) - α log π(a | o)]
    adapt:    remember the phase's steps; then num_updates times, for a batch:
        y = R + γ^m V_target(o')
        L = Σ_i mean (Q_i(o, a) - y)² / 2  -  mean V(o)  +  log α · (H[π] - H̄)
        weights ← Adam(weights, ∇L);   Q_target ← (1 - τ) Q_target + τ Q

Each term moves its own part alone: the critics, the actor, the temperature α. Of continuous actions the
expectation is one sample, whose gradient goes through the action; of discrete ones it is a sum.

Source: Haarnoja et al. 2018 (arXiv 1812.05905), algorithm 1; discrete actions by Christodoulou 2019
(arXiv 1910.07207).
Differs from the papers: one step of Adam moves all three parts, so the actor follows the critics as they were
before it; H̄ of discrete actions is a setting's share of log A. The first `learning_starts` steps are nearly
uniform.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from gymnasium import spaces

from quickstudy.errors import require
from quickstudy.nets.actor_critic import ACTIVATIONS, Activation
from quickstudy.nets.distributions import Categorical, TanhNormal
from quickstudy.nets.q_networks import Actor, ContinuousQ, DiscreteQ, nearly_uniform
from quickstudy.outer.adam import EPSILON, descend
from quickstudy.outer.schedules import Schedule, decayed
from quickstudy.replay_buffer import Batch, Remembering, ReplayBuffer
from quickstudy.types import MOST, Array, Key, Output, PyTree, TimeStep, Transition, TrialShape

Policy = Categorical | TanhNormal
Critics = DiscreteQ | ContinuousQ


class Weights(NamedTuple):
    actor: Actor
    critics: Critics
    """Two, their arrays stacked on a first axis."""
    log_temperature: Array
    """log α, []"""


class Networks(NamedTuple):
    """What an update changes."""

    weights: Weights
    target: Critics
    optimizer: PyTree


class Learner(NamedTuple):
    """The `task_params`."""

    networks: Networks
    buffer: Any
    num_adapts: Array
    """int32"""


@dataclasses.dataclass(frozen=True)
class SAC:
    """Soft actor-critic from scratch in each task (Haarnoja et al. 2018), for actions of either kind."""

    meta_learned: ClassVar[bool] = False

    hidden_sizes: tuple[int, ...] = (256, 256)
    """Units of each hidden layer, of the actor and of each critic."""
    activation: Activation = "relu"
    num_steps: int = 1
    """n: rewards in a return, as long as the episode goes on."""
    discount: float = 0.99
    learning_rate: float = 3e-4
    schedule: Schedule = "constant"
    """How the learning rate falls over the life, to 0."""
    initial_temperature: float = 1.0
    """The first α."""
    learn_temperature: bool = True
    """Move α so that the policy's entropy comes to its target."""
    target_entropy: float | None = None
    """H̄; None: for A dimensions -A, as if each went from -1 to 1; for A actions half of log A."""
    num_updates: int = 1
    """Of one adaptation."""
    batch_size: int = 256
    buffer_size: int = 100_000
    """The last steps of all streams that are remembered."""
    learning_starts: int = 100
    """Steps of all streams before the first update; until then actions are nearly uniform."""
    target_rate: float = 0.005
    """τ"""

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
            initial_temperature=(self.initial_temperature > 0, "above 0"),
            num_updates=(1 <= self.num_updates <= MOST, f"between 1 and {MOST:,}"),
            batch_size=(1 <= self.batch_size <= MOST, f"between 1 and {MOST:,}"),
            buffer_size=(1 <= self.buffer_size <= MOST, f"between 1 and {MOST:,}"),
            learning_starts=(0 <= self.learning_starts <= self.buffer_size, "between 0 and buffer_size"),
            target_rate=(0 < self.target_rate <= 1, "above 0, up to 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> Remembering:
        buffer = ReplayBuffer(self.buffer_size, trial.num_streams, self.num_steps, self.discount)
        meta_params = Remembering(env, trial.num_adapts, buffer)
        # It says what is wrong with a space here, before anything is compiled.
        jax.eval_shape(lambda key: self.init_task(meta_params, key), key)
        return meta_params

    def init_task(self, meta_params: Remembering, key: Key) -> Learner:
        env = meta_params.env
        k_actor, k_critics = jax.random.split(key)
        actor = Actor(env, self.hidden_sizes, self.activation, k_actor)
        kind = DiscreteQ if _is_discrete(env) else ContinuousQ
        critics: Any = jax.vmap(lambda key: kind(env, self.hidden_sizes, self.activation, key))(
            jax.random.split(k_critics)
        )
        weights: PyTree = Weights(actor, critics, jnp.log(jnp.float32(self.initial_temperature)))
        # A copy: a life gives its arrays away, and none twice.
        target = jax.tree.map(jnp.copy, critics)
        networks = Networks(weights, target, _adam().init(weights))
        return Learner(networks, meta_params.buffer.init(env), jnp.zeros((), jnp.int32))

    def init_memory(self, meta_params: Remembering, task_params: Learner) -> PyTree:
        return ()

    def step(
        self, meta_params: Remembering, task_params: Learner, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        policy = task_params.networks.weights.actor(timestep.observation)
        ready = meta_params.buffer.ready(task_params.buffer, self.learning_starts)
        policy = jax.tree.map(lambda p, u: jnp.where(ready, p, u), policy, nearly_uniform(policy))
        return Output(policy, jnp.zeros(()), {}), memory

    def adapt(
        self, meta_params: Remembering, task_params: Learner, transitions: Transition, key: Key
    ) -> Learner:
        replay, before = meta_params.buffer, task_params.networks
        k_sample, k_updates = jax.random.split(key)
        progress = task_params.num_adapts / max(1, meta_params.num_adapts)
        rate = decayed(self.schedule, self.learning_rate, 0.0, progress)
        target_entropy = self.entropy_to_keep(meta_params.env)
        buffer = replay.add(task_params.buffer, transitions)
        batches = replay.sample(buffer, k_sample, (self.num_updates, self.batch_size))

        def update(networks: Networks, drawn: tuple[Batch, Key]) -> tuple[Networks, None]:
            return self.update(networks, *drawn, rate, target_entropy), None

        after, _ = jax.lax.scan(update, before, (batches, jax.random.split(k_updates, self.num_updates)))
        ready = replay.ready(buffer, self.learning_starts)
        networks = jax.tree.map(lambda new, old: jnp.where(ready, new, old), after, before)
        return Learner(networks, buffer, task_params.num_adapts + 1)

    def entropy_to_keep(self, env: Any) -> float:
        """H̄"""
        space = env.action_space
        if self.target_entropy is not None:
            return self.target_entropy
        if isinstance(space, spaces.Discrete):
            return 0.5 * math.log(space.n)
        return float(np.sum(np.log((space.high - space.low) / 2) - 1))

    def update(
        self, networks: Networks, batch: Batch, key: Key, rate: Array | float, target_entropy: float
    ) -> Networks:
        """One step against the gradient, of a batch [B]."""

        def loss(weights: Weights) -> Array:
            return self.loss(weights, networks.target, batch, key, target_entropy)

        gradient = jax.grad(loss)(networks.weights)
        weights, state = descend(_adam(), networks.weights, networks.optimizer, gradient, jnp.asarray(rate))
        tau = self.target_rate
        target = jax.tree.map(lambda t, q: (1 - tau) * t + tau * q, networks.target, weights.critics)
        return Networks(weights, target, state)

    def loss(self, weights: Weights, target: Critics, batch: Batch, key: Key, target_entropy: float) -> Array:
        """L"""
        k_behind, k_here = jax.random.split(key)
        critics, temperature = jax.lax.stop_gradient((weights.critics, jnp.exp(weights.log_temperature)))
        behind, _ = soft_value(weights.actor, target, batch.next_observation, temperature, k_behind)
        y = jax.lax.stop_gradient(batch.reward + batch.discount * behind)
        errors = judged(weights.critics, batch.observation, batch.action) - y
        value, entropy = soft_value(weights.actor, critics, batch.observation, temperature, k_here)
        loss = batch.mean(0.5 * (errors**2).sum(0) - value)
        if not self.learn_temperature:
            return loss
        surplus = jax.lax.stop_gradient(batch.mean(entropy)) - target_entropy
        return loss + weights.log_temperature * surplus


def judged(critics: Critics, observation: PyTree, action: Array) -> Array:
    """Q_i(o, a) of a batch, [2, B]."""
    if isinstance(critics, ContinuousQ):
        return _each(critics, lambda q: jax.vmap(q)(observation, action))
    q = _each(critics, lambda q: jax.vmap(q)(observation))
    return jnp.where(jax.nn.one_hot(action, q.shape[-1], dtype=bool), q, 0.0).sum(-1)


def soft_value(
    actor: Actor, critics: Critics, observation: PyTree, temperature: Array, key: Key
) -> tuple[Array, Array]:
    """V(o) [B], and the entropy [B] of π at o: by one sample of a continuous action, else exactly."""
    policy = jax.vmap(actor)(observation)
    if isinstance(policy, Categorical):
        q = _each(critics, lambda q: jax.vmap(q)(observation)).min(0)
        value, entropy = (jax.nn.softmax(policy.logits) * q).sum(-1), policy.entropy()
    else:
        action, log_prob = policy.sample_and_log_prob(key)
        value, entropy = judged(critics, observation, action).min(0), -log_prob
    return value + temperature * entropy, entropy


def _each(critics: Any, function: Any) -> Array:
    """Of both critics, stacked on a first axis."""
    return jax.vmap(function)(critics)


def _is_discrete(env: Any) -> bool:
    return isinstance(env.action_space, spaces.Discrete)


def _adam() -> optax.GradientTransformation:
    return optax.scale_by_adam(eps=EPSILON)
