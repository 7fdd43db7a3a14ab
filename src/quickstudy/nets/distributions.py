"""Distributions over actions; every method acts on any leading axes.

Categorical: logits [..., A], actions [...] of integers.
Normal: mean and log_std [..., A] (independent dimensions), actions [..., A] of floats, unbounded:
a family with bounds clips what it is given.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.types import Array, Key


class Categorical(eqx.Module):
    logits: Array

    def sample(self, key: Key) -> Array:
        return jax.random.categorical(key, self.logits)

    def log_prob(self, action: Array) -> Array:
        log_probs = jax.nn.log_softmax(self.logits)
        # A sum over a one-hot mask: its gradient is dense arithmetic where a gather's is a scatter.
        chosen = jax.nn.one_hot(action, log_probs.shape[-1], dtype=bool)
        return jnp.where(chosen, log_probs, 0.0).sum(-1)

    def entropy(self) -> Array:
        log_probs = jax.nn.log_softmax(self.logits)
        return -_weighted(jnp.exp(log_probs), log_probs).sum(-1)

    def kl(self, other: Categorical) -> Array:
        ours, theirs = jax.nn.log_softmax(self.logits), jax.nn.log_softmax(other.logits)
        return _weighted(jnp.exp(ours), ours - theirs).sum(-1)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1)


class Normal(eqx.Module):
    mean: Array
    log_std: Array

    def sample(self, key: Key) -> Array:
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape, self.mean.dtype)

    def log_prob(self, action: Array) -> Array:
        z = (action - self.mean) * jnp.exp(-self.log_std)
        return -(0.5 * z**2 + self.log_std + 0.5 * math.log(2 * math.pi)).sum(-1)

    def entropy(self) -> Array:
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)

    def kl(self, other: Normal) -> Array:
        variance = jnp.exp(2 * (self.log_std - other.log_std))
        shift = (self.mean - other.mean) * jnp.exp(-other.log_std)
        return (other.log_std - self.log_std + 0.5 * (variance + shift**2 - 1)).sum(-1)

    def mode(self) -> Array:
        return self.mean


def _weighted(weight: Array, value: Array) -> Array:
    """weight × value, 0 where the weight is 0 and the value infinite."""
    return jnp.where(weight > 0, weight * jnp.where(weight > 0, value, 0.0), 0.0)
