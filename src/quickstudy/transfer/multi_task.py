"""One policy for all known tasks, trained in them directly by PPO: no teachers.

    for each adaptation:  T steps of S streams in each of k tasks by π_j = head_j(trunk)
        for each minibatch of every task:  g_j = ∇ PPO's L of task j;  θ ← Adam(θ, mean_j g_j)
    pcgrad:  for each i, for each j ≠ i in random order:
        if g_i · g_j < 0:  g_i ← g_i - (g_i · g_j / |g_j|²) g_j,   g_j as it was before any projection

What tasks share can conflict; heads of a task's own cannot, and take their own gradients. A new task begins
with the mean of the heads: their mean logits are, of all policies π, that with the least mean KL[π ‖ π_j].

Source: Yu et al. 2020 (arXiv 2001.06782), algorithm 1; PPO by Schulman et al. 2017 (arXiv 1707.06347).
Differs from the papers: the mean in place of the sum; advantages are normalised task by task.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp

from quickstudy import rollout
from quickstudy.agents.fine_tune import Global
from quickstudy.agents.policy_gradient import Learner, Steps
from quickstudy.agents.ppo import PPO, minibatches, proximal_loss
from quickstudy.errors import require
from quickstudy.lives import LifeShape
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.schedules import decayed
from quickstudy.transfer.critic import merged_axes, num_tasks
from quickstudy.transfer.elastic import fisher
from quickstudy.types import Array, Env, Key, PyTree, Transition

Heads = Literal["shared", "per-task"]
Conflicts = Literal["none", "pcgrad"]


@dataclasses.dataclass(frozen=True)
class MultiTask:
    """How one policy is trained in many tasks."""

    heads: Heads = "shared"
    """Last layers of policy and critic: one for all tasks, or one for each."""
    conflicts: Conflicts = "none"
    """Between the tasks' gradients of what they share."""

    def __post_init__(self) -> None:
        require(
            self,
        )


class Trained(NamedTuple):
    known: Global
    """In the place of `FineTune.init`'s; its Fisher is measured at one phase of all tasks."""
    rewards: Array
    """[K, k], mean reward of a step in each adaptation."""


class Weights(NamedTuple):
    trunk: ActorCritic
    """Whole; its own heads hold the place of those of each task, where these have some."""
    heads: PyTree
    """Last layers [k, ...], or None where all tasks share the trunk's."""


class _State(NamedTuple):
    weights: Weights
    optimizer: PyTree
    known: Global
    """For its statistics."""
    streams: rollout.Streams


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def train_together(
    settings: MultiTask, agent: PPO, env: Env, shape: LifeShape, start: Global, tasks: PyTree, key: Key
) -> Trained:
    """In `tasks` [k, ...] by `agent`'s settings; `start` is what `FineTune.init` made, whose network it is."""
    k_streams, k_updates, k_last, k_actions = jax.random.split(key, 4)
    num, length = num_tasks(tasks), (shape.num_steps, None)
    keys, last_keys = (jax.random.split(k, num) for k in (k_streams, k_last))

    def one(state: _State, number: Array) -> tuple[_State, Array]:
        learners = _learners(state.weights, state.known, num)
        phase_keys = rollout.stream_keys(keys, number, shape.num_streams)
        walked = (learners, tasks, phase_keys, state.streams)
        streams, transitions = rollout.roll_on(agent, env, length, None, *walked)
        steps = jax.vmap(agent.judge, in_axes=(None, 0, 0))(None, learners, transitions)
        progress, k_learn = number / shape.num_adapts, jax.random.fold_in(k_updates, number)
        weights, optimizer = _learned(settings, agent, state, steps, progress, k_learn)
        known = _having_seen(agent, state.known, merged_axes(transitions))
        return _State(weights, optimizer, known, streams), transitions.reward.mean((1, 2))

    weights: PyTree = Weights(start.network, _copies(settings, start.network, num))
    first = rollout.stream_keys(keys, 0, shape.num_streams)
    streams = rollout.begin(agent, env, None, _learners(weights, start, num), tasks, first)
    state = _State(weights, clipped_adam(agent.max_grad_norm).init(weights), start, streams)
    state, rewards = jax.lax.scan(one, state, jnp.arange(shape.num_adapts))

    known = dataclasses.replace(state.known, network=with_mean_heads(state.weights))
    learners = _learners(Weights(known.network, None), known, num)
    phase_keys = rollout.stream_keys(last_keys, 0, shape.num_streams)
    streams = rollout.begin(agent, env, None, learners, tasks, phase_keys)
    walked = (learners, tasks, phase_keys, streams)
    _, transitions = rollout.roll_on(agent, env, length, None, *walked)
    steps = merged_axes(jax.vmap(agent.judge, in_axes=(None, 0, 0))(None, learners, transitions))
    importance = fisher(known.network, steps.observation, k_actions)
    return Trained(dataclasses.replace(known, fisher=importance), rewards)


def with_mean_heads(weights: Weights) -> ActorCritic:
    """With what a new task begins."""
    if weights.heads is None:
        return weights.trunk
    return eqx.tree_at(_last_layers, weights.trunk, jax.tree.map(lambda x: x.mean(0), weights.heads))


def without_conflicts(gradients: Array, key: Key) -> Array:
    """PCGrad of the tasks' gradients [k, P] -> [P]."""

    def projected(i: Array, gradient: Array, key: Key) -> Array:
        def away(gradient: Array, j: Array) -> tuple[Array, None]:
            other = gradients[j]
            along = gradient @ other
            conflicts = (along < 0) & (i != j)
            return gradient - jnp.where(conflicts, along / (other @ other), 0.0) * other, None

        return jax.lax.scan(away, gradient, jax.random.permutation(key, len(gradients)))[0]

    num = len(gradients)
    return jax.vmap(projected)(jnp.arange(num), gradients, jax.random.split(key, num)).mean(0)


def _learned(
    settings: MultiTask, agent: PPO, state: _State, steps: Steps, progress: Array, key: Key
) -> tuple[Weights, PyTree]:
    """One phase's minibatches; steps [k, n] -> (the weights, the optimizer's state)"""
    k_rows, k_order = jax.random.split(key)
    rows = minibatches(steps.mask.shape[1], agent.num_epochs, agent.num_minibatches, k_rows)
    rate = decayed(agent.schedule, agent.learning_rate, 0.0, progress)
    optimizer = clipped_adam(agent.max_grad_norm)

    def update(carry: tuple[Any, PyTree], batch: tuple[Array, Key]) -> tuple[tuple[Any, PyTree], None]:
        some = jax.tree.map(lambda x: x[:, batch[0]], steps)
        return descend(optimizer, *carry, _gradient(settings, agent, carry[0], some, batch[1]), rate), None

    orders = jax.random.split(k_order, len(rows))
    return jax.lax.scan(update, (state.weights, state.optimizer), (rows, orders))[0]


def _gradient(settings: MultiTask, agent: PPO, weights: Weights, steps: Steps, key: Key) -> Weights:
    """Of the tasks' mean loss, conflicts among what they share put aside; steps [k, B]."""
    num = len(steps.mask)

    def loss(trunk: ActorCritic, heads: PyTree, steps: Steps) -> Array:
        return proximal_loss(agent, _network(trunk, heads), steps, agent.clip)

    over_tasks = jax.vmap(jax.grad(loss, argnums=(0, 1)), in_axes=(None, 0, 0))
    trunk, heads = over_tasks(weights.trunk, weights.heads, steps)
    heads = jax.tree.map(lambda x: x / num, heads)
    if settings.conflicts == "none":
        return Weights(jax.tree.map(lambda x: x.mean(0), trunk), heads)
    flat = jax.vmap(lambda tree: jax.flatten_util.ravel_pytree(tree)[0])(trunk)
    _, unravel = jax.flatten_util.ravel_pytree(weights.trunk)
    return Weights(unravel(without_conflicts(flat, key)), heads)


def _learners(weights: Weights, known: Global, num: int) -> Learner:
    """What acts in each task, [k, ...]."""

    def learner(heads: PyTree) -> Learner:
        network = _network(weights.trunk, heads)
        return Learner(network, (), known.seen, known.earned, jnp.zeros((), jnp.int32))

    return jax.vmap(learner, axis_size=num)(weights.heads)


def _having_seen(agent: PPO, known: Global, transitions: Transition) -> Global:
    """With the statistics of one phase, transitions [k S, T]."""
    seen, earned = known.seen, known.earned
    if seen is not None:
        flat = merged_axes(transitions)
        seen = seen.including(flat.timestep.observation, flat.mask)
    if earned is not None:
        earned = agent.earning(earned, transitions)
    return dataclasses.replace(known, seen=seen, earned=earned)


def _network(trunk: ActorCritic, heads: PyTree) -> ActorCritic:
    """Of one task."""
    return trunk if heads is None else eqx.tree_at(_last_layers, trunk, heads)


def _copies(settings: MultiTask, network: ActorCritic, num: int) -> PyTree:
    """The last layers, one for each task; they begin equal."""
    if settings.heads == "shared":
        return None
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (num, *x.shape)), _last_layers(network))


def _last_layers(network: ActorCritic) -> tuple[PyTree, PyTree]:
    assert network.critic is not None
    return network.head, network.critic.out
