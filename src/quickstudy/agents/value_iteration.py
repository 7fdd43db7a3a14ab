"""Value iteration: count what actions lead to, and plan for the means by Bellman's equation.

    r, P from the counts;   Q ← r + γ P max_a Q, until it stays;   act by Q, and explore by chance

Source: Bellman 1957, "Dynamic programming"; Sutton and Barto 2018, section 4.4.
Differs from the paper: rewards and transitions are counted, not known; the plan is exact for what was counted,
and for a finite horizon it is done in as many sweeps as the episode has steps.
"""

from __future__ import annotations

import dataclasses

from quickstudy.agents.tables import ModelBased
from quickstudy.maths.planning import finite_value_iteration, value_iteration
from quickstudy.types import Array


@dataclasses.dataclass(frozen=True)
class ValueIteration(ModelBased):
    """Value iteration (Bellman 1957): count rewards and moves, plan for their means by sweeps."""

    def plan(self, rewards: Array, transitions: Array, values: Array) -> Array:
        if self.horizon == "finite":
            return finite_value_iteration(rewards, transitions, len(values), self.discount)
        return value_iteration(rewards, transitions, self.discount, values[0])[None]
