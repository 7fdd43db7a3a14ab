"""Generalised advantage estimation.

    δ_t = r_t + γ v_{t+1} - v_t;   A_t = δ_t + γ λ c_t A_{t+1}

Source: Schulman et al. 2016 (arXiv 1506.02438), equation 16.
"""

from __future__ import annotations

import jax

from quickstudy.types import Array


def generalised_advantages(
    r_t: Array, v_t: Array, v_tp1: Array, continues_t: Array, discount: float, gae_lambda: float
) -> Array:
    """Advantages of one stream, all arrays [T].

    `v_tp1` is the value after each step: of the next time step, of the observation behind a cut, or
    0 behind a real end. `continues_t` is 0 where credit does not reach over the end of step t.
    """
    delta_t = r_t + discount * v_tp1 - v_t

    def body(advantage: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        delta, continues = step
        advantage = delta + discount * gae_lambda * continues * advantage
        return advantage, advantage

    return jax.lax.scan(body, jax.numpy.zeros_like(delta_t[0]), (delta_t, continues_t), reverse=True)[1]
