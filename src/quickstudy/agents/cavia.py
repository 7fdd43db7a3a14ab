"""CAVIA: a few numbers beside the observation are all that a task's gradient steps move.

    π(· | o, c) by the shared weights θ;   c_0 = 0;   c_{k+1} = c_k - α ∇_c L

What is learned of a task is small, and can be looked at; the shared weights learn what to make of it.

Source: Zintgraf et al. 2019 (arXiv 1810.03642), algorithm 2; 5 numbers for HalfCheetah and 2D navigation.
Differs from the paper: none known of the algorithm.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp

from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.errors import require
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.types import Array, Key, PyTree, TrialShape


@dataclasses.dataclass(frozen=True)
class CAVIA(InnerLoop):
    """CAVIA (Zintgraf et al. 2019): a context beside the observation, moved by gradients from zero."""

    num_contexts: int = 5
    """Numbers of the context."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, num_contexts=(self.num_contexts >= 1, "at least 1"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> ActorCritic:
        return self.network(env, trial, key, num_contexts=self.num_contexts)

    def start(self, meta_params: ActorCritic) -> Array:
        return jnp.zeros(self.num_contexts, meta_params.head.linear.bias.dtype)

    def says(self, meta_params: ActorCritic, adapted: Array, observation: PyTree) -> tuple[Any, Array]:
        return meta_params(observation, adapted)
