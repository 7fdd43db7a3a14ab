"""MAML: weights from which one gradient step goes far.

    φ_0 = θ;   φ_{k+1} = φ_k - α ∇L(φ_k), L the policy gradient's loss on S episodes by π_φk

What is meta-learned is θ, by an outer loop that asks how well π_φK does: the gradient runs through the steps,
and so through the second derivatives of L. `first_order` leaves those out. With an outer loop that credits the
first phases for what is learned from them (`--outer.credit trial`) this is E-MAML, with `--outer ppo`, the
estimator lvc and a penalty on their change ProMP, with `--outer evolution` ES-MAML, with `--outer reptile`
Reptile.

Source: Finn et al. 2017 (arXiv 1703.03400), algorithms 1 and 3; estimators by `maths.surrogates`.
Differs from the paper: none known of the algorithm; the settings of an experiment are its preset's.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key, PyTree, TrialShape


@dataclasses.dataclass(frozen=True)
class MAML(InnerLoop):
    """MAML (Finn et al. 2017): meta-learned weights, all of which a task's gradient steps move."""

    def init(self, env: Any, trial: TrialShape, key: Key) -> ActorCritic:
        return self.network(env, trial, key)

    def start(self, meta_params: ActorCritic) -> ActorCritic:
        return meta_params.without_ratios()

    def says(self, meta_params: ActorCritic, adapted: ActorCritic, observation: PyTree) -> tuple[Any, Array]:
        return adapted(observation)
