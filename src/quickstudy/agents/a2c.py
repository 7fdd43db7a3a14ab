"""A2C within one task: one gradient of policy and critic for each phase, the synchronous form of A3C.

    L = -mean A log π(a | o) + c_v mean (v - R)² / 2 - c_e H;   θ ← Adam(θ, ∇L)

Source: Mnih et al. 2016 (arXiv 1602.01783), algorithm S3, whose workers are the S streams here.
Differs from the paper: the streams wait for each other; Adam, not RMSProp; policy and critic share nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax

from quickstudy.agents.policy_gradient import Learner, PolicyGradient, Steps
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key


@dataclasses.dataclass(frozen=True)
class A2C(PolicyGradient):
    """Advantage actor-critic from scratch in each task (Mnih et al. 2016)."""

    learning_rate: float = 1e-3
    gae_lambda: float = 1.0

    def learn(self, meta_params: Any, learner: Learner, steps: Steps, progress: Array, key: Key) -> Learner:
        return self.descend(meta_params, learner, lambda network: self.loss(network, steps), progress)

    def loss(self, network: ActorCritic, steps: Steps) -> Array:
        policy, value = jax.vmap(network)(steps.observation)
        gain = steps.mean(policy.log_prob(steps.action) * self.centred(steps))
        error = steps.mean((value - steps.target) ** 2)
        entropy = steps.mean(policy.entropy())
        return -gain + 0.5 * self.value_coefficient * error - self.entropy_coefficient * entropy
