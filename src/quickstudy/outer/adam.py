"""Adam on a gradient that is clipped to a global norm, at a rate that is given anew at every step.

    g ← g min(1, max_norm / |g|);   m, s ← moments of g;   θ ← θ - rate m̂ / (sqrt(ŝ) + ε)

Source: Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1.
"""

from __future__ import annotations

import jax
import optax

from quickstudy.types import Array, PyTree

# The habit of policy gradients, 1000 times Adam's own: a parameter with next to no gradient hardly moves.
EPSILON = 1e-5


def clipped_adam(max_grad_norm: float) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.scale_by_adam(eps=EPSILON))


def descend(
    optimizer: optax.GradientTransformation, meta_params: PyTree, state: PyTree, grads: PyTree, rate: Array
) -> tuple[PyTree, PyTree]:
    """One step against the gradient -> (meta_params, the optimizer's state)."""
    updates, state = optimizer.update(grads, state)
    return jax.tree.map(lambda p, u: p - rate * u, meta_params, updates), state
