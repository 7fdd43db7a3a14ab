"""Environment steps a second of MAML's meta-training, and the share of the machine's floating-point limit.

    python benchmarks/maml_throughput.py [--updates 10] [--repeats 5]

MAML by TRPO on point navigation at the sizes at which pytorch-maml-rl was measured (20 tasks × 20 episodes ×
100 steps, two layers of 64, one inner step): sampling of both phases and the meta-update together, by the very
updates that `train` makes. Its figure on a machine of this kind, 21,000 to 25,000 steps a second, is a constant
here; it was not run beside ours.

Floating-point operations of an update are counted from the networks' sizes: what a multiplication by a layer's
weights takes, forward, backward and along a tangent; everything else is left out. The limit is the best product
of two matrices of 2048 that this process reached.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
from machine import save

from quickstudy.agents.maml import MAML
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.experiment import Experiment
from quickstudy.outer.trpo import TRPO
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates

NUM_TASKS, NUM_STREAMS = 20, 20
PEER = (21_000, 25_000)
"""pytorch-maml-rl, the best of its thread settings, in another run on such a machine."""


def experiment(width: int, fisher_share: float) -> Experiment:
    outer = TRPO(baseline="linear", credit="episode", phases="last", gae_lambda=1.0, fisher_share=fisher_share)
    return Experiment(
        agent=MAML(hidden_sizes=(width, width)),
        env=PointNavigation(),
        outer=outer,
        trial=TrialShape(1, NUM_STREAMS, 1),
        num_tasks=NUM_TASKS,
        num_updates=100_000,
    )


def operations(experiment: Experiment) -> float:
    """Floating-point operations of one update, of products with weights alone.

    A product with all weights of a step is 1. Sampling: 1 a phase. The gradient: the inner one 3 (forward, and
    back to inputs and weights), its derivative 6 more, the last phase 3. A product with F over a share of the
    streams: along the tangent 6 for the inner gradient and 2 for the last phase, back 6 and 2. The search: 3 +
    1 for each of its tries, of which one is counted.
    """
    (width, _), outer = experiment.agent.hidden_sizes, experiment.outer
    space = experiment.env
    num_in, num_out = space.observation_space.shape[0], space.action_space.shape[0]
    product = 2 * (num_in * width + width * width + width * num_out)
    steps = experiment.num_tasks * experiment.trial.num_streams * experiment.env.max_steps
    products = 2 + (3 + 6 + 3) + outer.num_conjugate_steps * outer.fisher_share * 16 + 4
    return float(steps * product * products)


def steps_per_second(experiment: Experiment, num_updates: int, repeats: int) -> dict[str, Any]:
    state, _ = run_updates(experiment, init_state(experiment), 1)
    rates = []
    for _ in range(repeats):
        start = int(state.update)
        began = time.perf_counter()
        state, _ = run_updates(experiment, state, start + num_updates)
        jax.block_until_ready(state)
        rates.append(num_updates * experiment.steps_per_update[0] / (time.perf_counter() - began))
    median = statistics.median(rates)
    update_seconds = experiment.steps_per_update[0] / median
    return {
        "width": experiment.agent.hidden_sizes[0],
        "fisher_share": experiment.outer.fisher_share,
        "steps_per_second": round(median),
        "of_each_repeat": [round(rate) for rate in rates],
        "times_the_peer": [round(median / peer, 1) for peer in reversed(PEER)],
        "gigaflops": round(operations(experiment) / update_seconds / 1e9, 1),
    }


def limit() -> float:
    """Gigaflops of the best of many products of large matrices."""
    x = jax.random.normal(jax.random.key(0), (2048, 2048))
    product = jax.jit(jnp.dot)
    jax.block_until_ready(product(x, x))
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        jax.block_until_ready(product(x, x))
        seconds.append(time.perf_counter() - began)
    return 2 * 2048**3 / min(seconds) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    load, peak = os.getloadavg()[0], limit()
    rows = []
    for width, share in ((64, 1.0), (64, 0.2), (100, 0.2)):
        row = steps_per_second(experiment(width, share), options.updates, options.repeats)
        rows.append({**row, "share_of_the_limit": round(row["gigaflops"] / peak, 3)})
        print(rows[-1], flush=True)
    peer = {
        "name": "pytorch-maml-rl",
        "steps_per_second": PEER,
        "width": 64,
        "measured": "elsewhere, such a machine",
    }
    save(
        "maml_throughput",
        {"load_average_at_the_start": load, "limit_gigaflops": round(peak), "peer": peer, "results": rows},
    )


if __name__ == "__main__":
    main()
