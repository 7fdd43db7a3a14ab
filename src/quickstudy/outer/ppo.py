"""Proximal policy optimisation over whole trials.

    repeat num_epochs times, for each minibatch of tasks:
        π, v ← replay(agent, θ, trials);   ρ = π(a) / π_old(a)
        L = -min(ρ A, clip(ρ, 1±ε) A) + c_v (v - R)² / 2 - c_e H[π]
        θ ← Adam(θ, ∇L, clipped to a global norm)

Because the loss is taken over `replay`, the gradient runs through whatever the agent did within its
task: through the memory of RL², through the inner steps of MAML.

Source: Schulman et al. 2017 (arXiv 1707.06347), equation 9; advantages by `outer.advantages`.
Differs from the paper: minibatches are of whole tasks, not of single steps; no clipping of the value.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.errors import require, wrong
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.advantages import Batch, Credit, Phases, judge
from quickstudy.outer.schedules import Schedule, decayed, moved
from quickstudy.rollout import replay
from quickstudy.types import Array, Key, PyTree, Trials


class PPOState(NamedTuple):
    meta_params: PyTree
    optimizer: PyTree


@dataclasses.dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation over whole trials; `phases` and `credit` say what counts and how far."""

    learning_rate: float = 1e-3
    schedule: Schedule = "linear"
    """How the learning rate falls over the training, to `final_learning_rate`."""
    final_learning_rate: float = 0.0
    num_epochs: int = 2
    num_minibatches: int = 4
    """Minibatches, of tasks, in one epoch."""
    clip: float = 0.2
    discount: float = 0.99
    gae_lambda: float = 0.95
    credit: Credit = "trial"
    """How far the advantage looks: to the end of the trial, or of the episode. Only 'episode' for a trial with
    adaptations: credit over an adaptation is not defined here."""
    phases: Phases = "all"
    """Which phases of a trial enter the loss."""
    entropy_coefficient: float = 0.01
    final_entropy_coefficient: float | None = None
    """Where the entropy's coefficient falls to, linearly; None keeps it."""
    value_coefficient: float = 0.5
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
            num_epochs=(1 <= self.num_epochs <= 10_000, "between 1 and 10,000"),
            num_minibatches=(1 <= self.num_minibatches <= 10_000, "between 1 and 10,000"),
            clip=(self.clip > 0, "above 0"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            gae_lambda=(0 <= self.gae_lambda <= 1, "between 0 and 1"),
            entropy_coefficient=(self.entropy_coefficient >= 0, "0 or more"),
            final_entropy_coefficient=(
                self.final_entropy_coefficient is None or self.final_entropy_coefficient >= 0,
                "0 or more, or None",
            ),
            value_coefficient=(self.value_coefficient >= 0, "0 or more"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> PPOState:
        return PPOState(meta_params, clipped_adam(self.max_grad_norm).init(meta_params))

    def update(
        self, agent: Any, state: PPOState, trials: Trials, progress: Array, key: Key
    ) -> tuple[PPOState, dict[str, Array]]:
        batch = self.batch(trials)
        num_tasks = batch.advantage.shape[0]
        size = num_tasks // self.num_minibatches
        if size * self.num_minibatches != num_tasks:
            raise wrong("num_tasks", num_tasks, f"a multiple of outer.num_minibatches, {self.num_minibatches}")

        def minibatch(state: PPOState, rows: Array) -> tuple[PPOState, dict[str, Array]]:
            return self._minibatch(agent, state, jax.tree.map(lambda x: x[rows], batch), progress)

        orders = jax.vmap(lambda key: jax.random.permutation(key, num_tasks))(
            jax.random.split(key, self.num_epochs)
        )
        rows = orders.reshape(self.num_epochs * self.num_minibatches, size)
        state, metrics = jax.lax.scan(minibatch, state, rows)
        return state, jax.tree.map(jnp.mean, metrics)

    def batch(self, trials: Trials) -> Batch:
        """Advantages and value targets, by what the agent's critic said when the trials were lived."""
        return judge(
            trials,
            phases=self.phases,
            credit=self.credit,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
            normalise=self.normalise_advantages,
            normalise_values=self.normalise_values,
        )

    def loss(
        self, agent: Any, meta_params: PyTree, batch: Batch, progress: Array | float
    ) -> tuple[Array, dict[str, Array]]:
        """-> (loss, metrics) of one minibatch."""
        recorded = batch.trials.phases
        output = replay(agent, meta_params, batch.trials)
        log_ratio = output.policy.log_prob(recorded.action) - recorded.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        policy_loss = -batch.mean(jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))
        value_loss = 0.5 * batch.mean((output.value - batch.value_target) ** 2)
        entropy = batch.mean(output.policy.entropy())
        loss = policy_loss + self.value_coefficient * value_loss
        loss = loss - moved(self.entropy_coefficient, self.final_entropy_coefficient, progress) * entropy
        return loss, {
            "loss": loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": batch.mean(ratio - 1 - log_ratio),
            "clipped": batch.mean((jnp.abs(ratio - 1) > self.clip).astype(jnp.float32)),
        }

    def _minibatch(
        self, agent: Any, state: PPOState, batch: Batch, progress: Array
    ) -> tuple[PPOState, dict[str, Array]]:
        grads, metrics = jax.grad(lambda params: self.loss(agent, params, batch, progress), has_aux=True)(
            state.meta_params
        )
        optimizer = clipped_adam(self.max_grad_norm)
        rate = decayed(self.schedule, self.learning_rate, self.final_learning_rate, progress)
        meta_params, optimizer = descend(optimizer, state.meta_params, state.optimizer, grads, rate)
        return PPOState(meta_params, optimizer), {**metrics, "grad_norm": optax.tree.norm(grads)}
