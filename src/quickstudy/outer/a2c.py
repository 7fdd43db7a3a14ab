"""Advantage actor-critic, with REINFORCE as its simplest case: one gradient step on trials that are seen once.

    π, v ← replay(agent, θ, trials)
    L = -A log π(a) + c_v (v - R)² / 2 - c_e H[π]
    θ ← Adam(θ, ∇L, clipped to a global norm)

REINFORCE is `gae_lambda=1` with the baseline "none": A is then the discounted sum of the rewards to come.

Source: Mnih et al. 2016 (arXiv 1602.01783), algorithm S3; Williams 1992 (REINFORCE); advantages by
`outer.advantages`.
Differs from the paper: all tasks act side by side and one step is taken on all of them; whole trials instead of
five steps; Adam instead of RMSProp; advantages are normalised, unless `normalise_advantages` is off.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import optax

from quickstudy.errors import require
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.advantages import Baseline, Batch, Contributor, Credit, Phases, judge, needs_critic
from quickstudy.outer.contributions import contributor
from quickstudy.outer.schedules import Schedule, decayed, moved
from quickstudy.rollout import replay
from quickstudy.types import Array, Key, PyTree, Trials


class A2CState(NamedTuple):
    meta_params: PyTree
    optimizer: PyTree


@dataclasses.dataclass(frozen=True)
class A2C:
    """Advantage actor-critic: one policy-gradient step on whole trials; REINFORCE by its settings."""

    learning_rate: float = 1e-3
    schedule: Schedule = "linear"
    """How the learning rate falls over the training, to `final_learning_rate`."""
    final_learning_rate: float = 0.0
    baseline: Baseline = "critic"
    """What an advantage is measured from: the agent's critic, a regression in each task, or nothing."""
    discount: float = 0.99
    gae_lambda: float = 0.95
    credit: Credit = "trial"
    """How far the advantage looks: to the end of the trial, or of the episode. In a trial with adaptations
    'trial' pays an action for what is learned from it, too: E-MAML."""
    credit_by_stream: bool = False
    """Pay each stream for its own part in what is learned, not for all that is; `outer.contributions`."""
    phases: Phases = "all"
    """Which phases of a trial enter the loss."""
    entropy_coefficient: float = 0.01
    final_entropy_coefficient: float | None = None
    """Where the entropy's coefficient falls to, linearly; None keeps it."""
    value_coefficient: float = 0.5
    """Of the critic's loss; without a critic there is none."""
    max_grad_norm: float = 0.5
    """The gradient's global norm is clipped to this."""
    normalise_advantages: bool = True
    """To mean 0 and deviation 1 over all that enters the loss: tasks, streams and steps together."""
    normalise_values: bool = False
    """The critic speaks in deviations from the mean return at each step of the trial: for long trials."""

    def __post_init__(self) -> None:
        require(
            self,
            learning_rate=(self.learning_rate > 0, "above 0"),
            final_learning_rate=(self.final_learning_rate >= 0, "0 or more"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            gae_lambda=(0 <= self.gae_lambda <= 1, "between 0 and 1"),
            credit_by_stream=(
                not self.credit_by_stream or self.credit == "trial",
                "False where credit is 'episode'",
            ),
            entropy_coefficient=(self.entropy_coefficient >= 0, "0 or more"),
            final_entropy_coefficient=(
                self.final_entropy_coefficient is None or self.final_entropy_coefficient >= 0,
                "0 or more, or None",
            ),
            value_coefficient=(self.value_coefficient >= 0, "0 or more"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> A2CState:
        needs_critic(agent, self.baseline)
        return A2CState(meta_params, clipped_adam(self.max_grad_norm).init(meta_params))

    def update(
        self, agent: Any, state: A2CState, trials: Trials, progress: Array, key: Key
    ) -> tuple[A2CState, dict[str, Array]]:
        asked = contributor(self.credit_by_stream, agent, state.meta_params, trials)
        batch = self.batch(trials, asked)
        grads, metrics = jax.grad(lambda params: self.loss(agent, params, batch, progress), has_aux=True)(
            state.meta_params
        )
        optimizer = clipped_adam(self.max_grad_norm)
        rate = decayed(self.schedule, self.learning_rate, self.final_learning_rate, progress)
        meta_params, optimizer = descend(optimizer, state.meta_params, state.optimizer, grads, rate)
        return A2CState(meta_params, optimizer), {**metrics, "grad_norm": optax.tree.norm(grads)}

    def batch(self, trials: Trials, contributed: Contributor | None = None) -> Batch:
        """Advantages and value targets, from what was known when the trials were lived."""
        return judge(
            trials,
            phases=self.phases,
            credit=self.credit,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            normalise=self.normalise_advantages,
            normalise_values=self.normalise_values,
            baseline=self.baseline,
            contributed=contributed,
        )

    def loss(
        self, agent: Any, meta_params: PyTree, batch: Batch, progress: Array | float
    ) -> tuple[Array, dict[str, Array]]:
        """-> (loss, metrics)"""
        output = batch.counted(replay(agent, meta_params, batch.trials))
        policy_loss = -batch.mean(output.policy.log_prob(batch.recorded.action) * batch.advantage)
        entropy = batch.mean(output.policy.entropy())
        loss = policy_loss - moved(self.entropy_coefficient, self.final_entropy_coefficient, progress) * entropy
        metrics = {"policy_loss": policy_loss, "entropy": entropy}
        if self.baseline == "critic":
            value_loss = 0.5 * batch.mean((output.value - batch.value_target) ** 2)
            loss = loss + self.value_coefficient * value_loss
            metrics["value_loss"] = value_loss
        return loss, {"loss": loss, **metrics}
