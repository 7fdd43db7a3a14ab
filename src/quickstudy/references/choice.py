"""From scores to a policy: all arms or actions of the highest score are as likely, the others impossible."""

from __future__ import annotations

import jax.numpy as jnp

from quickstudy.nets.distributions import Categorical
from quickstudy.types import Array

NEVER = -1e9
"""The logit of an action that is not chosen; finite, so that no difference of two of them is a NaN."""


def best(scores: Array, tie: float, first_of_ties: bool = False) -> Array:
    """Probabilities [A]: uniform over the scores within `tie` of the highest, or all on the first of them."""
    tied = scores >= scores.max() - tie
    if first_of_ties:
        tied = jnp.arange(scores.shape[0]) == jnp.argmax(tied)
    return tied / tied.sum()


def mixed(probabilities: Array, epsilon: float) -> Array:
    """The same [A], but any action with probability `epsilon`."""
    return (1.0 - epsilon) * probabilities + epsilon / probabilities.shape[0]


def policy(probabilities: Array) -> Categorical:
    """Probabilities [A], some of them 0, as a distribution."""
    positive = probabilities > 0.0
    return Categorical(jnp.where(positive, jnp.log(jnp.where(positive, probabilities, 1.0)), NEVER))
