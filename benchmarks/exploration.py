"""Where agents look before they know: MAML, E-MAML and ProMP on the half circle.

    python benchmarks/exploration.py [--seeds 3] [--updates 100]

The goal pays only near it. Each is trained by its preset, on as many environment steps, from seeds by which
nothing was chosen, and measured on 1000 held-out goals: the return of an episode before and after the gradient
step. On the first 400 of them, whether the first phase comes across the goal at all, in any of its streams. The
figure, docs/exploration.svg, shows where it goes, as the share of its steps in each cell; of the first seed.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from machine import save

from quickstudy import keys
from quickstudy.compilation import use_compilation_cache
from quickstudy.evaluation import measure
from quickstudy.experiment import Experiment
from quickstudy.maths.statistics import mean_interval
from quickstudy.presets import preset
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import PyTree
from quickstudy.updates import init_state, run_updates

METHODS = ("maml", "promp", "e-maml")
NUM_TEST_TASKS, NUM_SEARCHED_TASKS = 1000, 400
FIRST_SEED = 10
CELLS, EDGE = 48, 1.5
"""Cells of the figure along each side, and half the side's length."""
PANEL = 240
FIGURE = Path(__file__).parent.parent / "docs" / "exploration.svg"


def experiment(method: str, num_updates: int, seed: int) -> Experiment:
    return dataclasses.replace(preset(method, "semi-circle"), num_updates=num_updates, seed=seed)


def trained(experiment: Experiment) -> tuple[PyTree, dict[str, Any]]:
    began = time.perf_counter()
    state, _ = run_updates(experiment, init_state(experiment), experiment.num_updates)
    meta_params = jax.block_until_ready(state.outer.meta_params)
    seconds = time.perf_counter() - began
    key = keys.branch(experiment.seed, keys.TEST)
    returns = measure(experiment.learner, experiment.env, experiment.trial, meta_params, NUM_TEST_TASKS, key)
    interval = mean_interval(returns.episodes)
    found = {name: [round(float(x), 3) for x in getattr(interval, name)] for name in ("mean", "low", "high")}
    steps = experiment.num_updates * experiment.steps_per_update[0]
    return meta_params, {
        "seed": experiment.seed,
        "returns_before_and_after": found,
        "environment_steps": steps,
        "seconds": round(seconds, 1),
    }


class Search(NamedTuple):
    """What the first phases did in the tasks."""

    found: float
    """Share of the tasks in which any stream earned something."""
    streams: float
    """Share of the streams that did."""
    shares: np.ndarray
    """Of the steps, in each cell [CELLS, CELLS], x first."""


def search(experiment: Experiment, meta_params: PyTree) -> Search:
    indices = jnp.arange(NUM_SEARCHED_TASKS)
    task_keys, trial_keys = keys.per_task(keys.branch(experiment.seed, keys.TEST), indices)
    env = experiment.env
    live = jax.jit(
        lambda params: collect(
            experiment.learner, env, experiment.trial, params, sample_tasks(env, task_keys), trial_keys
        )
    )
    first = jax.tree.map(lambda x: np.asarray(x)[:, 0], live(meta_params).phases)
    found = (first.reward > 0).any(axis=2)
    places = first.timestep.observation.reshape(-1, 2)
    counts = np.histogram2d(*places.T, bins=CELLS, range=[[-EDGE, EDGE]] * 2)[0]
    return Search(float(found.any(axis=1).mean()), float(found.mean()), counts / len(places))


def panel(index: int, title: str, shares: np.ndarray) -> str:
    """One square of the figure."""
    size, left = PANEL / CELLS, index * (PANEL + 20) + 10
    # The square root, so that what is seldom visited is seen, too.
    shade = np.sqrt(shares / shares.max())
    cells = [
        f'<rect x="{left + i * size:.1f}" y="{40 + (CELLS - 1 - j) * size:.1f}" width="{size:.1f}"'
        f' height="{size:.1f}" fill="#1f6feb" fill-opacity="{shade[i, j]:.2f}"/>'
        for i in range(CELLS)
        for j in range(CELLS)
        if shade[i, j] >= 0.02
    ]
    centre, radius = left + PANEL / 2, PANEL / (2 * EDGE)
    middle = 40 + PANEL / 2
    arc = (
        f'<path d="M {centre - radius} {middle} A {radius} {radius} 0 0 1 {centre + radius} {middle}"'
        ' fill="none" stroke="#d1242f" stroke-width="2"/>'
    )
    words = f'<text x="{centre}" y="26" text-anchor="middle">{title}</text>'
    frame = f'<rect x="{left}" y="40" width="{PANEL}" height="{PANEL}" fill="none" stroke="#888"/>'
    return "\n".join([words, *cells, arc, frame])


def drawing(panels: list[tuple[str, np.ndarray]]) -> str:
    width = len(panels) * (PANEL + 20)
    inside = "\n".join(panel(i, *each) for i, each in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {PANEL + 60}" width="{width}"'
        ' font-family="sans-serif" font-size="14">\n'
        "<title>Where the first phase goes on the half circle: share of its steps in each cell</title>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n{inside}\n</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    options = parser.parse_args()
    use_compilation_cache()
    load, panels = os.getloadavg()[0], []
    results: dict[str, dict[str, Any]] = {method: {"runs": []} for method in options.methods}
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        for method in options.methods:
            made = experiment(method, options.updates, seed)
            meta_params, run = trained(made)
            found, streams, shares = search(made, meta_params)
            run |= {"goals_found": round(found, 4), "streams_that_found": round(streams, 4)}
            print(method, run, flush=True)
            results[method]["runs"].append(run)
            if seed == FIRST_SEED:
                panels.append((f"{method}: comes across {found:.0%} of goals", shares))
        FIGURE.write_text(drawing(panels))
        told = {"load_average_at_the_start": load, "num_test_tasks": NUM_TEST_TASKS, "results": results}
        save("exploration", told)


if __name__ == "__main__":
    main()
