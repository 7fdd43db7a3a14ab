"""A model-free learner of the two-step task, to set the signature of model-based choice against.

    after a choice c and its reward r:   q_c <- q_c + α (r - q_c)
    the next choice:                     P(c) ∝ exp(β q_c)

What led from the choice to the reward, a common or a rare transition, it does not see: of two rewards after the
same choice it makes the same. α = 1/4 and β = 32 earn 65.6 in 100 choices, the most of α in eighths and β from
4 to 64 (20,000 blocks each).

Source: Daw et al. 2011 (Neuron 69), the SARSA(λ) learner with λ = 1 of the first stage.
Differs from the paper: no choice is made in the second stage, so there is nothing to learn of it; no
perseveration.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from quickstudy.envs.two_step import TwoStep
from quickstudy.errors import require
from quickstudy.nets.distributions import Categorical
from quickstudy.references.family import require_family
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Values(NamedTuple):
    """The memory."""

    choices: Array
    """[2], q."""
    chosen: Array
    """The last choice."""
    place: Array
    """The last one seen; 0 in the first stage."""


@dataclasses.dataclass(frozen=True)
class ModelFree:
    """Learns what its choices paid in the two-step task, and nothing of how they led there."""

    learning_rate: float = 0.25
    inverse_temperature: float = 32.0

    meta_learned: ClassVar[bool] = False

    def __post_init__(self) -> None:
        require(
            self,
            learning_rate=(0 < self.learning_rate <= 1, "above 0, at most 1"),
            inverse_temperature=(self.inverse_temperature >= 0, "0 or more"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> PyTree:
        """Raises `InputError` in any other family."""
        require_family(env, TwoStep, "two-step")
        return ()

    def init_task(self, meta_params: PyTree, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: PyTree, task_params: PyTree) -> Values:
        zero = jnp.zeros((), jnp.int32)
        return Values(jnp.full(2, 0.5), zero, zero)

    def step(
        self, meta_params: PyTree, task_params: PyTree, memory: Values, timestep: TimeStep, key: Key
    ) -> tuple[Output, Values]:
        place = timestep.observation.astype(jnp.int32)
        # What the second stage paid, in the first step behind it.
        error = timestep.reward - memory.choices[memory.chosen]
        told = memory.choices.at[memory.chosen].add(self.learning_rate * error)
        choices = jnp.where(memory.place > 0, told, memory.choices)
        chosen = jnp.where(place > 0, timestep.action.astype(jnp.int32), memory.chosen)
        policy = Categorical(jnp.where(place > 0, 0.0, self.inverse_temperature * choices))
        return Output(policy, jnp.zeros(()), {}), Values(choices, chosen, place)

    def adapt(self, meta_params: PyTree, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params
