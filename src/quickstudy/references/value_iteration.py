"""Value iteration over a finite horizon, for a known process and for a set of plausible ones.

    Q_h(s, a) = r(s, a) + Σ_s' P(s' | s, a) max_a' Q_{h+1}(s', a'),   Q_H = 0

    optimistic: P is the one within an L1 distance d(s, a) of P(· | s, a) that gives the highest sum;
    half of d is moved to the best next state, away from the worst ones

Source: Bellman 1957; Jaksch, Ortner and Auer 2010, "Near-optimal regret bounds for reinforcement learning"
(UCRL2), figure 2, for the optimistic form.
Differs from the paper:
- The horizon is finite, so there is nothing to converge.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from quickstudy.types import Array


def action_values(rewards: Array, transitions: Array, horizon: int) -> Array:
    """Q [H, S, A] of a process with rewards [S, A] and transitions [S, A, S]; Q[h] has H - h steps to go."""
    return _backward(rewards, lambda value: transitions @ value, horizon)


def optimistic_action_values(rewards: Array, transitions: Array, distance: Array, horizon: int) -> Array:
    """Q [H, S, A] of the best of the processes within `distance` [S, A] of `transitions`, in L1."""
    return _backward(rewards, lambda value: best_mean(transitions, distance, value), horizon)


def best_mean(transitions: Array, distance: Array, value: Array) -> Array:
    """The highest mean of value [S] over distributions within distance [...] of transitions [..., S], in L1."""
    order = jnp.argsort(-value)
    ordered = transitions[..., order]
    first = jnp.minimum(ordered[..., :1] + distance[..., None] / 2.0, 1.0)
    # From the second best state on, each keeps what is left of 1 by those before it.
    wanted = jnp.concatenate([first, ordered[..., 1:]], axis=-1)
    before = jnp.cumsum(wanted, axis=-1) - wanted
    return jnp.clip(1.0 - before, 0.0, wanted) @ value[order]


def _backward(rewards: Array, mean_of: Callable[[Array], Array], horizon: int) -> Array:
    def body(value: Array, _: None) -> tuple[Array, Array]:
        q = rewards + mean_of(value)
        return q.max(-1), q

    zero = jnp.zeros(rewards.shape[0], rewards.dtype)
    return jax.lax.scan(body, zero, None, length=horizon)[1][::-1]
