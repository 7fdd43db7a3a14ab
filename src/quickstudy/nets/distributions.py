"""Distributions over actions; every method acts on any leading axes.

Categorical: logits [..., A], actions [...] of integers.
MultiCategorical: logits [..., A_1 + … + A_n] side by side, actions [..., n] of integers (independent).
Normal: mean and log_std [..., A] (independent dimensions), actions [..., A] of floats, unbounded:
a family with bounds clips what it is given.
TanhNormal: a Normal's u, squashed between bounds: a = centre + half range × tanh u, actions [..., A].
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

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


class MultiCategorical(eqx.Module):
    logits: Array
    sizes: tuple[int, ...] = eqx.field(static=True)
    """A_1 … A_n"""

    def sample(self, key: Key) -> Array:
        parts = self._parts()
        return jnp.stack(
            [p.sample(k) for p, k in zip(parts, jax.random.split(key, len(parts)), strict=True)], -1
        )

    def log_prob(self, action: Array) -> Array:
        return sum((p.log_prob(action[..., i]) for i, p in enumerate(self._parts())), jnp.zeros(()))

    def entropy(self) -> Array:
        return sum((p.entropy() for p in self._parts()), jnp.zeros(()))

    def kl(self, other: MultiCategorical) -> Array:
        pairs = zip(self._parts(), other._parts(), strict=True)
        return sum((p.kl(q) for p, q in pairs), jnp.zeros(()))

    def mode(self) -> Array:
        return jnp.stack([p.mode() for p in self._parts()], -1)

    def _parts(self) -> list[Categorical]:
        ends = np.cumsum(self.sizes)[:-1].tolist()
        return [Categorical(logits) for logits in jnp.split(self.logits, ends, axis=-1)]


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


# |u| up to here: beyond it, a float32 no longer tells u from tanh u to three digits.
SQUASH_LIMIT = 5.0
# Nodes of the quadrature of an entropy: exact to 1e-4 for deviations of u up to 1, to 1e-2 up to 4.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


class TanhNormal(eqx.Module):
    """Between bounds: u ~ N(mean, std), a = centre + half_range tanh u.

    log p(a) = log N(u) - log half_range - 2 (log 2 - u - softplus(-2u))

    after Haarnoja et al. 2018 (arXiv 1801.01290), appendix C, in a form that does not overflow.

    A sample's u is cut at ±`SQUASH_LIMIT`, and so is the u of an action on a bound or near it: every
    action of the box has a finite log_prob, that of the nearest action within the cut.
    """

    mean: Array
    """Of u, as is log_std."""
    log_std: Array
    centre: Array
    half_range: Array

    def sample(self, key: Key) -> Array:
        return self._squashed(self._normal().sample(key))

    def log_prob(self, action: Array) -> Array:
        limit = math.tanh(SQUASH_LIMIT)
        u = jnp.arctanh(jnp.clip((action - self.centre) / self.half_range, -limit, limit))
        return self._normal().log_prob(u) - self._log_slope(u).sum(-1)

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """An action that depends on mean and log_std smoothly, and its log_prob, by its u and without the cut:
        a gradient gets through wherever the mean has gone.
        """
        u = self._normal().sample(key)
        action = self.centre + self.half_range * jnp.tanh(u)
        return action, self._normal().log_prob(u) - self._log_slope(u).sum(-1)

    def entropy(self) -> Array:
        """That of u plus E[log da/du], which has no closed form: here by Gauss-Hermite quadrature in each
        dimension, deterministic, with its gradient. It knows nothing of the cut.
        """
        nodes, weights = (jnp.asarray(x, self.mean.dtype) for x in (_NODES, _WEIGHTS))
        u = self.mean[..., None] + jnp.exp(self.log_std)[..., None] * nodes
        slopes = jnp.moveaxis(self._log_slope(jnp.moveaxis(u, -1, 0)), 0, -1)
        return self._normal().entropy() + (slopes * weights).sum((-2, -1))

    def kl(self, other: TanhNormal) -> Array:
        """For equal bounds: a squashing that both share changes no divergence."""
        return self._normal().kl(other._normal())

    def mode(self) -> Array:
        """The squashed mean of u, which is the median; the density may be highest elsewhere."""
        return self._squashed(self.mean)

    def _normal(self) -> Normal:
        return Normal(self.mean, self.log_std)

    def _squashed(self, u: Array) -> Array:
        return self.centre + self.half_range * jnp.tanh(jnp.clip(u, -SQUASH_LIMIT, SQUASH_LIMIT))

    def _log_slope(self, u: Array) -> Array:
        """log da/du of each dimension; 1 - tanh² u itself would round to 0."""
        return jnp.log(self.half_range) + 2 * (math.log(2) - u - jax.nn.softplus(-2 * u))


def _weighted(weight: Array, value: Array) -> Array:
    """weight × value, 0 where the weight is 0 and the value infinite."""
    return jnp.where(weight > 0, weight * jnp.where(weight > 0, value, 0.0), 0.0)
