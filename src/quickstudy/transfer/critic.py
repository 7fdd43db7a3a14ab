"""One critic of one policy in all known tasks, so that fine-tuning in a new one begins with advantages.

    for each round, in all tasks side by side:
        act for T steps of S streams by the policy;   R_t = A_t + v_t by generalised advantages
        v ← v + mean (R - v);   for each minibatch:  w ← Adam(w, ∇ mean (v - R)² / 2)

It does not know which task it is in: what it learns is the mean over the tasks in which a state is met.

Source: Schulman et al. 2016 (arXiv 1506.02438).
Differs from the paper: the returns' level is found at once, not by gradients, which take long to it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy import rollout
from quickstudy.agents.fine_tune import FineTune, Global
from quickstudy.agents.policy_gradient import Steps
from quickstudy.agents.ppo import minibatches
from quickstudy.errors import require
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.types import MOST, Array, Env, Key, PyTree


@dataclasses.dataclass(frozen=True)
class CriticFit:
    """How a critic is fitted to a policy's returns."""

    num_rounds: int = 10
    num_streams: int = 8
    """S, in each task."""
    num_steps: int = 128
    """T, steps of a stream in one round."""
    num_epochs: int = 5
    """Over the steps of one round."""
    batch_size: int = 256
    learning_rate: float = 1e-3
    max_grad_norm: float = 1.0
    """The gradient's global norm is clipped to this."""

    def __post_init__(self) -> None:
        counts = ("num_streams", "num_steps", "num_epochs", "batch_size")
        require(self, **{n: (1 <= getattr(self, n) <= MOST, f"between 1 and {MOST:,}") for n in counts})
        require(
            self,
            num_rounds=(0 <= self.num_rounds <= MOST, f"between 0 and {MOST:,}"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )


class _State(NamedTuple):
    known: Global
    optimizer: PyTree
    streams: rollout.Streams


def fit_critic(
    fit: CriticFit, agent: FineTune, env: Env, start: Global, tasks: PyTree, key: Key
) -> tuple[Global, Array]:
    """-> (`start` with a critic of its policy in `tasks` [k, ...], its errors before each round's minibatches,
    [num_rounds]: mean squares over the variance of what it should say, from 1, a constant, to 0)
    """
    k_streams, k_updates = jax.random.split(key)
    keys = jax.random.split(k_streams, num_tasks(tasks))

    def one(state: _State, number: Array) -> tuple[_State, Array]:
        known, learners = state.known, rollout.begin_tasks(agent, state.known, keys)
        stream_keys = rollout.stream_keys(keys, number, fit.num_streams)
        walked = (known, learners, tasks, stream_keys, state.streams)
        streams, transitions = rollout.roll_on(agent, env, (fit.num_steps, None), *walked)
        if known.earned is not None:
            earned = agent.earning(known.earned, merged_axes(transitions))
            known = dataclasses.replace(known, earned=earned)
            learners = learners._replace(earned=rollout.begin_tasks(agent, known, keys).earned)
        steps = merged_axes(jax.vmap(agent.judge, in_axes=(None, 0, 0))(known, learners, transitions))
        k_round = jax.random.fold_in(k_updates, number)
        critic, optimizer, error = _nearer(fit, known, state.optimizer, steps, k_round)
        network = eqx.tree_at(lambda n: n.critic, known.network, critic)
        return _State(dataclasses.replace(known, network=network), optimizer, streams), error

    first = rollout.stream_keys(keys, 0, fit.num_streams)
    streams = rollout.begin(agent, env, start, rollout.begin_tasks(agent, start, keys), tasks, first)
    critic: PyTree = start.network.critic
    state = _State(start, clipped_adam(fit.max_grad_norm).init(critic), streams)
    state, errors = jax.lax.scan(one, state, jnp.arange(fit.num_rounds))
    return state.known, errors


def num_tasks(tasks: PyTree) -> int:
    return len(jax.tree.leaves(tasks)[0])


def merged_axes(tree: Any) -> Any:
    """[k, n, ...] -> [k n, ...], leaf by leaf"""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def _nearer(
    fit: CriticFit, known: Global, optimizer: PyTree, steps: Steps, key: Key
) -> tuple[PyTree, PyTree, Array]:
    """-> (the critic after one round's minibatches, the optimizer's state, the error before them, at the right
    level)
    """
    num_minibatches = max(1, len(steps.target) // fit.batch_size)
    adam = clipped_adam(fit.max_grad_norm)

    def error(critic: PyTree, steps: Steps) -> Array:
        network = eqx.tree_at(lambda n: n.critic, known.network, critic)
        return steps.mean((jax.vmap(network)(steps.observation)[1] - steps.target) ** 2)

    def update(carry: tuple[PyTree, PyTree], rows: Array) -> tuple[tuple[PyTree, PyTree], None]:
        some = jax.tree.map(lambda x: x[rows], steps)
        gradient = jax.grad(lambda critic: 0.5 * error(critic, some))(carry[0])
        return descend(adam, *carry, gradient, jnp.asarray(fit.learning_rate)), None

    start: PyTree = known.network.critic
    level = steps.mean(steps.target - jax.vmap(known.network)(steps.observation)[1])
    start = eqx.tree_at(lambda critic: critic.out.bias, start, replace_fn=lambda bias: bias + level)
    rows = minibatches(len(steps.target), fit.num_epochs, num_minibatches, key)
    (critic, optimizer), _ = jax.lax.scan(update, (start, optimizer), rows)
    return critic, optimizer, error(start, steps) / (steps.target.var() + 1e-8)
