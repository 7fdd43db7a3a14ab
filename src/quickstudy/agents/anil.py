"""ANIL: MAML whose gradient steps move the last layer alone.

    features f_θ(o) as they are;   head_0 = w;   head_{k+1} = head_k - α ∇L(head_k)

Source: Raghu et al. 2020 (arXiv 1909.09157), section 4.
Differs from the paper: the deviation of a continuous policy belongs to its head, and so does the critic's last
layer, where there is a critic.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx

from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.nets.layers import Linear
from quickstudy.nets.spaces import PolicyHead
from quickstudy.types import Array, Key, PyTree, TrialShape


class Heads(NamedTuple):
    policy: PolicyHead
    value: Linear | None


@dataclasses.dataclass(frozen=True)
class ANIL(InnerLoop):
    """ANIL (Raghu et al. 2020): meta-learned weights, of which a task's gradient steps move the last layer."""

    def init(self, env: Any, trial: TrialShape, key: Key) -> ActorCritic:
        return self.network(env, trial, key)

    def start(self, meta_params: ActorCritic) -> Heads:
        critic = meta_params.critic
        return Heads(meta_params.head, None if critic is None else critic.out)

    def says(self, meta_params: ActorCritic, adapted: Heads, observation: PyTree) -> tuple[Any, Array]:
        network = eqx.tree_at(lambda net: net.head, meta_params, adapted.policy)
        if adapted.value is not None:
            network = eqx.tree_at(lambda net: net.critic.out, network, adapted.value)
        return network(observation)
