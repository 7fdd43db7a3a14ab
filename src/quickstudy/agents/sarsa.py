"""SARSA: the value of acting on as one does, exploration included.

    Q(s, a) ← Q(s, a) + α (r + γ Q(s', a') - Q(s, a)),   a' the action that was taken in s'

Source: Rummery and Niranjan 1994, "On-line Q-learning using connectionist systems"; Sutton and Barto 2018,
section 6.4; van Seijen et al. 2009, "A theoretical and empirical analysis of Expected Sarsa".
Differs from the paper:
- Where a' is not known, behind a phase's last step or a cut, the value of s' is the mean over the policy's
  actions, as Expected SARSA has it everywhere.
- For a finite horizon Q has the step of the episode beside s; see `agents.tables`.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from quickstudy.agents.blank import Blank
from quickstudy.agents.tables import Learned, ModelFree, Steps, expected_value
from quickstudy.types import Array, Key, Transition


@dataclasses.dataclass(frozen=True)
class SARSA(ModelFree):
    """SARSA (Rummery and Niranjan 1994): a table, moved towards reward and the next action's value."""

    def adapt(self, meta_params: Blank, task_params: Learned, transitions: Transition, key: Key) -> Learned:
        epsilon = self.epsilon_after(meta_params, task_params.num_adapts)
        over = transitions.terminated | transitions.truncated
        next_action, is_known = (
            jnp.pad(x[:, 1:], ((0, 0), (0, 1))) for x in (transitions.action, transitions.mask)
        )

        def target(values: Array, known: tuple[Steps, Array, Array]) -> Array:
            step, next_action, is_known = known
            behind = values[step.next_row, step.next_state]
            value = jnp.where(is_known, behind[next_action], expected_value(behind, epsilon))
            return step.reward + self.discount * jnp.where(step.ends, 0.0, value)

        known = (self.steps(meta_params, transitions), next_action, is_known & ~over)
        return self.learn(task_params, known, target)
