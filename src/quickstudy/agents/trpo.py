"""TRPO within one task: a natural-gradient step of the policy to the edge of a trust region, then the critic.

    maximise mean ρ A with mean KL[π_old ‖ π] ≤ δ:  one step, searched backwards along the natural gradient
    critic: for each of a few epochs  w ← Adam(w, ∇ mean (v - R)² / 2)

Source: Schulman et al. 2015 (arXiv 1502.05477), appendix C; the critic of Schulman et al. 2016
(arXiv 1506.02438) by Adam.
Differs from the paper: the whole phase is one batch; damping as in `maths.trust_region`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.agents.policy_gradient import Learner, PolicyGradient, Steps
from quickstudy.errors import require
from quickstudy.maths.trust_region import line_search, natural_step
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.nets.partial import policy_weights
from quickstudy.types import Array, Key, PyTree


@dataclasses.dataclass(frozen=True)
class TRPO(PolicyGradient):
    """Trust region policy optimisation from scratch in each task (Schulman et al. 2015)."""

    learning_rate: float = 1e-3
    """Of the critic."""
    max_kl: float = 0.01
    """The mean divergence of the new policy from the old is at most this."""
    num_conjugate_steps: int = 10
    damping: float = 0.1
    """Added to the diagonal of the Fisher matrix."""
    num_backtracks: int = 10
    backtrack: float = 0.8
    num_epochs: int = 20
    """Of the critic, in whole phases."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            max_kl=(self.max_kl > 0, "above 0"),
            num_conjugate_steps=(1 <= self.num_conjugate_steps <= 10_000, "between 1 and 10,000"),
            damping=(self.damping >= 0, "0 or more"),
            num_backtracks=(0 <= self.num_backtracks <= 10_000, "between 0 and 10,000"),
            backtrack=(0 < self.backtrack < 1, "between 0 and 1, both excluded"),
            num_epochs=(1 <= self.num_epochs <= 10_000, "between 1 and 10,000"),
            entropy_coefficient=(self.entropy_coefficient == 0, "0: a trust region has no entropy bonus"),
        )

    def learn(self, meta_params: Any, learner: Learner, steps: Steps, progress: Array, key: Key) -> Learner:
        learner = learner._replace(weights=self._moved(learner.weights, steps))

        def epoch(learner: Learner, _: None) -> tuple[Learner, None]:
            def error(network: ActorCritic) -> Array:
                _, value = jax.vmap(network)(steps.observation)
                return 0.5 * steps.mean((value - steps.target) ** 2)

            return self.descend(meta_params, learner, error, progress), None

        return jax.lax.scan(epoch, learner, None, length=self.num_epochs)[0]

    def _moved(self, network: ActorCritic, steps: Steps) -> ActorCritic:
        """The network with its policy one step on."""
        advantage, policy_of = self.centred(steps), _policy_of(network, steps)
        start = policy_weights(network)
        old = policy_of(start)

        def gain(weights: PyTree) -> Array:
            ratio = jnp.exp(policy_of(weights).log_prob(steps.action) - steps.log_prob)
            return steps.mean((ratio - 1) * advantage)

        def divergence(weights: PyTree) -> Array:
            return steps.mean(old.kl(policy_of(weights)))

        def fisher(v: PyTree) -> PyTree:
            return jax.jvp(jax.grad(divergence), (start,), (v,))[1]

        step = natural_step(fisher, jax.grad(gain)(start), self.max_kl, self.num_conjugate_steps, self.damping)
        found = line_search(
            lambda weights: (gain(weights), divergence(weights)),
            start,
            step,
            self.max_kl,
            self.num_backtracks,
            self.backtrack,
        )
        return eqx.tree_at(policy_weights, network, found.params)


def _policy_of(network: ActorCritic, steps: Steps) -> Callable[[PyTree], Any]:
    def policy(weights: PyTree) -> Any:
        moved = eqx.tree_at(policy_weights, network, weights)
        return jax.vmap(moved)(steps.observation)[0]

    return policy
