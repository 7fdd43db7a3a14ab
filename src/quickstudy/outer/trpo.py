"""Trust region policy optimisation over whole trials: the natural gradient, as far as the divergence allows.

    π, v ← replay(agent, θ, trials), and its derivative J at θ
    gain(θ')       = E[(ρ - 1) A]  - c_v E[(v' - R)² - (v - R)²] / 2σ²,   ρ = π'(a) / π(a)
    divergence(θ') = E[KL(π ‖ π')] + c_v E[(v' - v)²] / 2σ²
    g = ∇ gain,   F = Jᵀ (∂² divergence in π', v') J
    θ ← the step of `maths.trust_region` along F⁻¹ g, to a divergence of max_kl at most

Because π and v are of `replay`, both g and F reach through whatever the agent did within its task, as MAML asks
for. J is taken once, and serves all products with F in both directions. F says how long and in which direction
to step, and the search along the step measures on all data: so F may be taken over some of the streams
(`fisher_share`), which are replayed as if the trial had no others.

The critic is a second output of the same kind: what it says is the mean of a normal distribution of returns,
σ² its mean squared error on these trials. Then one natural step serves networks that share their layers, the
weight of a return does not depend on its scale, and the policy's own divergence is below max_kl too. Steps of
another optimizer on the critic would move a shared policy out of its trust region.

Source: Schulman et al. 2015 (arXiv 1502.05477), section 6 and appendix C, the share of the data in C.1; Wu et
al. 2017 (arXiv 1708.05144), section 3.1, on the critic's distribution; advantages by `outer.advantages`.
Differs from the paper: F is the exact Fisher matrix of the outputs between two products with J, in place of the
second derivative of the divergence in θ, which is the same at θ and costs a derivative more.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.errors import require
from quickstudy.maths.trust_region import line_search, natural_step
from quickstudy.outer.advantages import Baseline, Batch, Contributor, Credit, Phases, judge, needs_critic
from quickstudy.outer.contributions import contributor
from quickstudy.rollout import replay
from quickstudy.types import Array, Key, PyTree, Trials


class TRPOState(NamedTuple):
    meta_params: PyTree


class Says(NamedTuple):
    """What an agent says of every recorded step, without the extras."""

    policy: Any
    value: Array


@dataclasses.dataclass(frozen=True)
class TRPO:
    """Trust region policy optimisation over whole trials, as MAML was published with."""

    max_kl: float = 0.01
    """The mean divergence of the new policy from the old, the critic's included, is at most this."""
    num_conjugate_steps: int = 10
    fisher_share: float = 1.0
    """Share of the streams of each task that the Fisher matrix is taken over."""
    damping: float = 1e-2
    """Added to the diagonal of the Fisher matrix."""
    num_backtracks: int = 15
    """How often a step that gains nothing, or goes too far, is shortened before it is given up."""
    backtrack: float = 0.8
    """By how much; about half of all full steps end just outside of the trust region."""
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
    """Which phases of a trial enter objective and divergence."""
    value_coefficient: float = 1.0
    """The critic's weight beside the policy, in objective and divergence; without a critic there is none."""
    normalise_advantages: bool = True
    """To mean 0 and deviation 1 over all that counts: tasks, streams and steps together."""
    normalise_values: bool = False
    """The critic speaks in deviations from the mean return at each step of the trial: for long trials."""

    def __post_init__(self) -> None:
        require(
            self,
            max_kl=(self.max_kl > 0, "above 0"),
            num_conjugate_steps=(1 <= self.num_conjugate_steps <= 10_000, "between 1 and 10,000"),
            fisher_share=(0 < self.fisher_share <= 1, "above 0, at most 1"),
            damping=(self.damping >= 0, "0 or more"),
            num_backtracks=(0 <= self.num_backtracks <= 10_000, "between 0 and 10,000"),
            backtrack=(0 < self.backtrack < 1, "between 0 and 1, both excluded"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            gae_lambda=(0 <= self.gae_lambda <= 1, "between 0 and 1"),
            credit_by_stream=(
                not self.credit_by_stream or self.credit == "trial",
                "False where credit is 'episode'",
            ),
            value_coefficient=(self.value_coefficient > 0, "above 0"),
        )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> TRPOState:
        needs_critic(agent, self.baseline)
        return TRPOState(meta_params)

    def update(
        self, agent: Any, state: TRPOState, trials: Trials, progress: Array, key: Key
    ) -> tuple[TRPOState, dict[str, Array]]:
        asked = contributor(self.credit_by_stream, agent, state.meta_params, trials)
        batch = self.batch(trials, asked)
        num_streams = trials.phases.reward.shape[2]
        some = batch.first_streams(max(1, round(self.fisher_share * num_streams)))

        def says(meta_params: PyTree, batch: Batch) -> Says:
            output = batch.counted(replay(agent, meta_params, batch.trials))
            return Says(output.policy, output.value)

        said, forward = jax.linearize(lambda params: says(params, some), state.meta_params)
        backward = jax.linear_transpose(forward, state.meta_params)
        if some is batch:
            old, slope = said, backward
        else:
            old, slope = jax.vjp(lambda params: says(params, batch), state.meta_params)
        (gradient,) = slope(jax.grad(lambda new: self._gain(batch, new, old))(old))

        def fisher(v: PyTree) -> PyTree:
            steepness = jax.grad(lambda new: self._divergence(some, new, said))
            return backward(jax.jvp(steepness, (said,), (forward(v),))[1])[0]

        def measure(meta_params: PyTree) -> tuple[Array, Array]:
            new = says(meta_params, batch)
            return self._gain(batch, new, old), self._divergence(batch, new, old)

        step = natural_step(fisher, gradient, self.max_kl, self.num_conjugate_steps, self.damping)
        found = line_search(measure, state.meta_params, step, self.max_kl, self.num_backtracks, self.backtrack)
        return TRPOState(found.params), {
            "gain": found.gain,
            "kl": found.divergence,
            "accepted": found.accepted.astype(jnp.float32),
            "step_fraction": found.fraction,
            "entropy": batch.mean(old.policy.entropy()),
            "grad_norm": optax.tree.norm(gradient),
            **({"value_loss": 0.5 * self._error(batch, old)} if self.baseline == "critic" else {}),
        }

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

    def _gain(self, batch: Batch, new: Says, old: Says) -> Array:
        action = batch.recorded.action
        ratio = jnp.exp(new.policy.log_prob(action) - old.policy.log_prob(action))
        gain = batch.mean((ratio - 1) * batch.advantage)
        if self.baseline == "critic":
            gain -= self._precision(batch, old) * (self._error(batch, new) - self._error(batch, old))
        return gain

    def _divergence(self, batch: Batch, new: Says, old: Says) -> Array:
        divergence = batch.mean(old.policy.kl(new.policy))
        if self.baseline == "critic":
            divergence += self._precision(batch, old) * batch.mean((new.value - old.value) ** 2)
        return divergence

    def _precision(self, batch: Batch, old: Says) -> Array:
        """c_v / 2σ²; the floor is for a critic that errs in nothing."""
        return 0.5 * self.value_coefficient / jnp.maximum(self._error(batch, old), 1e-8)

    def _error(self, batch: Batch, said: Says) -> Array:
        return batch.mean((said.value - batch.value_target) ** 2)
