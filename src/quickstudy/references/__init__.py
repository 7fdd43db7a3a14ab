"""The lines that every result is drawn beside: a random agent, classical learners, the best possible.

A family's lines stand in three tables: `CLASSICAL`, the learners that are measured in the same tasks; `OPTIMA`,
the exact Bayes-optimal value, where it can be computed; `task_known.VALUES`, the value to somebody who knows
the task, which is averaged over the same tasks.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from quickstudy.envs.bandit import Bandit
from quickstudy.envs.dependent_bandit import DependentBandit
from quickstudy.envs.gaussian_bandit import GaussianBandit
from quickstudy.envs.grid_navigation import GridNavigation
from quickstudy.envs.tabular_mdp import TabularMDP
from quickstudy.envs.two_step import TwoStep
from quickstudy.references import bandit_exact, dependent_exact, gittins, grid_exact, two_step_exact
from quickstudy.references.task_known import task_known_value
from quickstudy.registry import resolve
from quickstudy.types import TrialShape

__all__ = ["CLASSICAL", "OPTIMA", "optimum", "reference_agents", "remembered", "task_known_value"]

# OPSRL takes ten times as long as PSRL and earns little more.
CLASSICAL: dict[type, tuple[str, ...]] = {
    Bandit: ("greedy", "epsilon-greedy", "ucb1", "thompson", "optimistic-thompson", "gittins"),
    DependentBandit: ("ucb1", "thompson", "gittins"),
    GaussianBandit: ("gaussian-ucb", "gaussian-thompson"),
    TabularMDP: (
        "greedy-planner",
        "epsilon-greedy-planner",
        "ucrl2",
        "beb",
        "psrl",
        "bayes-planner",
    ),
}

MOST_CELLS = 20_000
"""Of a table of moves, [S, A, S]: 16,384 of them in a batch of 4096 tasks take 330 MB."""


def _bandit(env: Bandit, num_episodes: int) -> np.ndarray | None:
    if not bandit_exact.is_feasible(env.num_arms, num_episodes):
        return None
    return bandit_exact.bayes_optimal_rewards(env.num_arms, num_episodes)


OPTIMA: dict[type, Callable[[Any, int], np.ndarray | None]] = {
    Bandit: _bandit,
    DependentBandit: dependent_exact.bayes_optimal_rewards,
    GridNavigation: grid_exact.bayes_optimal_returns,
    TwoStep: two_step_exact.bayes_optimal_returns,
}
"""(env, num_episodes) -> the expected return of each episode [E] in one stream, or None."""


def reference_agents(env: Any, trial: TrialShape) -> dict[str, Any]:
    """The agents, by registry name, that a result in this family is compared with.

    The classical ones remember, and adapt to nothing: in a trial whose streams lie side by side and are adapted
    to they would be told less than what they stand beside, and are left out.
    """
    alike = trial.num_adapts == 0 or trial.num_streams == 1
    names = ["random", *(CLASSICAL.get(type(env), ()) if alike else ())]
    if remembered(trial).num_steps(env) > gittins.MAX_HORIZON and "gittins" in names:
        names.remove("gittins")
    if isinstance(env, TabularMDP) and env.num_states**2 * env.num_actions > MOST_CELLS:
        names = ["random"]
    return {name: resolve("agent", name)() for name in names}


def remembered(trial: TrialShape) -> TrialShape:
    """What an agent lives that learns by remembering alone: phases of one stream one after another."""
    if trial.num_streams > 1:
        return trial
    return dataclasses.replace(trial, num_adapts=0, num_episodes=(trial.num_adapts + 1) * trial.num_episodes)


@functools.lru_cache(maxsize=8)
def optimum(env: Any, trial: TrialShape) -> np.ndarray | None:
    """The exact Bayes-optimal expected return of each episode [E]; None where it is not known."""
    one_stream = trial.num_streams == 1
    # A subclass may pay otherwise: what is exact of a family holds of no other.
    exact = OPTIMA.get(type(env))
    return exact(env, remembered(trial).num_episodes) if exact is not None and one_stream else None
