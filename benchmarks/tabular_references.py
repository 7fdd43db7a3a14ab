"""What the classical learners of tabular MDPs earn, beside Table 2 of Duan et al. 2016 (arXiv 1611.02779).

Each learner is measured twice: with the prior by which the processes are drawn, and with the one that gives the
published figures, whose mean reward is 0; all in the same processes.

    python benchmarks/tabular_references.py [--episodes 10 25] [--num-tasks 2048]
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from typing import Any

import jax
import numpy as np
from machine import save

from quickstudy import keys
from quickstudy.envs.tabular_mdp import TabularMDP
from quickstudy.evaluation import initial_params, measure
from quickstudy.maths.statistics import standard_error
from quickstudy.references.bayes_planner import BayesPlanner
from quickstudy.references.tabular_learners import (
    BEB,
    OPSRL,
    PSRL,
    UCRL2,
    EpsilonGreedyPlanner,
    GreedyPlanner,
)
from quickstudy.references.task_known import task_known_value
from quickstudy.registry import name_of
from quickstudy.rollout import sample_tasks
from quickstudy.types import TrialShape

PUBLISHED = {
    "psrl": {10: 138.1, 25: 408.8},
    "opsrl": {10: 144.1, 25: 425.2},
    "ucrl2": {10: 146.6, 25: 424.1},
    "beb": {10: 150.2, 25: 427.8},
    "epsilon-greedy-planner": {10: 132.8, 25: 377.3},
    "greedy-planner": {10: 134.8, 25: 368.8},
}

# Mean 0, and where a learner has no use for a prior hardly any weight.
ZERO: dict[str, Any] = {"prior_mean": 0.0}
HARDLY_ANY: dict[str, Any] = {"prior_mean": 0.0, "prior_std": 100.0, "prior_moves": 1e-4}

ROWS = [
    GreedyPlanner(),
    GreedyPlanner(**HARDLY_ANY),
    EpsilonGreedyPlanner(),
    EpsilonGreedyPlanner(**HARDLY_ANY),
    UCRL2(),
    UCRL2(scale=0.05, **HARDLY_ANY),
    BEB(),
    BEB(bonus=1.0, **HARDLY_ANY),
    PSRL(),
    PSRL(**ZERO),
    BayesPlanner(bonus=1.3),
    BayesPlanner(bonus=1.6),
    BayesPlanner(bonus=2.0),
    OPSRL(),
    OPSRL(**ZERO),
]


def row(agent: Any, num_episodes: int, num_tasks: int) -> dict[str, Any]:
    env, trial, name = TabularMDP(), TrialShape(0, 1, num_episodes), name_of("agent", type(agent))
    start = time.perf_counter()
    meta_params = initial_params(agent, env, trial, 0)
    total = measure(agent, env, trial, meta_params, num_tasks, keys.branch(0, keys.TEST)).total
    return {
        "agent": name,
        "fields": dataclasses.asdict(agent),
        "num_episodes": num_episodes,
        "mean": float(total.mean()),
        "standard_error": standard_error(total),
        "published": PUBLISHED.get(name, {}).get(num_episodes),
        "seconds": round(time.perf_counter() - start, 1),
    }


def task_known(num_tasks: int) -> dict[str, float]:
    """What an episode is worth with the process known."""
    value = task_known_value(TabularMDP())
    assert value is not None
    task_keys, _ = keys.per_task(keys.branch(0, keys.TEST), np.arange(num_tasks))
    values = np.asarray(jax.jit(jax.vmap(value))(sample_tasks(TabularMDP(), task_keys)), np.float64)
    return {"mean": float(values.mean()), "standard_error": standard_error(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, nargs="+", default=[10, 25])
    parser.add_argument("--num-tasks", type=int, default=2048)
    options = parser.parse_args()
    rows = []
    for num_episodes in options.episodes:
        for agent in ROWS:
            rows.append(row(agent, num_episodes, options.num_tasks))
            print(json.dumps(rows[-1]), flush=True)
    known = task_known(options.num_tasks)
    print(save("tabular_references", {"num_tasks": options.num_tasks, "task_known": known, "rows": rows}))


if __name__ == "__main__":
    main()
