"""What the classical learners of tabular MDPs earn, beside Table 2 of Duan et al. 2016 (arXiv 1611.02779).

Each learner is measured twice: with the prior by which the processes are drawn, and with the one that comes
nearest to the published figures, whose mean reward is 0; all in the same processes. What is measured takes the
place of what the file holds of the same learner and length, and leaves the rest of it.

    python benchmarks/tabular_references.py [--episodes 10 25] [--num-tasks 2048] [--agents psrl beb] [--others]

Processes differ by far more than learners do. So beside the plain mean stands the adjusted one: less b times
what the process known earns in these tasks more than in all, with b by least squares (a control variate).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from machine import RESULTS, save

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
from quickstudy.reproduction.published import MDP_ROWS, MDPS
from quickstudy.rollout import sample_tasks
from quickstudy.types import TrialShape

TASK_KNOWN = 21.830
"""What an episode is worth with the process known; see `envs.tabular_mdp`."""
NUM_KNOWN = 100_000
"""Tasks in which it is worked out anew, at least."""
KEY = ("num_episodes", "agent", "fields")
"""What tells one row from another."""

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

# Whether another bonus brings nearer what mean 0 does not explain; BEB with the weight of one reward, too.
OTHERS = [
    *(BEB(bonus=bonus, **HARDLY_ANY) for bonus in (0.5, 1.5, 2.0, 4.0)),
    *(BEB(bonus=bonus, **ZERO) for bonus in (0.5, 1.0, 2.0, 4.0)),
    *(UCRL2(scale=scale, **HARDLY_ANY) for scale in (0.1, 0.2, 0.4)),
]


def row(agent: Any, num_episodes: int, num_tasks: int, known: np.ndarray) -> dict[str, Any]:
    env, trial, name = TabularMDP(), TrialShape(0, 1, num_episodes), name_of("agent", type(agent))
    start = time.perf_counter()
    meta_params = initial_params(agent, env, trial, 0)
    total = measure(agent, env, trial, meta_params, num_tasks, keys.branch(0, keys.TEST)).total
    return {
        "agent": name,
        "fields": dataclasses.asdict(agent),
        "num_episodes": num_episodes,
        "num_tasks": num_tasks,
        "mean": float(total.mean()),
        "standard_error": standard_error(total),
        "adjusted": adjusted(np.asarray(total, np.float64), known[:num_tasks]),
        "published": published(name, num_episodes),
        "seconds": round(time.perf_counter() - start, 1),
    }


def published(name: str, num_episodes: int) -> float | None:
    values, _ = MDPS[num_episodes]
    rows: dict[str, float] = dict(zip(MDP_ROWS, values, strict=True))
    return rows.get(name)


def adjusted(total: np.ndarray, known: np.ndarray) -> dict[str, float]:
    """By what the process known earns an episode in the same tasks."""
    slope = np.cov(total, known)[0, 1] / known.var(ddof=1)
    values = total - slope * (known - TASK_KNOWN)
    return {"mean": float(values.mean()), "standard_error": standard_error(values)}


def task_known(num_tasks: int) -> np.ndarray:
    """What an episode is worth with the process known, in each of the tasks."""
    value = task_known_value(TabularMDP())
    assert value is not None
    task_keys, _ = keys.per_task(keys.branch(0, keys.TEST), np.arange(num_tasks))
    return np.asarray(jax.jit(jax.vmap(value))(sample_tasks(TabularMDP(), task_keys)), np.float64)


def held() -> list[dict[str, Any]]:
    """The rows of the file."""
    path = RESULTS / "tabular_references.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def write(rows: list[dict[str, Any]], known: np.ndarray) -> Path:
    result = {
        "command": "python benchmarks/tabular_references.py --episodes N --num-tasks M: as each row has them",
        "note": "each row with the prior in its fields; null: that of the processes. Seconds beside trainings, "
        "some with pauses",
        "task_known": {
            "num_tasks": len(known),
            "mean": float(known.mean()),
            "standard_error": standard_error(known),
        },
        "rows": sorted(rows, key=lambda row: row["num_episodes"]),
    }
    return save("tabular_references", result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, nargs="+", default=[10, 25], choices=list(MDPS))
    parser.add_argument("--num-tasks", type=int, default=2048)
    parser.add_argument("--agents", nargs="+", help="registry names; all of them where none is given")
    parser.add_argument("--others", action="store_true", help="other bonuses of BEB and UCRL2 with mean 0")
    options = parser.parse_args()
    rows, known = held(), task_known(max(options.num_tasks, NUM_KNOWN))
    for num_episodes in options.episodes:
        for agent in OTHERS if options.others else ROWS:
            if options.agents and name_of("agent", type(agent)) not in options.agents:
                continue
            new = row(agent, num_episodes, options.num_tasks, known)
            rows = [old for old in rows if any(old[name] != new[name] for name in KEY)] + [new]
            # After each: some take minutes.
            write(rows, known)
            print(json.dumps(new), flush=True)
    print(write(rows, known))


if __name__ == "__main__":
    main()
