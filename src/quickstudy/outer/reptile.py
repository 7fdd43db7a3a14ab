"""Reptile: the meta-parameters go where learning took them.

    φ_i ← θ, adapted to every phase of task i, the last one too
    θ ← θ + ε mean_i (φ_i - θ),   or Adam's step on θ - mean_i φ_i

Nothing is differentiated but what an agent differentiates itself. No credit is asked for, and no baseline: what
is learned from a phase is the agent's own affair.

Source: Nichol et al. 2018 (arXiv 1803.02999), algorithm 2, a rate that falls from 1 to 0; section 2 on Adam.
Differs from the paper: none known.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.errors import require, wrong
from quickstudy.outer.adam import descend
from quickstudy.outer.schedules import Schedule, decayed
from quickstudy.rollout import learned
from quickstudy.types import Array, Key, PyTree, Trials

Optimizer = Literal["sgd", "adam"]


class ReptileState(NamedTuple):
    meta_params: PyTree
    optimizer: PyTree


@dataclasses.dataclass(frozen=True)
class Reptile:
    """Reptile (Nichol et al. 2018): towards what the tasks' own gradient steps reach."""

    learning_rate: float = 1.0
    """ε: at 1 the meta-parameters become the mean of what was learned in the tasks. Adam wants some 1e-3."""
    schedule: Schedule = "linear"
    """How the learning rate falls over the training, to `final_learning_rate`."""
    final_learning_rate: float = 0.0
    optimizer: Optimizer = "sgd"
    """Whether the mean way is gone itself, or given to Adam as if it were a gradient."""

    def __post_init__(self) -> None:
        require(
            self,
            learning_rate=(self.learning_rate > 0, "above 0"),
            final_learning_rate=(self.final_learning_rate >= 0, "0 or more"),
        )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> ReptileState:
        """Raises `InputError` for an agent that does not adapt weights of the meta-parameters' own shapes."""
        if getattr(agent, "first_deviation", None) is not None:
            expected = "None for reptile, as a task's steps move no deviations of their own"
            raise wrong("agent.first_deviation", agent.first_deviation, expected)
        begun = jax.eval_shape(agent.init_task, meta_params, key)
        if _shapes(getattr(begun, "adapted", None)) != _shapes(meta_params):
            raise wrong("agent", _name(agent), "one that adapts all of its meta-parameters: maml or reptile")
        return ReptileState(meta_params, self._optimizer().init(meta_params))

    def update(
        self, agent: Any, state: ReptileState, trials: Trials, progress: Array, key: Key
    ) -> tuple[ReptileState, dict[str, Array]]:
        back = self.back(agent, state.meta_params, trials)
        mean = jax.tree.map(lambda x: x.mean(axis=0), back)
        rate = decayed(self.schedule, self.learning_rate, self.final_learning_rate, progress)
        meta_params, optimizer = descend(self._optimizer(), state.meta_params, state.optimizer, mean, rate)
        return ReptileState(meta_params, optimizer), {
            "distance": jax.vmap(optax.tree.norm)(back).mean(),
            "mean_distance": optax.tree.norm(mean),
            "update_norm": optax.tree.norm(optax.tree.sub(meta_params, state.meta_params)),
        }

    def back(self, agent: Any, meta_params: PyTree, trials: Trials) -> PyTree:
        """θ - φ_i, from each task's weights back to the meta-parameters, [N, ...]."""
        structure = jax.tree.structure(meta_params)
        adapted = jax.tree.leaves(learned(agent, meta_params, trials).adapted)
        return jax.tree.map(lambda p, a: p - a, meta_params, jax.tree.unflatten(structure, adapted))

    def _optimizer(self) -> optax.GradientTransformation:
        return optax.identity() if self.optimizer == "sgd" else optax.scale_by_adam()


def _shapes(tree: PyTree) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]


def _name(agent: Any) -> str:
    """Of the agent itself, below the settings of an experiment."""
    while hasattr(agent, "agent"):
        agent = agent.agent
    return type(agent).__name__
