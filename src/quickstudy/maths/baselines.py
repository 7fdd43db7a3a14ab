"""The linear-feature baseline: a ridge regression of returns on simple features of observation and time.

    x_t = (o_t, o_t², t/100, (t/100)², (t/100)³, 1);   w = argmin Σ_t (x_t w - R_t)² + ridge |w|²;   v_t = x_t w

It is fitted to the very steps whose values it gives: S streams of T steps must be many times the features,
or it explains the returns away and leaves no advantage.

Source: Duan et al. 2016 (arXiv 1604.06778), the baseline of all batch methods; in meta-learning Finn et al.
2017 (arXiv 1703.03400), for each task and phase.
Differs from the paper: the regression is solved by an orthogonal decomposition, not by the normal equations,
whose condition is squared and beyond what float32 holds.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from quickstudy.types import Array, PyTree

# Both as in the paper's code. Larger observations are clipped, so that no outlier's square rules the fit.
MAX_OBSERVATION = 10.0
RIDGE = 1e-5


def features(observation: PyTree, time: Array, num_values: int) -> Array:
    """Observations [..., T, *shape] and times [..., T] -> x [..., T, F].

    Whole numbers (a `Discrete` space's, [..., T]) are one-hot up to `num_values`; all else counts as vectors.
    """
    t = time.astype(jnp.float32) / 100
    columns = [_columns(o, time.ndim, num_values) for o in jax.tree.leaves(observation)]
    return jnp.concatenate([*columns, jnp.stack([t, t**2, t**3, jnp.ones_like(t)], axis=-1)], axis=-1)


def linear_values(x: Array, returns: Array, mask: Array, ridge: float = RIDGE) -> Array:
    """Values [S, T] of one task by a fit to its own returns [S, T]; x [S, T, F].

    Steps whose `mask` is False are left out of the fit, and have the value 0.
    """
    rows, targets = x * mask[..., None], returns * mask
    return ridge_fit(rows.reshape(-1, x.shape[-1]), targets.reshape(-1), ridge).reshape(returns.shape)


def ridge_fit(x: Array, y: Array, ridge: float) -> Array:
    """x w for w = argmin |x w - y|² + ridge |w|²; x [M, F] and y [M] -> [M]."""
    # The penalty is F more rows, sqrt(ridge) I, whose target is 0. With Q R all these rows, x w = Q Qᵀ y.
    padded = jnp.concatenate([x, ridge**0.5 * jnp.eye(x.shape[-1], dtype=x.dtype)])
    q = orthonormal(padded)[: len(y)]
    return q @ (q.T @ y)


def orthonormal(x: Array) -> Array:
    """Columns of length 1 at right angles that span those of x [M, F], each its own and those before it.

    Gram and Schmidt's, with every projection taken twice, which is as exact as any other (Giraud et al. 2005).
    LAPACK's own decompositions are far slower on a batch of small matrices, and inside of a compiled loop XLA's
    calls of it have been seen to wait for each other for ever.
    """

    def column(j: Array, q: Array) -> Array:
        v = q[:, j]
        before = jnp.where(jnp.arange(q.shape[1]) < j, q, 0.0)
        for _ in range(2):
            v = v - before @ (v @ before)
        return q.at[:, j].set(v / jnp.sqrt(v @ v))

    return jax.lax.fori_loop(0, x.shape[1], column, x)


def _columns(observation: Array, num_axes: int, num_values: int) -> Array:
    if observation.ndim == num_axes and jnp.issubdtype(observation.dtype, jnp.integer):
        # A one-hot vector is its own square.
        return jax.nn.one_hot(observation, num_values)
    flat = observation.reshape(*observation.shape[:num_axes], -1).astype(jnp.float32)
    flat = jnp.clip(flat, -MAX_OBSERVATION, MAX_OBSERVATION)
    return jnp.concatenate([flat, flat**2], axis=-1)
