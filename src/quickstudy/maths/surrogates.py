"""Objectives whose gradient is the policy gradient, and which differ in what their second derivative is.

    reinforce   log π_t A_t                              its Hessian leaves out what else would be done
    lvc         (π_t / ⊥π_t) A_t                         adds ∇log π_t ∇log π_tᵀ A_t: each action's own part
    dice        Π_{l ≤ t} (π_l / ⊥π_l) γᵗ r_t            exact, of any order; a baseline adds no bias:
                + (1 - π_t / ⊥π_t) γᵗ b_t

⊥ is what no gradient runs through. All have the same value of the first derivative, but that γᵗ: `dice` is the
discounted return itself, of which t counts from the episode's beginning, where the others leave γᵗ out.

Source: Rothfuss et al. 2019 (ProMP, arXiv 1810.06784), section 4 (lvc); Foerster et al. 2018 (arXiv 1802.05098,
dice); its baseline by Mao et al. 2019 (arXiv 1906.06639) and Foerster et al., equation 6.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from quickstudy.types import Array

Estimator = Literal["reinforce", "lvc", "dice"]


def reinforce(log_prob: Array, advantage: Array) -> Array:
    """Of each step; any axes."""
    return log_prob * advantage


def lvc(log_prob: Array, advantage: Array) -> Array:
    """Of each step; any axes."""
    return _box(log_prob) * advantage


def dice(log_prob: Array, reward: Array, baseline: Array, first: Array, discount: float) -> Array:
    """Of each step of one stream, all [T]; `first` opens an episode."""
    steps = jnp.arange(len(reward))
    opened = jax.lax.cummax(jnp.where(first, steps, 0))
    total = jnp.cumsum(log_prob)
    within = total - (total - log_prob)[opened]
    weight = discount ** (steps - opened)
    return weight * (_box(within) * reward + (1 - _box(log_prob)) * baseline)


def _box(log_prob: Array) -> Array:
    """1, with the derivative of the probability's logarithm."""
    return jnp.exp(log_prob - jax.lax.stop_gradient(log_prob))
