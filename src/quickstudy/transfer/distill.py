"""Distillation: the teachers of k known tasks become one global policy, and a critic of it.

    for each round i, in all known tasks side by side:
        act for T steps of S streams: at each step with probability β^i as the teacher, else as the student
        D ← D ∪ {(o, the teacher's policy at o)}, of the last rounds alone
        for each minibatch of D:  θ ← Adam(θ, ∇ mean distance(teacher, π_θ))
    then a critic of the student

The student is told what to do where its own mistakes have led it. Its deviation of continuous actions, the
same in every state, becomes the root mean square distance of the actions that the teachers draw from its own
mean: their deviation and its error together.

Source: Ross et al. 2011 (arXiv 1011.0686), algorithm 3.1; policies in place of actions by Rusu et al. 2016
(arXiv 1511.06295).
Differs from the papers: D has an end; in each step, not each episode, a coin says who acts; the student is
the last one, not the best.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy import rollout
from quickstudy.agents.fine_tune import FineTune, Global
from quickstudy.errors import require
from quickstudy.nets.partial import policy_weights
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.schedules import Schedule, decayed
from quickstudy.transfer.critic import CriticFit, fit_critic, num_tasks
from quickstudy.transfer.elastic import fisher
from quickstudy.transfer.teaching import DISTANCES, Distance, Pupil, Taught, distance, sharpened
from quickstudy.types import MOST, Array, Env, Key, PyTree, Transition


@dataclasses.dataclass(frozen=True)
class Distillation:
    """How teachers become one policy."""

    num_rounds: int = 20
    num_streams: int = 8
    """S, in each known task."""
    num_steps: int = 128
    """T, steps of a stream in one round."""
    num_kept: int = 10
    """Rounds whose steps are remembered."""
    mixture: float = 0.5
    """β; 0: the teachers act in the first round alone."""
    loss: Distance = "kl"
    """kl of the teacher to the student, where their policies are of one kind, else the cross-entropy of the
    teacher's actions; or mse of what they would do: modes in half ranges, or probabilities."""
    temperature: float = 1.0
    """Of a teacher's discrete policy: 1 takes its own probabilities, with their exploration; near 0 its mode
    alone."""
    num_epochs: int = 2
    """In one round, over as many steps as the round has; drawn from all that are remembered."""
    batch_size: int = 256
    learning_rate: float = 2e-3
    schedule: Schedule = "linear"
    """How the learning rate falls over the rounds, to 0."""
    max_grad_norm: float = 1.0
    """The gradient's global norm is clipped to this."""
    critic: CriticFit = dataclasses.field(default_factory=CriticFit)
    """How the student gets a critic, after its policy is done."""
    num_fisher: int = 2000
    """Remembered observations at which is measured how much each weight matters."""

    def __post_init__(self) -> None:
        counts = (
            "num_rounds",
            "num_streams",
            "num_steps",
            "num_kept",
            "num_epochs",
            "batch_size",
            "num_fisher",
        )
        require(self, **{n: (1 <= getattr(self, n) <= MOST, f"between 1 and {MOST:,}") for n in counts})
        require(
            self,
            mixture=(0 <= self.mixture <= 1, "between 0 and 1"),
            loss=(self.loss in DISTANCES, f"one of {', '.join(DISTANCES)}"),
            temperature=(self.temperature > 0, "above 0"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )


class Teachers(NamedTuple):
    """Of k known tasks."""

    meta_params: PyTree
    """Of the agent that learned them all."""
    task_params: PyTree
    """[k, ...], what it learned in each."""
    task: PyTree
    """[k, ...]"""


class Distilled(NamedTuple):
    known: Global
    """In the place of `FineTune.init`'s."""
    apart: Array
    """[num_rounds], the loss over each round's minibatches."""
    critic_error: Array
    """[critic.num_rounds]; see `fit_critic`."""


class _Data(NamedTuple):
    """The last rounds' steps, [num_kept, n, ...]."""

    observation: PyTree
    taught: Any
    """The teacher's policy."""


class _State(NamedTuple):
    known: Global
    optimizer: PyTree
    streams: rollout.Streams
    data: _Data


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def distill(
    settings: Distillation,
    agent: FineTune,
    env: Env,
    teacher: Any,
    teachers: Teachers,
    start: Global,
    key: Key,
) -> Distilled:
    """Of the policies that `teacher` learned; `start` is what `agent.init` made, or an earlier global policy.

    `agent` says how the student's critic counts: discount, λ, and whether observations and rewards are
    normalised.
    """
    k_policy, k_critic, k_fisher, k_actions = jax.random.split(key, 4)
    known, data, apart = _policy_rounds(settings, agent, env, Pupil(teacher, agent), teachers, start, k_policy)
    known, error = fit_critic(settings.critic, agent, env, known, teachers.task, k_critic)
    observation = _drawn(data, settings.num_rounds, settings.num_fisher, k_fisher).observation
    importance = fisher(known.network, _seen(known, observation), k_actions)
    return Distilled(dataclasses.replace(known, fisher=importance), apart, error)


def _policy_rounds(
    settings: Distillation, agent: FineTune, env: Env, pupil: Pupil, teachers: Teachers, start: Global, key: Key
) -> tuple[Global, _Data, Array]:
    k_streams, k_updates = jax.random.split(key)
    keys = jax.random.split(k_streams, num_tasks(teachers.task))
    first = rollout.stream_keys(keys, 0, settings.num_streams)

    def roll(known: Global, streams: Any, number: Array) -> tuple[rollout.Streams, Transition]:
        share = jnp.asarray(settings.mixture) ** number
        task_params = _as_pupils(agent, known, teachers, keys)
        stream_keys = rollout.stream_keys(keys, number, settings.num_streams)
        walked = (Taught(teachers.meta_params, known, share), task_params, teachers.task, stream_keys, streams)
        return rollout.roll_on(pupil, env, (settings.num_steps, None), *walked)

    def one(state: _State, number: Array) -> tuple[_State, Array]:
        streams, transitions = roll(state.known, state.streams, number)
        data = _with(state.data, settings, transitions, number)
        known = _having_seen(state.known, transitions)
        k_round = jax.random.fold_in(k_updates, number)
        known, optimizer, apart = _taught(settings, known, state.optimizer, data, number, k_round)
        return _State(known, optimizer, streams, data), apart

    begun = (Taught(teachers.meta_params, start, jnp.ones(())), _as_pupils(agent, start, teachers, keys))
    streams = rollout.begin(pupil, env, *begun, teachers.task, first)
    _, shapes = jax.eval_shape(roll, start, streams, jnp.zeros((), jnp.int32))
    data = _empty(settings, shapes)
    optimizer = clipped_adam(settings.max_grad_norm).init(policy_weights(start.network))
    state = _State(start, optimizer, streams, data)
    state, apart = jax.lax.scan(one, state, jnp.arange(settings.num_rounds))
    return state.known, state.data, apart


def _taught(
    settings: Distillation, known: Global, optimizer: PyTree, data: _Data, number: Array, key: Key
) -> tuple[Global, PyTree, Array]:
    """One round's minibatches -> (the student after them, the optimizer's state, their mean loss)"""
    rows_of_round = jax.tree.leaves(data.observation)[0].shape[1]
    num_updates = max(1, settings.num_epochs * rows_of_round // settings.batch_size)
    rate = decayed(settings.schedule, settings.learning_rate, 0.0, number / settings.num_rounds)
    adam = clipped_adam(settings.max_grad_norm)

    def loss(weights: PyTree, batch: _Data, key: Key) -> Array:
        network = eqx.tree_at(policy_weights, known.network, weights)
        said, _ = jax.vmap(network)(_seen(known, batch.observation))
        taught = sharpened(batch.taught, settings.temperature)
        return distance(settings.loss, taught, said, network.head.actions.half_range, key).mean()

    def update(carry: tuple[PyTree, PyTree], key: Key) -> tuple[tuple[PyTree, PyTree], Array]:
        k_rows, k_actions = jax.random.split(key)
        batch = _drawn(data, number + 1, settings.batch_size, k_rows)
        apart, gradient = jax.value_and_grad(loss)(carry[0], batch, k_actions)
        return descend(adam, *carry, gradient, rate), apart

    carry = (policy_weights(known.network), optimizer)
    (weights, optimizer), apart = jax.lax.scan(update, carry, jax.random.split(key, num_updates))
    network = eqx.tree_at(policy_weights, known.network, weights)
    return dataclasses.replace(known, network=network), optimizer, apart.mean()


def _as_pupils(agent: FineTune, known: Global, teachers: Teachers, keys: Key) -> tuple[PyTree, PyTree]:
    """Teacher and student of each task, [k, ...]."""
    return teachers.task_params, rollout.begin_tasks(agent, known, keys)


def _having_seen(known: Global, transitions: Transition) -> Global:
    if known.seen is None:
        return known
    observation, mask = transitions.timestep.observation, transitions.mask
    flat = observation.reshape(-1, *observation.shape[mask.ndim :])
    return dataclasses.replace(known, seen=known.seen.including(flat, mask.reshape(-1)))


def _seen(known: Global, observation: PyTree) -> PyTree:
    return observation if known.seen is None else known.seen.normalise(observation)


def _rows(transitions: Transition) -> _Data:
    """[k, S, T, ...] -> [n, ...]"""
    kept = _Data(transitions.timestep.observation, transitions.extras["taught"])
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), kept)


def _empty(settings: Distillation, shapes: Transition) -> _Data:
    rows = jax.eval_shape(_rows, shapes)
    return jax.tree.map(lambda x: jnp.zeros((settings.num_kept, *x.shape), x.dtype), rows)


def _with(data: _Data, settings: Distillation, transitions: Transition, number: Array) -> _Data:
    """With a round's steps, in the place of those of `num_kept` rounds ago."""
    place = number % settings.num_kept
    return jax.tree.map(lambda all, new: all.at[place].set(new), data, _rows(transitions))


def _drawn(data: _Data, num_rounds: Array | int, num_rows: int, key: Key) -> _Data:
    """So many steps [num_rows, ...] of those that are remembered after so many rounds."""
    num_kept, size = jax.tree.leaves(data.observation)[0].shape[:2]
    rows = jax.random.randint(key, (num_rows,), 0, jnp.minimum(num_rounds, num_kept) * size)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[rows], data)
