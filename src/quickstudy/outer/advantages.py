"""How much better than expected each recorded step turned out: what a policy gradient weighs actions by.

    A_t = Σ_l (γλ)^l δ_{t+l},   δ_t = r_t + γ v_{t+1} - v_t,   target_t = A_t + v_t

`phases` says which phases of a trial count, `credit` how far the sum reaches, `baseline` whose v it is:

    critic    what the agent said when the trials were lived
    linear    a regression on each task's and phase's own returns, `maths.baselines`
    none      0

With `normalise_values` a critic speaks in units of its trials: u_t of v_t = m_t + s_t u_t, where m_t and s_t
are mean and deviation of the returns from step t on, over all tasks and streams. In a long trial returns differ
most by how much of it is left; what is left for the critic to tell is how this task and this history differ.

Only a critic knows what lies behind a cut. The other two take an episode for over there, as the returns
that the regression is fitted to do.

Source: Schulman et al. 2016 (arXiv 1506.02438), equation 16.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.errors import wrong
from quickstudy.maths.baselines import features, linear_values
from quickstudy.maths.returns import generalised_advantages
from quickstudy.types import Array, Transition, Trials

Phases = Literal["all", "last"]
Credit = Literal["trial", "episode"]
Baseline = Literal["critic", "linear", "none"]

# An outer loop does not see how many values a discrete observation has: those from here on share the intercept.
NUM_VALUES = 64

# Of returns that are all alike; smaller than any reward that is worth learning from.
LEAST_DEVIATION = 1e-3


class Batch(NamedTuple):
    """Trials, with what is known of their steps before anything is learned from them, [N, K+1, S, T]."""

    trials: Trials
    weight: Array
    """1 for each step that counts, else 0."""
    advantage: Array
    value_target: Array
    """In the critic's units."""

    def mean(self, x: Array) -> Array:
        """Over the steps that count."""
        return (x * self.weight).sum() / self.weight.sum()


def judge(
    trials: Trials,
    *,
    phases: Phases,
    credit: Credit,
    discount: float,
    gae_lambda: float,
    normalise: bool,
    baseline: Baseline = "critic",
    normalise_values: bool = False,
) -> Batch:
    """Weights, advantages and value targets of all steps.

    `normalise` brings the advantages to mean 0 and deviation 1 over the steps that count.
    Raises `InputError` for credit over a whole trial that has adaptations, and for values that are to be
    normalised in credit over less than a trial.
    """
    recorded = trials.phases
    if credit == "trial" and recorded.reward.shape[1] > 1:
        raise wrong("outer.credit", credit, "'episode' for a trial with adaptations")
    if normalise_values and credit != "trial":
        raise wrong("outer.normalise_values", True, f"False where outer.credit is {credit!r}")
    weight = _weights(recorded, phases)
    mean, deviation = 0.0, 1.0
    if baseline != "critic":
        recorded = _without_critic(recorded, baseline, credit, discount)
    elif normalise_values:
        mean, deviation = _return_statistics(recorded, credit, discount)
        recorded = recorded._replace(value=mean + deviation * recorded.value)
    advantage = _advantages(recorded, credit, discount, gae_lambda)
    value_target = (advantage + recorded.value - mean) / deviation
    if normalise:
        mean = jnp.mean(advantage, where=weight > 0)
        advantage = (advantage - mean) / (jnp.std(advantage, where=weight > 0) + 1e-8)
    return Batch(trials, weight, advantage, value_target)


def _weights(recorded: Transition, phases: Phases) -> Array:
    if phases == "all":
        return recorded.mask.astype(jnp.float32)
    last = jnp.arange(recorded.mask.shape[1]) == recorded.mask.shape[1] - 1
    return (recorded.mask & last[None, :, None, None]).astype(jnp.float32)


def _advantages(recorded: Transition, credit: Credit, discount: float, gae_lambda: float) -> Array:
    """Of every stream, [N, K+1, S, T]; 0 behind the last episode."""

    def of_stream(stream: Transition) -> Array:
        over = jnp.append(~stream.mask[1:], True)
        v_tp1 = jnp.where(over, 0.0, jnp.append(stream.value[1:], 0.0))
        ends = over
        if credit == "episode":
            ends = over | stream.terminated | stream.truncated
            v_tp1 = jnp.where(stream.terminated, 0.0, jnp.where(stream.truncated, stream.next_value, v_tp1))
        advantage = generalised_advantages(stream.reward, stream.value, v_tp1, ~ends, discount, gae_lambda)
        return advantage * stream.mask

    return jax.vmap(jax.vmap(jax.vmap(of_stream)))(recorded)


def _without_critic(recorded: Transition, baseline: Baseline, credit: Credit, discount: float) -> Transition:
    """The same steps with another's values; nothing is known of what lies behind a cut."""
    zeros = jnp.zeros_like(recorded.reward)
    recorded = recorded._replace(value=zeros, next_value=zeros)
    if baseline == "none":
        return recorded
    returns = _advantages(recorded, credit, discount, gae_lambda=1.0)
    x = features(recorded.timestep.observation, _times(recorded, credit), NUM_VALUES)
    return recorded._replace(value=jax.vmap(jax.vmap(linear_values))(x, returns, recorded.mask))


def _return_statistics(recorded: Transition, credit: Credit, discount: float) -> tuple[Array, Array]:
    """Mean and deviation of the returns from each step on, over tasks and streams, [1, K+1, 1, T] each."""
    zeros = jnp.zeros_like(recorded.reward)
    returns = _advantages(recorded._replace(value=zeros, next_value=zeros), credit, discount, gae_lambda=1.0)
    # Behind the last episode of all streams there is nothing to take a mean of.
    count = jnp.maximum(recorded.mask.sum(axis=(0, 2), keepdims=True), 1)
    mean = (returns * recorded.mask).sum(axis=(0, 2), keepdims=True) / count
    squares = ((returns - mean) ** 2 * recorded.mask).sum(axis=(0, 2), keepdims=True) / count
    return mean, jnp.maximum(jnp.sqrt(squares), LEAST_DEVIATION)


def _times(recorded: Transition, credit: Credit) -> Array:
    """Steps since credit's own beginning, the trial's or the episode's, [N, K+1, S, T]."""
    times = jnp.broadcast_to(jnp.arange(recorded.mask.shape[-1]), recorded.mask.shape)
    if credit == "trial":
        return times
    opened = jnp.where(recorded.timestep.first, times, 0)
    return times - jax.lax.cummax(opened, axis=opened.ndim - 1)
