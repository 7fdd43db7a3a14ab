"""Meta-SGD: MAML with a meta-learned rate for every single weight, its direction included.

    φ_0 = θ;   φ_{k+1} = φ_k - α ∘ ∇L(φ_k),   α of the shape of θ, at first `inner_rate` everywhere

A rate may become negative. After the first adaptation all are `later_inner_rate / inner_rate` times as large.

Source: Li et al. 2017 (arXiv 1707.09835), algorithm 2.
Differs from the paper: the first rates are all alike, where the paper draws them from [.005, .1].
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.errors import require
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key, PyTree, TrialShape


class MetaSGDParams(NamedTuple):
    network: ActorCritic
    rates: PyTree
    """Of the shape of what moves."""


@dataclasses.dataclass(frozen=True)
class MetaSGD(InnerLoop):
    """Meta-SGD (Li et al. 2017): meta-learned weights, and a meta-learned rate of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, inner_rate=(self.inner_rate > 0, "above 0"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> MetaSGDParams:
        network = self.network(env, trial, key)
        rates = jax.tree.map(lambda x: jnp.full_like(x, self.inner_rate), network.without_ratios())
        return MetaSGDParams(network, rates)

    def meta_network(self, meta_params: MetaSGDParams) -> ActorCritic:
        return meta_params.network

    def start(self, meta_params: MetaSGDParams) -> ActorCritic:
        return meta_params.network.without_ratios()

    def says(self, meta_params: MetaSGDParams, adapted: ActorCritic, observation: PyTree) -> tuple[Any, Array]:
        return adapted(observation)

    def move(self, meta_params: MetaSGDParams, adapted: PyTree, gradient: PyTree, rate: Array) -> PyTree:
        share = rate / self.inner_rate
        return jax.tree.map(lambda p, a, g: p - share * a * g, adapted, meta_params.rates, gradient)
