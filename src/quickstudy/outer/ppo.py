"""Proximal policy optimisation over whole trials.

    repeat num_epochs times, for each minibatch of tasks:
        π, v ← replay(agent, θ, trials);   ρ = π(a) / π_old(a)
        L = -min(ρ A, clip(ρ, 1±ε) A) + c_v (v - R)² / 2 - c_e H[π]
        θ ← Adam(θ, ∇L, clipped to a global norm)

Because the loss is taken over `replay`, the gradient runs through whatever the agent did within its
task: through the memory of RL², through the inner steps of MAML.

Source: Schulman et al. 2017 (arXiv 1707.06347), equation 9; advantages by
`maths.returns.generalised_advantages`.
Differs from the paper: minibatches are of whole tasks, not of single steps; no clipping of the value.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.errors import require, wrong
from quickstudy.maths.returns import generalised_advantages
from quickstudy.rollout import replay
from quickstudy.types import Array, Key, PyTree, Transition, Trials


class PPOState(NamedTuple):
    meta_params: PyTree
    optimizer: PyTree


class Batch(NamedTuple):
    """A minibatch of tasks, with what the whole batch's critic said of them, [N, P, S, T]."""

    trials: Trials
    advantage: Array
    value_target: Array


@dataclasses.dataclass(frozen=True)
class PPO:
    """Proximal policy optimisation over whole trials; `phases` and `credit` say what counts and how far."""

    learning_rate: float = 1e-3
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How the learning rate falls over the training, to `final_learning_rate`."""
    final_learning_rate: float = 0.0
    num_epochs: int = 2
    num_minibatches: int = 4
    """Minibatches, of tasks, in one epoch."""
    clip: float = 0.2
    discount: float = 0.99
    gae_lambda: float = 0.95
    credit: Literal["trial", "episode"] = "trial"
    """How far the advantage looks: to the end of the trial, or of the episode. Only 'episode' for a trial with
    adaptations: credit over an adaptation is not defined here."""
    phases: Literal["all", "last"] = "all"
    """Which phases of a trial enter the loss."""
    entropy_coefficient: float = 0.01
    final_entropy_coefficient: float | None = None
    """Where the entropy's coefficient falls to, linearly; None keeps it."""
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5
    """The gradient's global norm is clipped to this."""
    normalise_advantages: bool = True
    """To mean 0 and deviation 1 over all that enters the loss: tasks, streams and steps together."""

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
        return PPOState(meta_params, self._optimizer().init(meta_params))

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
        if self.credit == "trial" and trials.phases.reward.shape[1] > 1:
            raise wrong("outer.credit", self.credit, "'episode' for a trial with adaptations")
        advantage = jax.vmap(jax.vmap(jax.vmap(self._advantages)))(trials.phases)
        value_target = advantage + trials.phases.value
        if self.normalise_advantages:
            counts = self._weights(trials.phases) > 0
            mean = jnp.mean(advantage, where=counts)
            advantage = (advantage - mean) / (jnp.std(advantage, where=counts) + 1e-8)
        return Batch(trials, advantage, value_target)

    def loss(
        self, agent: Any, meta_params: PyTree, batch: Batch, progress: Array | float
    ) -> tuple[Array, dict[str, Array]]:
        """-> (loss, metrics) of one minibatch."""
        recorded = batch.trials.phases
        output = replay(agent, meta_params, batch.trials)
        weight = self._weights(recorded)

        def mean(x: Array) -> Array:
            return (x * weight).sum() / weight.sum()

        log_ratio = output.policy.log_prob(recorded.action) - recorded.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        policy_loss = -mean(jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))
        value_loss = 0.5 * mean((output.value - batch.value_target) ** 2)
        entropy = mean(output.policy.entropy())
        loss = policy_loss + self.value_coefficient * value_loss
        loss = loss - self._entropy_coefficient(progress) * entropy
        return loss, {
            "loss": loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": mean(ratio - 1 - log_ratio),
            "clipped": mean((jnp.abs(ratio - 1) > self.clip).astype(jnp.float32)),
        }

    def _minibatch(
        self, agent: Any, state: PPOState, batch: Batch, progress: Array
    ) -> tuple[PPOState, dict[str, Array]]:
        grads, metrics = jax.grad(lambda params: self.loss(agent, params, batch, progress), has_aux=True)(
            state.meta_params
        )
        updates, optimizer = self._optimizer().update(grads, state.optimizer)
        rate = self._learning_rate(progress)
        meta_params = jax.tree.map(lambda p, u: p - rate * u, state.meta_params, updates)
        return PPOState(meta_params, optimizer), {**metrics, "grad_norm": optax.tree.norm(grads)}

    def _optimizer(self) -> optax.GradientTransformation:
        return optax.chain(optax.clip_by_global_norm(self.max_grad_norm), optax.scale_by_adam(eps=1e-5))

    def _learning_rate(self, progress: Array) -> Array:
        left = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + jnp.cos(jnp.pi * progress)) / 2}
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * left[self.schedule]

    def _entropy_coefficient(self, progress: Array | float) -> Array | float:
        start, end = self.entropy_coefficient, self.final_entropy_coefficient
        return start if end is None else start + (end - start) * progress

    def _advantages(self, stream: Transition) -> Array:
        """Of one stream of one phase, [T]; 0 behind the trial's last episode."""
        over = jnp.append(~stream.mask[1:], True)
        v_tp1 = jnp.where(over, 0.0, jnp.append(stream.value[1:], 0.0))
        ends = over
        if self.credit == "episode":
            ends = over | stream.terminated | stream.truncated
            v_tp1 = jnp.where(stream.terminated, 0.0, jnp.where(stream.truncated, stream.next_value, v_tp1))
        advantage = generalised_advantages(
            stream.reward, stream.value, v_tp1, ~ends, self.discount, self.gae_lambda
        )
        return advantage * stream.mask

    def _weights(self, recorded: Transition) -> Array:
        """1 for each step that counts, else 0: [N, P, S, T]."""
        if self.phases == "all":
            return recorded.mask.astype(jnp.float32)
        last = jnp.arange(recorded.mask.shape[1]) == recorded.mask.shape[1] - 1
        return (recorded.mask & last[None, :, None, None]).astype(jnp.float32)
