"""The planner that comes near Bayes-optimal in tabular MDPs: plan again at every step, with a bonus.

    bonus(s, a) = c sqrt(1 - t/T) / sqrt(1 + n)      t of the trial's T steps are over, n visits of (s, a)
    Q = value iteration over the steps left in the episode,
        on the posterior means of rewards and transitions and this bonus

The bonus stands for what a visit teaches for the rest of the trial, which has no closed form; it falls to 0
with the steps left. What this planner earns is a lower bound on the Bayes-optimal reward.

Source: the setting of Duan et al. 2016 (arXiv 1611.02779), section 3.2; the form of the bonus is that of Kolter
and Ng 2009 with a root, as in Auer et al. 2002.
Differs from the paper: it is none of the paper's baselines, all of which earn less (150.2 at most in 10
episodes, and RL² 156.2).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from quickstudy.errors import require
from quickstudy.references.tabular_learning import Counts, Tables, TabularLearner, posterior
from quickstudy.references.value_iteration import action_values
from quickstudy.types import Array, Key


@dataclasses.dataclass(frozen=True)
class BayesPlanner(TabularLearner):
    """Plan at every step for the posterior mean of a tabular MDP and a bonus that falls to 0 with the trial."""

    every_step: ClassVar[bool] = True

    bonus: float = 1.3
    """c. The best at 10 episodes: 162.6, where 1.6 earns 162.5 and 2.0 earns 161.2 (the same 2048 tasks)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, bonus=(self.bonus >= 0.0, "0 or more"))

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        believed = posterior(tables, counts)
        # The present step is counted, and not over. Behind the trial's end there is nothing left to learn for.
        left = jnp.maximum(1.0 - (counts.num_steps - 1) / tables.num_steps, 0.0)
        bonus = self.bonus * jnp.sqrt(left / (1.0 + counts.visits))
        return action_values(believed.reward_mean + bonus, believed.transitions, tables.horizon)
