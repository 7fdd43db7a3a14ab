"""Environment steps a second of meta-training, collection and update together, and its distance to the limit.

The work is that of `quickstudy train rl2 bandit` with its defaults (GRU of 64 units). The limit is the
time that the matrix products of one update would take alone: each product is timed at its own shape,
in one compiled loop, and multiplied by how often one update needs it.

    python benchmarks/throughput.py [--hidden-sizes 64 128 256] [--repeats 7]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from machine import save

from quickstudy.experiment import Experiment
from quickstudy.presets import preset
from quickstudy.updates import init_state, run_updates

UPDATES = 20
PRODUCTS = 200


class Product(NamedTuple):
    """[rows, inner] × [inner, columns], `uses` times in one update."""

    rows: int
    inner: int
    columns: int
    uses: int


def seconds_each(run: Callable[[], Any], count: int, repeats: int) -> float:
    """Median over repeats of the seconds that one of `count` takes, after one call to warm up."""
    jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run())
        times.append((time.perf_counter() - began) / count)
    return statistics.median(times)


def update_seconds(experiment: Experiment, repeats: int) -> tuple[float, float]:
    """(seconds of one update, seconds of the first call with its compilation)."""
    state = init_state(experiment)
    began = time.perf_counter()
    state, _ = jax.block_until_ready(run_updates(experiment, state, 1))
    first = time.perf_counter() - began
    start = int(state.update)
    return seconds_each(lambda: run_updates(experiment, state, start + UPDATES), UPDATES, repeats), first


def products(experiment: Experiment) -> list[Product]:
    """Every matrix product of one update of PPO on RL²: collection, then forward and backward passes."""
    outer, hidden = experiment.outer, experiment.agent.hidden_size
    steps, arms = experiment.trial.num_steps(experiment.env), experiment.env.num_arms
    inputs = 1 + arms + 2
    tasks = experiment.num_tasks
    rows = tasks // outer.num_minibatches
    passes = outer.num_epochs * outer.num_minibatches
    collecting = [
        Product(tasks, inputs, 3 * hidden, steps),
        Product(tasks, hidden, 3 * hidden, steps),
        Product(tasks, hidden, arms, steps),
        Product(tasks, hidden, 1, steps),
    ]
    whole = rows * steps
    forward = [
        Product(whole, inputs, 3 * hidden, passes),
        Product(rows, hidden, 3 * hidden, passes * steps),
        Product(whole, hidden, arms, passes),
        Product(whole, hidden, 1, passes),
    ]
    backward = [
        Product(inputs, whole, 3 * hidden, passes),
        Product(rows, 3 * hidden, hidden, passes * steps),
        Product(hidden, rows, 3 * hidden, passes * steps),
        Product(whole, arms, hidden, passes),
        Product(hidden, whole, arms, passes),
        Product(whole, 1, hidden, passes),
        Product(hidden, whole, 1, passes),
    ]
    return collecting + forward + backward


def product_seconds(product: Product, repeats: int) -> float:
    """Of one product, measured in a loop whose every round depends on the one before."""
    k_left, k_right = jax.random.split(jax.random.key(0))
    left = jax.random.normal(k_left, (product.rows, product.inner))
    right = jax.random.normal(k_right, (product.inner, product.columns))

    @jax.jit
    def loop(left: jax.Array, right: jax.Array) -> jax.Array:
        def body(_: jax.Array, left: jax.Array) -> jax.Array:
            return left.at[0, 0].set((left @ right)[-1, -1] * 1e-3)

        return jax.lax.fori_loop(0, PRODUCTS, body, left)

    return seconds_each(lambda: loop(left, right), PRODUCTS, repeats)


def measure(experiment: Experiment, repeats: int) -> dict[str, Any]:
    seconds, first = update_seconds(experiment, repeats)
    needed = products(experiment)
    limit = sum(product.uses * product_seconds(product, repeats) for product in needed)
    flops = sum(2 * p.rows * p.inner * p.columns * p.uses for p in needed)
    return {
        "hidden_size": experiment.agent.hidden_size,
        "num_tasks": experiment.num_tasks,
        "steps_per_update": experiment.steps_per_update[-1],
        "steps_per_second": round(experiment.steps_per_update[-1] / seconds),
        "first_call_seconds": round(first, 2),
        "update_seconds": seconds,
        "matrix_products_seconds": limit,
        "matrix_products_share": round(limit / seconds, 3),
        "gflops_per_second": round(flops / seconds / 1e9, 1),
        "gflops_per_second_of_products_alone": round(flops / limit / 1e9, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden-sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    experiment = preset("rl2", "bandit")
    results = []
    for hidden_size in options.hidden_sizes:
        agent = dataclasses.replace(experiment.agent, hidden_size=hidden_size)
        results.append(measure(dataclasses.replace(experiment, agent=agent), options.repeats))
        print(results[-1], flush=True)
    print(save("throughput", {"results": results}))


if __name__ == "__main__":
    main()
