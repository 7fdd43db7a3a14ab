"""The lines that every result is drawn beside: a random agent, classical learners, the best possible."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from quickstudy.envs.bandit import Bandit
from quickstudy.references import bandit_exact, gittins
from quickstudy.registry import resolve
from quickstudy.types import TrialShape

CLASSICAL: dict[type, tuple[str, ...]] = {
    Bandit: ("greedy", "epsilon-greedy", "ucb1", "thompson", "optimistic-thompson", "gittins"),
}


def reference_agents(env: Any, trial: TrialShape) -> dict[str, Any]:
    """The agents, by registry name, that a result in this family is compared with."""
    names = ["random", *CLASSICAL.get(type(env), ())]
    if trial.num_steps(env) > gittins.MAX_HORIZON and "gittins" in names:
        names.remove("gittins")
    return {name: resolve("agent", name)() for name in names}


@functools.lru_cache(maxsize=8)
def optimum(env: Any, trial: TrialShape) -> np.ndarray | None:
    """The exact Bayes-optimal expected return of each episode [E]; None where it is not known."""
    one_stream = (trial.num_adapts, trial.num_streams) == (0, 1)
    # A subclass may pay otherwise: what is exact of a family holds of no other.
    if type(env) is Bandit and one_stream and bandit_exact.is_feasible(env.num_arms, trial.num_episodes):
        return bandit_exact.bayes_optimal_rewards(env.num_arms, trial.num_episodes)
    return None
