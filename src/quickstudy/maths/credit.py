"""How much better than expected each recorded step of one stream turned out, and by whose expectation.

    A_t = Σ_l (γλ)^l δ_{t+l},   δ_t = r_t + γ v_{t+1} - v_t

`credit` says how far the sum reaches, `baseline` whose v it is:

    critic    what the agent said when the steps were lived
    linear    a regression on the task's and phase's own returns, `maths.baselines`
    none      0

Only a critic knows what lies behind a cut. The other two take an episode for over there, as the returns
that the regression is fitted to do.

Source: Schulman et al. 2016 (arXiv 1506.02438), equation 16.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from quickstudy.maths.baselines import features, linear_values
from quickstudy.maths.returns import generalised_advantages
from quickstudy.types import Array, Transition

Credit = Literal["trial", "episode"]
Baseline = Literal["critic", "linear", "none"]

# A stream does not tell how many values a discrete observation has: those from here on share the intercept.
NUM_VALUES = 64


def advantages(stream: Transition, credit: Credit, discount: float, gae_lambda: float) -> Array:
    """Of one stream, [T]; 0 behind the last episode."""
    over = jnp.append(~stream.mask[1:], True)
    v_tp1 = jnp.where(over, 0.0, jnp.append(stream.value[1:], 0.0))
    ends = over
    if credit == "episode":
        ends = over | stream.terminated | stream.truncated
        v_tp1 = jnp.where(stream.terminated, 0.0, jnp.where(stream.truncated, stream.next_value, v_tp1))
    advantage = generalised_advantages(stream.reward, stream.value, v_tp1, ~ends, discount, gae_lambda)
    return advantage * stream.mask


def with_values_of(baseline: Baseline, phase: Transition, credit: Credit, discount: float) -> Transition:
    """One phase [S, T] with the baseline's values; without a critic nothing is known of behind a cut."""
    if baseline == "critic":
        return phase
    zeros = jnp.zeros_like(phase.reward)
    phase = phase._replace(value=zeros, next_value=zeros)
    if baseline == "none":
        return phase
    returns = jax.vmap(lambda stream: advantages(stream, credit, discount, 1.0))(phase)
    x = features(phase.timestep.observation, times(phase, credit), NUM_VALUES)
    return phase._replace(value=linear_values(x, returns, phase.mask))


def times(recorded: Transition, credit: Credit) -> Array:
    """Steps since credit's own beginning, the phase's or the episode's, [..., T]."""
    steps = jnp.broadcast_to(jnp.arange(recorded.mask.shape[-1]), recorded.mask.shape)
    if credit == "trial":
        return steps
    opened = jnp.where(recorded.timestep.first, steps, 0)
    return steps - jax.lax.cummax(opened, axis=opened.ndim - 1)
