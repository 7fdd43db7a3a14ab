"""Whether an agent of grid navigation is exactly Bayes-optimal: greedy, with every goal once.

    for each goal:  one trial with a_t = mode π;   R_e = mean over the goals of the e-th episode's return
    exactly optimal where   R_1 + … + R_e = the Bayes-optimal value of e episodes,  e = 1 … E,  to 1e-3 of it

Room and greedy agent leave nothing to chance, so each goal once, with the same weight, is the expectation.
An entry of the goal that comes a step late costs 1.1, which is 1.4e-3 of the value of all four episodes of the
5×5 room when it is shared among its 21 goals.

Source: the criterion is this library's own; how many seeds reach it is what is told of Zintgraf et al. 2020
(arXiv 1910.08348).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import references
from quickstudy.envs.grid_navigation import GridNavigation
from quickstudy.errors import wrong
from quickstudy.greedy import Greedy
from quickstudy.rollout import collect, episode_returns
from quickstudy.types import Array, PyTree, TrialShape

RELATIVE_TOLERANCE = 1e-3


def optimality(agent: Any, env: GridNavigation, trial: TrialShape, meta_params: PyTree) -> dict[str, Any]:
    """-> the greedy agent's mean return and the exact optimum, each summed up to every episode [E].

    Raises `InputError` where the optimum is not known.
    """
    best = references.optimum(env, trial)
    if best is None:
        raise wrong("env", env, "a room and a trial whose Bayes-optimal value is known")
    earned = np.asarray(_returns(agent, env, trial, meta_params), np.float64).mean(axis=0).cumsum()
    optimum = best.cumsum()
    return {
        "cumulative": earned.tolist(),
        "optimum": optimum.tolist(),
        "exactly_optimal": bool(np.allclose(earned, optimum, rtol=RELATIVE_TOLERANCE, atol=0.0)),
        "num_tasks": len(env.goals()),
    }


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _returns(agent: Any, env: GridNavigation, trial: TrialShape, meta_params: PyTree) -> Array:
    """[goals, E]"""
    goals = jnp.asarray(env.goals())
    keys = jax.random.split(jax.random.key(0), len(goals))
    phases = collect(Greedy(agent), env, trial, meta_params, goals, keys).phases
    return episode_returns(phases, trial.num_episodes)[:, 0, 0]
