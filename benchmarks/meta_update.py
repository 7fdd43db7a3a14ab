"""Memory and time of one meta-gradient of MAML against the number of inner steps and the width of the network.

    python benchmarks/meta_update.py [--repeats 5]

Point navigation at the published size, 20 tasks of 20 episodes of 100 steps in each phase; the gradient of the
policy-gradient loss on the last phase, through all inner steps. Memory is what XLA sets aside for a compiled
gradient beside its arguments and results; with `rematerialise` inner steps are computed again where their
gradient is taken. Times are medians of one run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import meta_update_page
from machine import save

from quickstudy import keys
from quickstudy.agents.maml import MAML
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.outer.a2c import A2C
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import TrialShape

NUM_TASKS, NUM_STREAMS = 20, 20
STEPS, WIDTHS = (1, 2, 3, 5, 7, 10), (32, 64, 100, 200)
USUAL_STEPS, USUAL_WIDTH = 1, 100
MEGABYTE = 2**20


def measured(num_adapts: int, width: int, rematerialise: bool, repeats: int) -> dict[str, Any]:
    """Of one meta-gradient."""
    agent, env = MAML(hidden_sizes=(width, width), rematerialise=rematerialise), PointNavigation()
    outer, trial = (
        A2C(baseline="linear", credit="episode", phases="last"),
        TrialShape(num_adapts, NUM_STREAMS, 1),
    )
    task_keys, trial_keys = keys.per_task(jax.random.key(0), jnp.arange(NUM_TASKS))
    meta_params = agent.init(env, trial, jax.random.key(1))
    live = jax.jit(lambda params: collect(agent, env, trial, params, sample_tasks(env, task_keys), trial_keys))
    batch = jax.jit(outer.batch)(live(meta_params))
    gradient = jax.jit(jax.grad(lambda params, batch: outer.loss(agent, params, batch, 0.0)[0]))
    compiled = gradient.lower(meta_params, batch).compile()
    jax.block_until_ready(compiled(meta_params, batch))
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(compiled(meta_params, batch))
        seconds.append(time.perf_counter() - began)
    memory = compiled.memory_analysis()
    assert memory is not None
    return {
        "num_adapts": num_adapts,
        "width": width,
        "rematerialise": rematerialise,
        "megabytes": round(memory.temp_size_in_bytes / MEGABYTE, 1),
        "seconds": round(statistics.median(seconds), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    load, rows = os.getloadavg()[0], []
    settings = [(k, USUAL_WIDTH) for k in STEPS] + [
        (USUAL_STEPS, width) for width in WIDTHS if width != USUAL_WIDTH
    ]
    for num_adapts, width in settings:
        for rematerialise in (False, True):
            rows.append(measured(num_adapts, width, rematerialise, repeats))
            print(rows[-1], flush=True)
    result = {
        "load_average_at_the_start": load,
        "num_tasks": NUM_TASKS,
        "num_streams": NUM_STREAMS,
        "results": rows,
    }
    save("meta_update", result)
    meta_update_page.write(rows, USUAL_STEPS, USUAL_WIDTH)


if __name__ == "__main__":
    main()
