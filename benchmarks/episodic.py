"""What `episodic` reaches on bandits by each retrieval, and what steps of other tasks do for it.

    python benchmarks/episodic.py bandit [--seeds 3]
    python benchmarks/episodic.py shared [--seeds 3] [--only FAMILY]

Part `bandit` trains by the preset. Part `shared` trains in each family without a store, with
`--agent.num-learned 256` in its place and with `--agent.num-shared 256`, by the same settings, seeds and
environment steps; differences are taken seed by seed. What is measured along a training is the mean return of a
trial in held-out tasks, over seeds with an interval.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from typing import Any

import jax
import numpy as np
from machine import save

from quickstudy import keys
from quickstudy.compilation import use_compilation_cache
from quickstudy.evaluation import measure
from quickstudy.experiment import Experiment, build
from quickstudy.maths.statistics import mean_interval
from quickstudy.presets import preset
from quickstudy.registry import resolve
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates

AGENTS = {"none": {}, "learned": {"num_learned": 256}, "shared": {"num_shared": 256}}
"""Without a store; with as many entries that the outer loop writes; with steps of other tasks."""
NUM_TEST_TASKS = {"bandit": 100_000, "shared": 1000}
POINTS = 4
"""Measurements along a training."""
FIRST_SEED = 10
OUTER = {"learning_rate": 3e-3, "discount": 0.99, "normalise_values": True}
"""Of all families; tuned for nothing."""
FAMILIES: dict[str, dict[str, Any]] = {
    "semi-circle": {
        "env": {"max_steps": 20},
        "trial": TrialShape(num_episodes=2),
        "fields": {"num_tasks": 128, "num_updates": 100},
    },
    "cartpole": {
        "env": {"max_steps": 100},
        "trial": TrialShape(num_episodes=2),
        "agent": {"discount": 0.9},
        # Few updates: 15 of them reach all that can be earned.
        "fields": {"num_tasks": 32, "num_updates": 8, "normalise_observations": True},
    },
    "grid-navigation": {
        "trial": TrialShape(num_episodes=4),
        "outer": {"entropy_coefficient": 0.1, "final_entropy_coefficient": 0.0},
        "fields": {"num_tasks": 128, "num_updates": 100},
    },
}


def experiment(family: str, agent: str, seed: int) -> Experiment:
    case = FAMILIES[family]
    own = preset("episodic", family)
    return dataclasses.replace(
        own,
        agent=dataclasses.replace(own.agent, **AGENTS[agent], **case.get("agent", {})),
        env=build(resolve("env", family), case.get("env", {}), "env"),
        outer=dataclasses.replace(own.outer, **OUTER, **case.get("outer", {})),
        trial=case["trial"],
        seed=seed,
        **case["fields"],
    )


def trained(experiment: Experiment, num_test_tasks: int, points: int) -> dict[str, Any]:
    state, returns, seconds = init_state(experiment), [], 0.0
    for point in range(1, points + 1):
        began = time.perf_counter()
        state, _ = run_updates(experiment, state, experiment.num_updates * point // points)
        meta_params = jax.block_until_ready(state.outer.meta_params)
        seconds += time.perf_counter() - began
        test = (experiment.learner, experiment.env, experiment.trial, meta_params, num_test_tasks)
        returns.append(float(measure(*test, keys.branch(experiment.seed, keys.TEST)).total.mean()))
    return {"seed": experiment.seed, "returns": [round(x, 3) for x in returns], "seconds": round(seconds, 1)}


def on_bandits(retrieval: str, seeds: range) -> dict[str, Any]:
    own = preset("episodic", "bandit")
    own = dataclasses.replace(own, agent=dataclasses.replace(own.agent, retrieval=retrieval))
    runs = [trained(dataclasses.replace(own, seed=seed), NUM_TEST_TASKS["bandit"], 1) for seed in seeds]
    print(retrieval, runs, flush=True)
    earned = over_seeds(np.array([run["returns"] for run in runs]))
    return {
        "retrieval": retrieval,
        "earned": {name: values[0] for name, values in earned.items()},
        "runs": runs,
    }


def over_seeds(rows: np.ndarray) -> dict[str, list[float]]:
    """rows [seeds, points]"""
    interval = mean_interval(rows)
    return {name: np.round(getattr(interval, name), 3).tolist() for name in ("mean", "low", "high")}


def compared(family: str, seeds: range) -> dict[str, Any]:
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in AGENTS}
    for seed in seeds:
        for name, done in runs.items():
            done.append(trained(experiment(family, name, seed), NUM_TEST_TASKS["shared"], POINTS))
            print(family, name, done[-1], flush=True)
    returns = {name: np.array([run["returns"] for run in done]) for name, done in runs.items()}
    first = experiment(family, "none", seeds[0])
    return {
        "env": family,
        "updates": [first.num_updates * point // POINTS for point in range(1, POINTS + 1)],
        "environment_steps_of_an_update": first.steps_per_update[0],
        "returns": {name: over_seeds(values) for name, values in returns.items()},
        "shared_minus_none": over_seeds(returns["shared"] - returns["none"]),
        "shared_minus_learned": over_seeds(returns["shared"] - returns["learned"]),
        "runs": runs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=NUM_TEST_TASKS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=FAMILIES, help="one family; nothing is written")
    options = parser.parse_args()
    use_compilation_cache()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    if options.only:
        print(compared(options.only, seeds))
        return
    if options.part == "bandit":
        rows = [on_bandits(retrieval, seeds) for retrieval in ("attention", "nearest", "prototypes")]
    else:
        rows = [compared(family, seeds) for family in FAMILIES]
    num_test_tasks = NUM_TEST_TASKS[options.part]
    save(
        f"episodic_{options.part}", {"test_tasks": num_test_tasks, "interval": "95%, over seeds", "rows": rows}
    )


if __name__ == "__main__":
    main()
