"""Reptile's learner: several plain gradient steps on one phase, and no derivative of them.

    φ_0 = θ;   in each adaptation, num_inner_steps times:  φ ← φ - α ∇L(φ)
    J = min(ρ A, clip(ρ, 1±ε) A),   ρ = π_φ(a) / π(a) when it was lived

Only the first step is taken where the data was lived, hence the ratio. Its outer loop is `reptile`, which goes
where the steps went: θ ← θ + ε mean(φ - θ). To an outer loop that follows gradients it is a first-order MAML of
several steps; with `first_order` off these are differentiated, but for the jumps of a ratio that is cut.

Source: Nichol et al. 2018 (arXiv 1803.02999), algorithms 1 and 2; J of Schulman et al. 2017 (arXiv 1707.06347),
equation 7.
Differs from the paper: it is of supervised learning, where each inner step has data of its own and is Adam's
without momentum; here a phase serves all steps of its adaptation, and they are plain ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from quickstudy.agents.inner_loop import InnerLoop, Judged, TaskParams
from quickstudy.errors import require
from quickstudy.maths.surrogates import Estimator
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key, PyTree, Transition, TrialShape


@dataclasses.dataclass(frozen=True)
class Reptile(InnerLoop):
    """Reptile (Nichol et al. 2018): meta-learned weights, from which several plain gradient steps are taken."""

    estimator: Estimator = "lvc"
    """lvc alone, whose ratio is here to the policy that lived the phase."""
    first_order: bool = True
    num_inner_steps: int = 5
    """Gradient steps of one adaptation."""
    clip: float = 0.2
    """A ratio gains nothing by being further from 1 than this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            first_deviation=(self.first_deviation is None, "None: weights go where a task's have gone"),
            estimator=(self.estimator == "lvc", "lvc, whose ratio goes on where others end"),
            num_inner_steps=(1 <= self.num_inner_steps <= 10_000, "between 1 and 10,000"),
            clip=(self.clip > 0, "above 0"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> ActorCritic:
        return self.network(env, trial, key)

    def start(self, meta_params: ActorCritic) -> ActorCritic:
        return meta_params

    def says(self, meta_params: ActorCritic, adapted: ActorCritic, observation: PyTree) -> tuple[Any, Array]:
        return adapted(observation)

    def adapt(
        self, meta_params: ActorCritic, task_params: TaskParams, transitions: Transition, key: Key
    ) -> TaskParams:
        judged, num_adapts = self.judge(transitions), task_params.num_adapts
        rate = self.rate(num_adapts)

        def learn(adapted: ActorCritic, _: None) -> tuple[ActorCritic, None]:
            gradient = self.gradient(meta_params, adapted, judged, num_adapts)
            return self.move(meta_params, adapted, gradient, rate), None

        adapted, _ = jax.lax.scan(self._kept(learn), task_params.adapted, length=self.num_inner_steps)
        return TaskParams(adapted, num_adapts + 1)

    def _surrogate(self, log_prob: Array, judged: Judged) -> Array:
        return clipped_ratio(log_prob, judged.phase.log_prob, judged.advantage, self.clip)


def clipped_ratio(log_prob: Array, log_prob_then: Array, advantage: Array, clip: float) -> Array:
    """J of each step; any axes. `log_prob_then` is that of the policy that chose the actions."""
    ratio = jnp.exp(log_prob - log_prob_then)
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
