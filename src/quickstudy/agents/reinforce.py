"""REINFORCE within one task: one gradient of the policy for each phase, by what its episodes earned in the end.

    G_t = Σ_l γ^l r_{t+l} to the episode's end;   L = -mean (G - b) log π(a | o) - c_e H;   θ ← Adam(θ, ∇L)

b is the mean of G over the phase (`normalise_advantages`), or 0; there is no critic. The steps of an episode
that is not over when the phase ends count for nothing: nobody knows yet what they were worth.

Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist reinforcement
learning".
Differs from the paper: Adam; the baseline is the phase's mean.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from quickstudy.agents.policy_gradient import Learner, PolicyGradient, Steps
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key, Transition


@dataclasses.dataclass(frozen=True)
class REINFORCE(PolicyGradient):
    """REINFORCE from scratch in each task (Williams 1992): whole episodes, no critic."""

    learning_rate: float = 3e-3
    gae_lambda: float = 1.0

    def judge(self, meta_params: Any, learner: Learner, transitions: Transition) -> Steps:
        nothing = jnp.zeros_like(transitions.value)
        done = transitions.terminated | transitions.truncated
        is_over = jnp.flip(jax.lax.cummax(jnp.flip(done, 1).astype(jnp.int32), axis=1), 1) > 0
        # A time limit is the end: no critic says what would lie behind it.
        ended = transitions._replace(
            value=nothing,
            next_value=nothing,
            terminated=done,
            truncated=jnp.zeros_like(done),
            mask=transitions.mask & is_over,
        )
        return super().judge(meta_params, learner, ended)

    def learn(self, meta_params: Any, learner: Learner, steps: Steps, progress: Array, key: Key) -> Learner:
        return self.descend(meta_params, learner, lambda network: self.loss(network, steps), progress)

    def loss(self, network: ActorCritic, steps: Steps) -> Array:
        policy, _ = jax.vmap(network)(steps.observation)
        gain = steps.mean(policy.log_prob(steps.action) * self.centred(steps))
        return -gain - self.entropy_coefficient * steps.mean(policy.entropy())
