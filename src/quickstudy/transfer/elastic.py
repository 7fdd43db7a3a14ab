"""What holds a policy near the one that it began as, and how much each of its weights mattered to that one.

    l2     ½ Σ_i (θ_i - θ⁰_i)²
    ewc    ½ Σ_i F_i (θ_i - θ⁰_i)²,   F_i = mean (∂ log π⁰(a | o) / ∂θ_i)²,  a ~ π⁰
    kl     mean KL[π⁰(· | o) ‖ π(· | o)] over the observations at hand

Source: Kirkpatrick et al. 2017 (arXiv 1612.00796), equation 3; sampled actions, not those that were taken, as
in Kunstner et al. 2019 (arXiv 1905.12558); the divergence as in Schmitt et al. 2018 (arXiv 1803.03835).
"""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.nets.partial import Moved, change, policy_weights
from quickstudy.types import Array, Key, PyTree

Penalty = Literal["none", "l2", "ewc", "kl"]


def fisher(network: ActorCritic, observations: PyTree, key: Key) -> PyTree:
    """The diagonal of the policy's Fisher matrix, like `policy_weights`; observations [n, ...] as the network
    sees them, one action for each.
    """
    start = policy_weights(network)
    keys = jax.random.split(key, len(jax.tree.leaves(observations)[0]))

    def log_prob(weights: PyTree, observation: PyTree, key: Key) -> Array:
        policy, _ = eqx.tree_at(policy_weights, network, weights)(observation)
        return policy.log_prob(jax.lax.stop_gradient(policy.sample(key)))

    def add(total: PyTree, seen: tuple[PyTree, Key]) -> tuple[PyTree, None]:
        gradient = jax.grad(log_prob)(start, *seen)
        return jax.tree.map(lambda t, g: t + g**2, total, gradient), None

    total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, start), (observations, keys))
    return jax.tree.map(lambda x: x / len(keys), total)


def squared_change(start: ActorCritic, moved: Moved) -> Array:
    """l2 of what is `moved`; of an adapter its way out, which is 0 at the start."""
    total = _sum(jax.tree.map(jnp.square, change(start, moved)))
    return 0.5 * (total if moved.adapter is None else total + (moved.adapter.up**2).sum())


def weighted_change(start: ActorCritic, moved: Moved, importance: PyTree) -> Array:
    """ewc of what is `moved`, which has no adapter; `importance` is F, like `policy_weights`."""
    return 0.5 * _sum(jax.tree.map(lambda d, f: f * d**2, change(start, moved), importance))


def divergence(start: ActorCritic, network: ActorCritic, observations: PyTree) -> Array:
    """kl at each of the observations [n, ...], as the networks see them, [n]."""
    before, _ = jax.vmap(start)(observations)
    now, _ = jax.vmap(network)(observations)
    return before.kl(now)


def _sum(tree: PyTree) -> Array:
    return jax.tree.reduce(lambda total, x: total + x.sum(), tree, jnp.zeros(()))
