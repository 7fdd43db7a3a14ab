"""PPO within one task: the critic's advantages, a few epochs over shuffled minibatches, a clipped ratio.

    for each epoch, for each minibatch of steps:
        L = -mean min(ρ A, clip(ρ, 1 ± ε) A) + c_v mean (v - R)² / 2 - c_e H,   ρ = π(a | o) / π_old(a | o)
        θ ← Adam(θ, ∇L)

Source: Schulman et al. 2017 (arXiv 1707.06347), algorithm 1.
Differs from the paper: policy and critic share nothing; advantages are normalised in each minibatch.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from quickstudy.agents.policy_gradient import Learner, PolicyGradient, Steps
from quickstudy.errors import require, wrong
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key


@dataclasses.dataclass(frozen=True)
class PPO(PolicyGradient):
    """Proximal policy optimisation from scratch in each task (Schulman et al. 2017)."""

    num_epochs: int = 10
    num_minibatches: int = 4
    """Of steps, in one epoch."""
    clip: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            num_epochs=(1 <= self.num_epochs <= 10_000, "between 1 and 10,000"),
            num_minibatches=(1 <= self.num_minibatches <= 10_000, "between 1 and 10,000"),
            clip=(self.clip > 0, "above 0"),
        )

    def learn(self, meta_params: Any, learner: Learner, steps: Steps, progress: Array, key: Key) -> Learner:
        rows = minibatches(len(steps.mask), self.num_epochs, self.num_minibatches, key)

        def minibatch(learner: Learner, rows: Array) -> tuple[Learner, None]:
            some = jax.tree.map(lambda x: x[rows], steps)
            return self.descend(meta_params, learner, lambda network: self.loss(network, some), progress), None

        return jax.lax.scan(minibatch, learner, rows)[0]

    def loss(self, network: ActorCritic, steps: Steps) -> Array:
        return proximal_loss(self, network, steps, self.clip)


def minibatches(num_steps: int, num_epochs: int, num_minibatches: int, key: Key) -> Array:
    """Rows [num_epochs × num_minibatches, size] of each minibatch; every epoch has an order of its own.

    What does not fill a minibatch waits for the next epoch's order.
    """
    size = num_steps // num_minibatches
    if size == 0:
        raise wrong("agent.num_minibatches", num_minibatches, f"at most the {num_steps} steps of a phase")
    orders = jax.vmap(lambda key: jax.random.permutation(key, num_steps)[: size * num_minibatches])(
        jax.random.split(key, num_epochs)
    )
    return orders.reshape(-1, size)


def proximal_loss(agent: PolicyGradient, network: ActorCritic, steps: Steps, clip: float) -> Array:
    """L of a minibatch, with the coefficients of `agent`."""
    policy, value = jax.vmap(network)(steps.observation)
    ratio = jnp.exp(policy.log_prob(steps.action) - steps.log_prob)
    advantage = agent.centred(steps)
    gain = steps.mean(jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage))
    error = steps.mean((value - steps.target) ** 2)
    entropy = steps.mean(policy.entropy())
    return -gain + 0.5 * agent.value_coefficient * error - agent.entropy_coefficient * entropy
