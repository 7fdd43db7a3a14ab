"""Proximal policy optimisation over whole trials.

    repeat num_epochs times, for each minibatch of tasks:
        π, v ← replay(agent, θ, trials);   ρ = π(a) / π_old(a)
        L = -min(ρ A, clip(ρ, 1±ε) A) + c_v (v - R)² / 2 - c_e H[π]
        θ ← Adam(θ, ∇L, clipped to a global norm)

Because the loss is taken over `replay`, the gradient runs through whatever the agent did within its
task: through the memory of RL², through the inner steps of MAML.

With `entropy_lead` κ the coefficient falls sooner at the trial's later steps, u of it away from its start:
c_e(p, u) = end + (start - end) max(0, 1 - p (1 + κ u)), p the share of the training that is done.

With `adaptation_kl_coefficient` η the loss has + η E[KL(π_old ‖ π)] over the phases before the last, so that
what is adapted from stays near what the trials were lived with: ProMP. With a target η doubles in an update
behind one whose divergence, as its last minibatch finds it, was more than 1.5 times the target, and is halved
behind one with less than the target / 1.5, down to a thousandth of where it began.

Source: Schulman et al. 2017 (arXiv 1707.06347), equation 9, and section 4 on the coefficient; Rothfuss et al.
2019 (ProMP, arXiv 1810.06784), algorithm 1; advantages by `outer.advantages`.
Differs from the papers: minibatches are of whole tasks, not of single steps; no clipping of the value.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.errors import require, wrong
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.advantages import Baseline, Batch, Contributor, Credit, Phases, judge, needs_critic
from quickstudy.outer.contributions import contributor
from quickstudy.outer.schedules import Schedule, decayed, moved
from quickstudy.rollout import replay
from quickstudy.types import Array, Key, PyTree, Trials

# Within this factor of its target a divergence leaves the coefficient as it is.
KL_TOLERANCE = 1.5
# Of the coefficient at the start: from any less it would not be back when a policy begins to run away.
LEAST_KL_COEFFICIENT = 1e-3


class PPOState(NamedTuple):
    meta_params: PyTree
    optimizer: PyTree
    kl_coefficient: Array
    """η"""


class Seen(NamedTuple):
    """What a minibatch is made of."""

    batch: Batch
    before: Any
    """The policy of every step before the update; None where nothing is compared with it."""


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
    entropy_lead: float = 0.0
    """How much sooner it falls at the trial's end than at its start: u of the trial on, 1 + entropy_lead u
    times as fast. What a first step is worth hangs on what is done later, so later steps are settled first,
    as in backward induction."""
    value_coefficient: float = 0.5
    """Of the critic's loss; without a critic there is none."""
    max_grad_norm: float = 0.5
    """The gradient's global norm is clipped to this."""
    adaptation_kl_coefficient: float = 0.0
    """Of the policy's divergence in the phases that are adapted from: ProMP; 5e-4 in the paper."""
    adaptation_kl_target: float | None = None
    """Of that divergence, by which its coefficient is moved from update to update; None keeps it."""
    normalise_advantages: bool = True
    """To mean 0 and deviation 1 over all that enters the loss: tasks, streams and steps together."""
    normalise_values: bool = False
    """The critic speaks in deviations from the mean return at each step of the trial: for long trials."""

    def __post_init__(self) -> None:
        targeted = self.adaptation_kl_target is not None
        require(
            self,
            learning_rate=(self.learning_rate > 0, "above 0"),
            final_learning_rate=(self.final_learning_rate >= 0, "0 or more"),
            num_epochs=(
                1 <= self.num_epochs <= 10_000
                and not (targeted and self.num_epochs * self.num_minibatches == 1),
                "between 1 and 10,000; more than 1 for an adaptation_kl_target, as a first minibatch finds no "
                "divergence",
            ),
            num_minibatches=(1 <= self.num_minibatches <= 10_000, "between 1 and 10,000"),
            clip=(self.clip > 0, "above 0"),
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
            entropy_lead=(
                self.entropy_lead == 0
                or (self.entropy_lead > 0 and self.final_entropy_coefficient is not None),
                "0, or above 0 and with a final_entropy_coefficient",
            ),
            value_coefficient=(self.value_coefficient >= 0, "0 or more"),
            adaptation_kl_coefficient=(self.adaptation_kl_coefficient >= 0, "0 or more"),
            adaptation_kl_target=(
                self.adaptation_kl_target is None
                or (self.adaptation_kl_target > 0 and self.adaptation_kl_coefficient > 0),
                "above 0 and with an adaptation_kl_coefficient above 0, or None",
            ),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> PPOState:
        needs_critic(agent, self.baseline)
        optimizer = clipped_adam(self.max_grad_norm).init(meta_params)
        return PPOState(meta_params, optimizer, jnp.float32(self.adaptation_kl_coefficient))

    def update(
        self, agent: Any, state: PPOState, trials: Trials, progress: Array, key: Key
    ) -> tuple[PPOState, dict[str, Array]]:
        asked = contributor(self.credit_by_stream, agent, state.meta_params, trials)
        batch = self.batch(trials, asked)
        num_tasks = batch.advantage.shape[0]
        size = num_tasks // self.num_minibatches
        if size * self.num_minibatches != num_tasks:
            raise wrong("num_tasks", num_tasks, f"a multiple of outer.num_minibatches, {self.num_minibatches}")

        compared = self.adaptation_kl_coefficient > 0
        seen = Seen(batch, replay(agent, state.meta_params, trials).policy if compared else None)

        def minibatch(state: PPOState, rows: Array) -> tuple[PPOState, dict[str, Array]]:
            return self._minibatch(agent, state, jax.tree.map(lambda x: x[rows], seen), progress)

        orders = jax.vmap(lambda key: jax.random.permutation(key, num_tasks))(
            jax.random.split(key, self.num_epochs)
        )
        rows = orders.reshape(self.num_epochs * self.num_minibatches, size)
        state, metrics = jax.lax.scan(minibatch, state, rows)
        if self.adaptation_kl_target is not None:
            # As the last minibatch finds it: after all steps of the update but its own.
            state = state._replace(kl_coefficient=self._moved(state, metrics["adaptation_kl"][-1]))
        return state, jax.tree.map(jnp.mean, metrics)

    def batch(self, trials: Trials, contributed: Contributor | None = None) -> Batch:
        """Advantages and value targets, by what the agent's critic said when the trials were lived."""
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
        """-> (loss, metrics) of one minibatch, without what is compared with the policy before."""
        loss, metrics, _ = self._loss(agent, meta_params, batch, progress)
        return loss, metrics

    def _loss(
        self, agent: Any, meta_params: PyTree, batch: Batch, progress: Array | float
    ) -> tuple[Array, dict[str, Array], Any]:
        """-> (loss, metrics, the policy of every step)"""
        recorded, whole = batch.recorded, replay(agent, meta_params, batch.trials)
        output = batch.counted(whole)
        log_ratio = output.policy.log_prob(recorded.action) - recorded.log_prob
        ratio = jnp.exp(log_ratio)
        clipped = jnp.clip(ratio, 1 - self.clip, 1 + self.clip)
        policy_loss = -batch.mean(jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))
        entropy = output.policy.entropy()
        loss = policy_loss - self._entropy_bonus(batch, entropy, progress)
        metrics = {
            "policy_loss": policy_loss,
            "entropy": batch.mean(entropy),
            "kl": batch.mean(ratio - 1 - log_ratio),
            "clipped": batch.mean((jnp.abs(ratio - 1) > self.clip).astype(jnp.float32)),
        }
        if self.baseline == "critic":
            value_loss = 0.5 * batch.mean((output.value - batch.value_target) ** 2)
            loss = loss + self.value_coefficient * value_loss
            metrics["value_loss"] = value_loss
        return loss, {"loss": loss, **metrics}, whole.policy

    def _entropy_bonus(self, batch: Batch, entropy: Array, progress: Array | float) -> Array:
        """The mean of entropies [N, C, S, T] times their coefficients."""
        start, end = self.entropy_coefficient, self.final_entropy_coefficient
        if not self.entropy_lead:
            return moved(start, end, progress) * batch.mean(entropy)
        _, num_phases, _, num_steps = batch.trials.phases.mask.shape
        steps = jnp.arange(num_phases * num_steps).reshape(num_phases, 1, num_steps)
        elapsed = steps[-entropy.shape[1] :] / (num_phases * num_steps)
        sooner = jnp.minimum(progress * (1 + self.entropy_lead * elapsed), 1.0)
        return batch.mean(moved(start, end, sooner) * entropy)

    def _minibatch(
        self, agent: Any, state: PPOState, seen: Seen, progress: Array
    ) -> tuple[PPOState, dict[str, Array]]:
        def objective(params: PyTree) -> tuple[Array, dict[str, Array]]:
            loss, metrics, policy = self._loss(agent, params, seen.batch, progress)
            if seen.before is None:
                return loss, metrics
            apart = _before_the_last(seen.before.kl(policy), seen.batch.trials.phases.mask)
            loss += state.kl_coefficient * apart
            told = {"adaptation_kl": apart, "adaptation_kl_coefficient": state.kl_coefficient}
            return loss, {**metrics, "loss": loss, **told}

        grads, metrics = jax.grad(objective, has_aux=True)(state.meta_params)
        optimizer = clipped_adam(self.max_grad_norm)
        rate = decayed(self.schedule, self.learning_rate, self.final_learning_rate, progress)
        meta_params, optimizer = descend(optimizer, state.meta_params, state.optimizer, grads, rate)
        state = PPOState(meta_params, optimizer, state.kl_coefficient)
        return state, {**metrics, "grad_norm": optax.tree.norm(grads)}

    def _moved(self, state: PPOState, apart: Array) -> Array:
        """η of the next update."""
        assert self.adaptation_kl_target is not None
        far = apart > KL_TOLERANCE * self.adaptation_kl_target
        near = apart < self.adaptation_kl_target / KL_TOLERANCE
        coefficient = state.kl_coefficient * jnp.where(far, 2.0, jnp.where(near, 0.5, 1.0))
        return jnp.maximum(coefficient, LEAST_KL_COEFFICIENT * self.adaptation_kl_coefficient)


def _before_the_last(x: Array, mask: Array) -> Array:
    """Mean over the steps of all phases but the last; 0 where there are none."""
    counts = mask.at[:, -1].set(False)
    return (x * counts).sum() / jnp.maximum(counts.sum(), 1)
