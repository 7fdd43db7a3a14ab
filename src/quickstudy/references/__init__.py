"""The lines that every result is drawn beside: a random agent, classical learners, the best possible."""

from __future__ import annotations

from typing import Any

import numpy as np

from quickstudy.envs.bandit import Bandit
from quickstudy.references import bandit_exact
from quickstudy.registry import resolve
from quickstudy.types import TrialShape

CLASSICAL: dict[type, tuple[str, ...]] = {
    Bandit: ("greedy", "epsilon-greedy", "ucb1", "thompson", "optimistic-thompson", "gittins"),
}


def reference_agents(env: Any) -> dict[str, Any]:
    """The agents, by registry name, that a result in this family is compared with."""
    return {name: resolve("agent", name)() for name in ("random", *CLASSICAL.get(type(env), ()))}


def optimum(env: Any, trial: TrialShape) -> np.ndarray | None:
    """The exact Bayes-optimal expected return of each episode [E]; None where it is not known."""
    if isinstance(env, Bandit) and trial.num_adapts == 0 and trial.num_streams == 1:
        if bandit_exact.num_states(env.num_arms, trial.num_episodes) <= bandit_exact.MAX_STATES:
            return bandit_exact.bayes_optimal_rewards(env.num_arms, trial.num_episodes)
    return None
