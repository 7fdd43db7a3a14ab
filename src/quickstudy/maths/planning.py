"""Exact plans for a finite Markov decision process, known or counted.

    value iteration      Q ← r + γ P max_a Q, until it stays
    policy iteration     V = (I - γ P_π)⁻¹ r_π;   Q = r + γ P V;   π ← argmax_a Q, until it stays
    of a finite horizon  Q_H = 0;   Q_h = r + γ P V_{h+1}, V the maximum over actions or the value of π's own

What a row of P lacks to a sum of 1 is the chance that the episode ends there, with nothing behind it.

Source: Bellman 1957, "Dynamic programming"; Howard 1960, "Dynamic programming and Markov processes"; Puterman
1994, "Markov decision processes", sections 4.5, 6.3 and 6.4.
Differs from the paper:
- A policy is evaluated by Gauss-Jordan elimination, which a strictly diagonally dominant matrix allows without
  pivots: a call of LAPACK within a compiled loop can stop the CPU's threads for ever.
- "Until it stays" is up to rounding, so that ties do not alternate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.types import Array

ROUNDING = 4.0
"""Units of rounding of the largest value within which values count as equal."""
MOST_ROUNDS = 100
"""Of policy iteration, should rounding still alternate; it takes fewer than ten of them."""


class Counts(NamedTuple):
    """What was seen of a process; floats."""

    visits: Array
    """[S, A]"""
    rewards: Array
    """[S, A], their sums."""
    moves: Array
    """[S, A, S]; a step that ended the episode by itself is a visit and no move."""


def no_counts(num_states: int, num_actions: int) -> Counts:
    S, A = num_states, num_actions
    return Counts(jnp.zeros((S, A)), jnp.zeros((S, A)), jnp.zeros((S, A, S)))


def most_likely(counts: Counts, prior_visits: float = 0.0, prior_reward: float = 0.0) -> tuple[Array, Array]:
    """Rewards [S, A] and transitions [S, A, S] as they were on average.

    Each pair counts as visited `prior_visits` times beforehand, with `prior_reward` and a move to any state
    alike, and a pair that was never visited as once at least.
    """
    visits, rewards, moves = counts
    weight = jnp.where(visits > 0.0, prior_visits, 1.0)
    total = visits + weight
    means = (moves + weight[..., None] / moves.shape[-1]) / total[..., None]
    return (rewards + weight * prior_reward) / total, means


def value_iteration(rewards: Array, transitions: Array, discount: float, start: Array | None = None) -> Array:
    """The best Q [S, A] of rewards [S, A], transitions [S, A, S] and a discount below 1.

    Beginning with `start` [S, A], else 0, which changes the time it takes alone.
    """
    # After so many sweeps from 0 nothing but rounding is left.
    most_sweeps = math.ceil(math.log(jnp.finfo(rewards.dtype).eps) / math.log(discount))

    def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        q, _, sweeps = carry
        after = _look_ahead(rewards, transitions, q.max(-1), discount)
        return after, jnp.abs(after - q).max() > _rounding(after), sweeps + 1

    q = jnp.zeros_like(rewards) if start is None else start
    begin = (q, jnp.ones((), bool), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda carry: carry[1] & (carry[2] < most_sweeps), sweep, begin)[0]


def policy_iteration(rewards: Array, transitions: Array, discount: float, start: Array | None = None) -> Array:
    """The same Q [S, A]; `start` [S] are the actions to begin with."""

    def evaluate(policy: Array) -> Array:
        return _look_ahead(
            rewards, transitions, policy_values(rewards, transitions, policy, discount), discount
        )

    return _improved(evaluate, jnp.zeros(len(rewards), jnp.int32) if start is None else start)


def finite_value_iteration(rewards: Array, transitions: Array, horizon: int, discount: float = 1.0) -> Array:
    """The best Q [H, S, A] over `horizon` steps; Q[h] has H - h steps to go."""
    return _backward(rewards, transitions, lambda q, _: q.max(-1), jnp.arange(horizon), discount)


def finite_policy_iteration(
    rewards: Array, transitions: Array, horizon: int, discount: float = 1.0, start: Array | None = None
) -> Array:
    """The same Q [H, S, A]; `start` [H, S] are the actions to begin with."""

    def evaluate(policy: Array) -> Array:
        return finite_policy_action_values(rewards, transitions, policy, discount)

    return _improved(evaluate, jnp.zeros((horizon, len(rewards)), jnp.int32) if start is None else start)


def policy_values(rewards: Array, transitions: Array, policy: Array, discount: float) -> Array:
    """V [S] of the actions that `policy` [S] takes for ever."""
    states = jnp.arange(len(rewards))
    own = transitions[states, policy]
    return _solved(jnp.eye(len(rewards)) - discount * own, rewards[states, policy])


def finite_policy_action_values(
    rewards: Array, transitions: Array, policy: Array, discount: float = 1.0
) -> Array:
    """Q [H, S, A] of the actions that `policy` [H, S] takes after the one in question."""
    return _backward(rewards, transitions, _of, policy, discount)


def _look_ahead(rewards: Array, transitions: Array, value: Array, discount: float) -> Array:
    # A GPU would round the factors of a product to ten bits.
    return rewards + discount * jnp.matmul(transitions, value, precision=jax.lax.Precision.HIGHEST)


def _backward(
    rewards: Array, transitions: Array, value_of: Callable[[Array, Array], Array], rows: Array, discount: float
) -> Array:
    """Q [H, S, A] from the last of `rows` [H, ...] to the first; `value_of(q [S, A], row)` is V_h [S]."""

    def body(value: Array, row: Array) -> tuple[Array, Array]:
        q = _look_ahead(rewards, transitions, value, discount)
        return value_of(q, row), q

    return jax.lax.scan(body, jnp.zeros_like(rewards[:, 0]), rows, reverse=True)[1]


def _improved(evaluate: Callable[[Array], Array], policy: Array) -> Array:
    """The Q of a policy [...] that no single change improves; `evaluate(policy)` is its Q [..., A]."""

    def improve(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        policy, _, _, rounds = carry
        q = evaluate(policy)
        better = q.max(-1) > _of(q, policy) + _rounding(q)
        policy = jnp.where(better, jnp.argmax(q, -1), policy).astype(jnp.int32)
        return policy, q, better.any(), rounds + 1

    begin = (policy, jnp.zeros_like(evaluate(policy)), jnp.ones((), bool), jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(lambda carry: carry[2] & (carry[3] < MOST_ROUNDS), improve, begin)[1]


def _of(q: Array, policy: Array) -> Array:
    """The values [...] of the actions [...] among q [..., A]."""
    return jnp.take_along_axis(q, policy[..., None], -1)[..., 0]


def _rounding(q: Array) -> Array:
    return ROUNDING * jnp.finfo(q.dtype).eps * jnp.abs(q).max()


def _solved(matrix: Array, right: Array) -> Array:
    """x [S] of matrix [S, S] x = right [S]."""

    def eliminate(i: Array, rows: Array) -> Array:
        pivot = rows[i] / rows[i, i]
        return (rows - rows[:, i, None] * pivot).at[i].set(pivot)

    rows = jnp.concatenate([matrix, right[:, None]], axis=1)
    return jax.lax.fori_loop(0, len(right), eliminate, rows)[:, -1]
