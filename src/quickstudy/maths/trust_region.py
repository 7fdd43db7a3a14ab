"""A natural-gradient step to the edge of a trust region, and the search back from there.

    s = (F + damping)⁻¹ g   by conjugate gradients, from products with F alone
    s ← s sqrt(2 radius / sᵀ(F + damping)s)
    θ ← θ + βⁱ s,   i the first of 0, 1, ... at which the gain is above 0 and the divergence within the radius

Source: Schulman et al. 2015 (arXiv 1502.05477), appendix C.
Differs from the paper: as in its code, damping keeps F from being singular, and the step is measured with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.types import Array, PyTree

# Of the residual: finer than that float32 does not tell.
TOLERANCE = 1e-6


class Search(NamedTuple):
    """Where a line search ended."""

    params: PyTree
    """The old ones if nothing was accepted."""
    accepted: Array
    """bool"""
    fraction: Array
    """Of the step that was taken; 0 if nothing was accepted."""
    gain: Array
    """Of the objective; 0 if nothing was accepted."""
    divergence: Array
    """From the old parameters; 0 if nothing was accepted."""


class _Solving(NamedTuple):
    """What conjugate gradients carry from one iteration to the next."""

    i: Array
    x: PyTree
    residual: PyTree
    along: PyTree


def natural_step(
    product: Callable[[PyTree], PyTree], gradient: PyTree, radius: float, num_iterations: int, damping: float
) -> PyTree:
    """The step along the natural gradient on which the quadratic model of the divergence is `radius`.

    `product(v)` is F v, the second derivative of the divergence. A gradient of 0 gives a step of 0.
    """

    def damped(v: PyTree) -> PyTree:
        return optax.tree.add_scale(product(v), damping, v)

    direction, residual = conjugate_gradients(damped, gradient, num_iterations)
    # sᵀ A s, where A s is what the residual leaves of the gradient.
    squared = jnp.asarray(optax.tree.vdot(direction, optax.tree.sub(gradient, residual)))
    # A direction without length stays as it is.
    scale = jnp.sqrt(2 * radius / jnp.where(squared > 0, squared, 1.0))
    return optax.tree.scale(scale, direction)


def conjugate_gradients(
    product: Callable[[PyTree], PyTree], b: PyTree, num_iterations: int
) -> tuple[PyTree, PyTree]:
    """x with `product(x)` = b for a positive definite product, and the residual b - `product(x)`.

    It stops early once the residual is `TOLERANCE` times b. `jax.scipy` has the same, but takes a product more,
    and compiles it more often: a third of the time that an update with an adaptation takes to compile.
    """

    def square(x: PyTree) -> Array:
        return jnp.asarray(optax.tree.vdot(x, x))

    def iterate(state: _Solving) -> _Solving:
        i, x, residual, along = state
        curved = product(along)
        rate = square(residual) / optax.tree.vdot(along, curved)
        x, new = optax.tree.add_scale(x, rate, along), optax.tree.add_scale(residual, -rate, curved)
        return _Solving(i + 1, x, new, optax.tree.add_scale(new, square(new) / square(residual), along))

    def goes_on(state: _Solving) -> Array:
        return (state.i < num_iterations) & (square(state.residual) > TOLERANCE**2 * square(b))

    start = _Solving(jnp.zeros((), jnp.int32), optax.tree.zeros_like(b), b, b)
    end = jax.lax.while_loop(goes_on, iterate, start)
    return end.x, end.residual


def line_search(
    measure: Callable[[PyTree], tuple[Array, Array]],
    params: PyTree,
    step: PyTree,
    radius: float,
    num_backtracks: int,
    backtrack: float,
) -> Search:
    """The first of the steps `backtrack`ⁱ × `step` that gains something within the radius.

    `measure(params)` is (the objective's gain, the divergence), both 0 at the old parameters.
    """

    def at(i: Array) -> PyTree:
        return optax.tree.add_scale(params, backtrack**i, step)

    def fits(gain: Array, divergence: Array) -> Array:
        return (gain > 0) & (divergence <= radius)

    def shorter(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i = state[0] + 1
        return i, *measure(at(i))

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        i, gain, divergence = state
        return ~fits(gain, divergence) & (i < num_backtracks)

    # Before the first of them nothing is gained.
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure, params))
    i, gain, divergence = jax.lax.while_loop(goes_on, shorter, (jnp.full((), -1), *nothing))
    accepted = fits(gain, divergence)
    chosen = jax.tree.map(lambda new, old: jnp.where(accepted, new, old), at(i), params)
    told = (jnp.where(accepted, x, 0.0) for x in (backtrack**i, gain, divergence))
    return Search(chosen, accepted, *told)
