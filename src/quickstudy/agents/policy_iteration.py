"""Policy iteration: count what actions lead to, and improve a policy for the means until it stays.

    r, P from the counts;   [ V = value of π;   Q = r + γ P V;   π ← argmax_a Q ] until π stays
    act by Q, and explore by chance

It ends with the plan of `value-iteration`, by another way: few rounds, each of which solves for V exactly.

Source: Howard 1960, "Dynamic programming and Markov processes"; Sutton and Barto 2018, section 4.3.
Differs from the paper: rewards and transitions are counted, not known; each plan begins with the policy of the
last.
"""

from __future__ import annotations

import dataclasses

from quickstudy.agents.tables import ModelBased
from quickstudy.maths.planning import finite_policy_iteration, policy_iteration
from quickstudy.types import Array


@dataclasses.dataclass(frozen=True)
class PolicyIteration(ModelBased):
    """Policy iteration (Howard 1960): count rewards and moves, improve a policy for their means."""

    def plan(self, rewards: Array, transitions: Array, values: Array) -> Array:
        policy = values.argmax(-1)
        if self.horizon == "finite":
            return finite_policy_iteration(rewards, transitions, len(values), self.discount, policy)
        return policy_iteration(rewards, transitions, self.discount, policy[0])[None]
