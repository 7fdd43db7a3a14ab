"""What steps of other tasks do for `episodic`: held-out return along the training, with a store and without.

    python benchmarks/shared_experience.py [--seeds 3] [--only FAMILY]

In each family the agent trains by `--agent.num-shared` 0 and 256, by the same settings, seeds and environment
steps. Now and then it is measured on held-out tasks: the mean return of a trial, over seeds with an interval.
The difference is taken seed by seed.
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

NUM_SHARED = 256
NUM_TEST_TASKS = 1000
POINTS = 4
"""Measurements along a training."""
FIRST_SEED = 10
OUTER = {"learning_rate": 3e-3, "discount": 0.99, "normalise_values": True}
FAMILIES: dict[str, dict[str, Any]] = {
    "cartpole": {
        "env": {"max_steps": 100},
        "trial": TrialShape(num_episodes=2),
        "agent": {"discount": 0.9},
        "fields": {"num_tasks": 32, "num_updates": 60, "normalise_observations": True},
    },
    "grid-navigation": {
        "trial": TrialShape(num_episodes=4),
        "outer": {"entropy_coefficient": 0.1, "final_entropy_coefficient": 0.0},
        "fields": {"num_tasks": 128, "num_updates": 200},
    },
    "semi-circle": {
        "trial": TrialShape(num_episodes=3),
        "fields": {"num_tasks": 64, "num_updates": 100},
    },
}


def experiment(family: str, num_shared: int, seed: int) -> Experiment:
    case = FAMILIES[family]
    own = preset("episodic", family)
    return dataclasses.replace(
        own,
        agent=dataclasses.replace(own.agent, num_shared=num_shared, **case.get("agent", {})),
        env=build(resolve("env", family), case.get("env", {}), "env"),
        outer=dataclasses.replace(own.outer, **OUTER, **case.get("outer", {})),
        trial=case["trial"],
        seed=seed,
        **case["fields"],
    )


def trained(experiment: Experiment) -> dict[str, Any]:
    state, returns, seconds = init_state(experiment), [], 0.0
    for point in range(1, POINTS + 1):
        began = time.perf_counter()
        state, _ = run_updates(experiment, state, experiment.num_updates * point // POINTS)
        meta_params = jax.block_until_ready(state.outer.meta_params)
        seconds += time.perf_counter() - began
        test = (experiment.learner, experiment.env, experiment.trial, meta_params, NUM_TEST_TASKS)
        returns.append(float(measure(*test, keys.branch(experiment.seed, keys.TEST)).total.mean()))
    return {"seed": experiment.seed, "returns": [round(x, 3) for x in returns], "seconds": round(seconds, 1)}


def over_seeds(rows: np.ndarray) -> dict[str, list[float]]:
    """rows [seeds, points]"""
    interval = mean_interval(rows)
    return {name: np.round(getattr(interval, name), 3).tolist() for name in ("mean", "low", "high")}


def compared(family: str, num_seeds: int) -> dict[str, Any]:
    runs: dict[int, list[dict[str, Any]]] = {0: [], NUM_SHARED: []}
    for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
        for num_shared, done in runs.items():
            done.append(trained(experiment(family, num_shared, seed)))
            print(family, num_shared, done[-1], flush=True)
    without, shared = (np.array([run["returns"] for run in done]) for done in runs.values())
    first = experiment(family, 0, FIRST_SEED)
    return {
        "env": family,
        "updates": [first.num_updates * point // POINTS for point in range(1, POINTS + 1)],
        "environment_steps_of_an_update": first.steps_per_update[0],
        "without": over_seeds(without),
        f"with_{NUM_SHARED}": over_seeds(shared),
        "difference": over_seeds(shared - without),
        "runs": {str(num_shared): done for num_shared, done in runs.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=FAMILIES, help="one family; nothing is written")
    options = parser.parse_args()
    use_compilation_cache()
    if options.only:
        print(compared(options.only, options.seeds))
        return
    rows = [compared(family, options.seeds) for family in FAMILIES]
    save("shared_experience", {"test_tasks": NUM_TEST_TASKS, "interval": "95%, over seeds", "families": rows})


if __name__ == "__main__":
    main()
