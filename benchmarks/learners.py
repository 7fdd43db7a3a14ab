"""How many learners at once are worth it: learner-steps a second of 256 against one.

    python benchmarks/learners.py [--seconds 10]

Each learner lives in a task of its own, with `quickstudy learn`'s presets; exams are left out, compilation too.
A learner-step is one environment step of one learner with its share of the learning. The median of three
stretches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
from machine import save

from quickstudy import keys, lives
from quickstudy.life_presets import learning_preset
from quickstudy.rollout import sample_tasks

CASES = (("ppo", "cartpole"), ("a2c", "cartpole"), ("dqn", "cartpole"), ("ppo", "pendulum"),
         ("sac", "pendulum"), ("q-learning", "tabular-mdp"))  # fmt: skip
COUNTS = (1, 4, 16, 64, 256)
STRETCHES = 3


def rate(agent: str, family: str, count: int, seconds: float) -> float:
    """Learner-steps a second."""
    preset = learning_preset(agent, family)
    shape, env = preset.life, preset.env
    task_keys, life_keys = keys.per_task(keys.branch(0, keys.TEST), jnp.arange(count))
    tasks = sample_tasks(env, task_keys)
    meta_params = preset.agent.init(env, lives.as_trial(shape, env), keys.branch(0, keys.INIT))
    life = lives.begin(preset.agent, env, shape, meta_params, tasks, life_keys)

    def stretch(life: lives.Lives, num_adapts: int) -> tuple[lives.Lives, float]:
        began = time.perf_counter()
        life, lived = lives.live(preset.agent, env, shape, meta_params, life, num_adapts)
        jax.block_until_ready(lived)
        return life, time.perf_counter() - began

    life, _ = stretch(life, 1)
    life, one = stretch(life, 2)
    num_adapts = max(2, int(seconds / STRETCHES / (one / 2)))
    rates = []
    for _ in range(STRETCHES):
        life, took = stretch(life, num_adapts)
        rates.append(count * num_adapts * shape.steps_per_adapt / took)
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each case and count")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for agent, family in CASES:
        rates = {count: rate(agent, family, count, options.seconds) for count in COUNTS}
        row = {
            "agent": agent,
            "env": family,
            "learner_steps_per_second": {n: round(x) for n, x in rates.items()},
        }
        row["times_one"] = round(rates[256] / rates[1], 1)
        rows.append(row)
        print(row, flush=True)
        save("learners", {"seconds": options.seconds, "rows": rows})


if __name__ == "__main__":
    main()
