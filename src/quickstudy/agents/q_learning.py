"""Q-learning: the value of acting best from here on, whatever was done.

    Q(s, a) ← Q(s, a) + α (r + γ max_a' Q(s', a') - Q(s, a))

Source: Watkins and Dayan 1992, "Q-learning"; α by Even-Dar and Mansour 2003, section 3, a polynomial rate.
Differs from the paper: for a finite horizon Q has the step of the episode beside s; see `agents.tables`.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from quickstudy.agents.blank import Blank
from quickstudy.agents.tables import Learned, ModelFree, Steps
from quickstudy.types import Array, Key, Transition


@dataclasses.dataclass(frozen=True)
class QLearning(ModelFree):
    """Q-learning (Watkins and Dayan 1992): a table, moved towards reward and the best next value."""

    def adapt(self, meta_params: Blank, task_params: Learned, transitions: Transition, key: Key) -> Learned:
        return self.learn(task_params, (self.steps(meta_params, transitions),), self._target)

    def _target(self, values: Array, known: tuple[Steps]) -> Array:
        (step,) = known
        behind = values[step.next_row, step.next_state].max()
        return step.reward + self.discount * jnp.where(step.ends, 0.0, behind)
