"""Whether every memory learns what needs one: the t-maze over a long corridor, and the bandit of ten pulls.

    t-maze    one episode; the cue of the first step tells the turn at the end, 100 or 500 steps later
    bandit    five arms, ten pulls: n=10, k=5 in the literature

Trained from a seed that no setting was chosen by, measured on 20,000 held-out tasks.

    python benchmarks/memory.py [--parts t-maze bandit] [--cores gru lstm …] [--seed 2]

What the file holds of other parts and cores stays.

The corridor is a problem of exploration as much as of memory, for every memory alike: who walks is paid a
hundred times before who turns is paid once, and a policy that is sure of walking never tries to turn. So the
entropy's coefficient begins at 0.5, fifty times what is usual, and falls to a hundredth of that. With 0.1 a GRU
walked and never turned.

Over 500 steps that is not enough: who takes one wrong step in 500 seldom arrives, and turns as seldom. With
0.5, with 2, and with four times the tasks, a policy that arrived was soon sure of walking. So a long corridor
is entered by an agent that has learned to walk and to turn in a shorter one and has only to remember for
longer. What it meets in a corridor five times as long is too new to a recurrent memory: at the first steps of
Adam a policy that turned half of the time walks on, and never turns again (seen in state space and memory,
from 20 to 100). Twice as long, and at a smaller rate, it keeps turning. A transformer that was trained at 60
finds the cue at 200 at once.

A corridor must be left by who knows it, and no sooner. After a fixed number of updates in each both reached
500 with seed 10 (state space 0.999, transformer 0.997, at the end of a training), and with seed 2 neither did
(0.48 and 0.50: they turned by chance). So a corridor is left for the next when a mean return shows that the cue
is used. Settings of these two were then not touched any more: their results are of seed 3.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import time
from typing import Any, NamedTuple, get_args

import jax
from machine import RESULTS, save

from quickstudy import keys
from quickstudy.agents.rl2 import RL2
from quickstudy.compilation import use_compilation_cache
from quickstudy.envs.bandit import Bandit
from quickstudy.envs.t_maze import TMaze
from quickstudy.evaluation import measure
from quickstudy.experiment import Experiment
from quickstudy.maths.statistics import mean_interval
from quickstudy.nets.cores import CoreName
from quickstudy.outer.ppo import PPO
from quickstudy.presets import preset
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates

NUM_TASKS = 20_000
BANDIT_BAR, MAZE_BAR = 6.55, 0.95
LAST_ENTROPY_COEFFICIENT = 0.005
ENOUGH, CHECKED_EVERY = 0.97, 10
"""The return, in so many updates in a row, of who turns by the cue: chance earns half."""


class Maze(NamedTuple):
    """A corridor that is learned."""

    length: int
    num_tasks: int
    """In an update."""
    num_updates: int = 300
    """At most: but for the last corridor, it is left when a mean return of `ENOUGH` has been reached."""
    entropy_coefficient: float = 0.1
    """At first; at last it is `LAST_ENTROPY_COEFFICIENT`."""
    learning_rate: float = 3e-3


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of one core; the rest is the same for all."""

    mazes: tuple[Maze, ...] = (Maze(100, 256, entropy_coefficient=0.5),)
    """Learned one after the other; the last is measured."""
    maze_test_tasks: int = NUM_TASKS
    bandit_updates: int = 1000
    bandit_rate: float = 3e-3
    bandit_tasks: int = 1024
    agent: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Fields of `RL2`."""


SETTINGS: dict[CoreName, Settings] = {
    "gru": Settings(bandit_rate=6e-3),
    "lstm": Settings(),
    "state-space": Settings(
        mazes=(
            Maze(100, 256, 600, 0.5, 2e-3),
            Maze(200, 128, 300, 0.1, 5e-4),
            Maze(350, 64, 300, 0.1, 5e-4),
            Maze(500, 64, 200, 0.1, 5e-4),
        )
    ),
    "transformer": Settings(
        mazes=(
            Maze(20, 256, 400, 0.5),
            Maze(60, 128, 200, 0.05, 1e-3),
            Maze(200, 64, 120, 0.05, 1e-3),
            Maze(500, 32, 80, 0.05, 1e-3),
        ),
        # A step looks at up to 500 others: 20,000 tasks would take longer than the training.
        maze_test_tasks=2000,
        bandit_updates=600,
        agent={"context": 501},
    ),
    "snail": Settings(),
    "fast-weights": Settings(),
    "memory": Settings(
        mazes=(
            Maze(20, 256, 200, 0.5, 1e-3),
            Maze(40, 128, 60, 0.1, 5e-4),
            Maze(80, 128, 60, 0.1, 5e-4),
            Maze(100, 128, 100, 0.1, 5e-4),
        ),
        bandit_updates=600,
        agent={"num_heads": 1},
    ),
}


def t_maze(core: CoreName, seed: int, maze: Maze) -> Experiment:
    settings = SETTINGS[core]
    outer = PPO(
        learning_rate=maze.learning_rate,
        discount=1.0,
        gae_lambda=0.95,
        entropy_coefficient=maze.entropy_coefficient,
        final_entropy_coefficient=LAST_ENTROPY_COEFFICIENT,
        normalise_values=True,
    )
    return Experiment(
        agent=RL2(core=core, **settings.agent),
        env=TMaze(memory_length=maze.length),
        outer=outer,
        trial=TrialShape(num_episodes=1),
        num_tasks=maze.num_tasks,
        num_updates=maze.num_updates,
        seed=seed,
    )


def bandit(core: CoreName, seed: int) -> Experiment:
    settings, tuned = SETTINGS[core], preset("rl2", "bandit")
    return dataclasses.replace(
        tuned,
        agent=RL2(core=core, **settings.agent),
        env=Bandit(num_arms=5),
        outer=dataclasses.replace(tuned.outer, learning_rate=settings.bandit_rate),
        trial=TrialShape(num_episodes=10),
        num_tasks=settings.bandit_tasks,
        num_updates=settings.bandit_updates,
        seed=seed,
    )


def trained(experiment: Experiment, before: Any = None, enough: float = math.inf) -> tuple[Any, int]:
    """-> (meta-parameters, updates) of a training that begins with those of the one `before`, if any, and ends
    where its return is `enough`.
    """
    state = init_state(experiment)
    if before is not None:
        # The same arrays; what a network knows of the trial's length is that of the present one.
        structure = jax.tree.structure(state.outer.meta_params)
        meta_params = jax.tree.unflatten(structure, jax.tree.leaves(before))
        state = state._replace(outer=state.outer._replace(meta_params=meta_params))
    reached = -math.inf
    while reached < enough and state.update < experiment.num_updates:
        stop = min(int(state.update) + CHECKED_EVERY, experiment.num_updates)
        state, metrics = run_updates(experiment, state, stop)
        reached = float(metrics["return"])
    return jax.block_until_ready(state.outer.meta_params), int(state.update)


def learned(experiments: list[Experiment], num_test_tasks: int = NUM_TASKS) -> dict[str, Any]:
    """Train, then measure in the family of the last experiment."""
    load, began = os.getloadavg()[0], time.perf_counter()
    meta_params, updates, experiment = None, [], experiments[-1]
    for stage in experiments:
        meta_params, done = trained(stage, meta_params, math.inf if stage is experiment else ENOUGH)
        updates.append(done)
        print(f"{stage.env}: {done} updates", flush=True)
    seconds = time.perf_counter() - began
    key = keys.branch(experiment.seed, keys.TEST)
    returns = measure(experiment.agent, experiment.env, experiment.trial, meta_params, num_test_tasks, key)
    interval = mean_interval(returns.total)
    steps = sum(
        done * e.num_tasks * e.trial.steps_per_task(e.env) for done, e in zip(updates, experiments, strict=True)
    )
    result: dict[str, Any] = {
        "return": round(float(interval.mean), 4),
        "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
        "training_seconds": round(seconds, 1),
        "load_average_at_the_start": round(load, 2),
        "environment_steps": steps,
        "updates": updates,
        "num_parameters": sum(x.size for x in jax.tree.leaves(meta_params)),
        "seed": experiment.seed,
        "num_test_tasks": num_test_tasks,
    }
    if returns.success is not None:
        result["success"] = round(float(returns.success.mean()), 4)
    return result


def measured(part: str, core: CoreName, seed: int) -> dict[str, Any]:
    settings = {"agent": SETTINGS[core].agent}
    if part == "bandit":
        experiment = bandit(core, seed)
        result = learned([experiment])
        reached = result["return"] >= BANDIT_BAR
    else:
        *before, last = SETTINGS[core].mazes
        experiments = [t_maze(core, seed, maze) for maze in (*before, last)]
        result, experiment = learned(experiments, SETTINGS[core].maze_test_tasks), experiments[-1]
        settings |= {"memory_length": last.length, "learned_before": [maze._asdict() for maze in before]}
        reached = result["return"] >= MAZE_BAR
    settings |= {"learning_rate": experiment.outer.learning_rate}
    settings |= {"num_tasks": experiment.num_tasks, "num_updates": experiment.num_updates}
    return {**result, "reached": reached, **settings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = get_args(CoreName)
    parser.add_argument("--parts", nargs="+", default=["t-maze", "bandit"], choices=["t-maze", "bandit"])
    parser.add_argument("--cores", nargs="+", default=names, choices=names)
    parser.add_argument("--seed", type=int, default=2, help="settings were chosen by 0, 1 and 10")
    options = parser.parse_args()
    use_compilation_cache()
    path = RESULTS / "memory.json"
    for core in options.cores:
        for part in options.parts:
            result = measured(part, core, options.seed)
            # Another call may have written since.
            kept = json.loads(path.read_text())["results"] if path.exists() else {}
            kept[part] = dict(sorted({**kept.get(part, {}), core: result}.items()))
            print(part, core, result, flush=True)
            save("memory", {"num_test_tasks": NUM_TASKS, "bandit_bar": BANDIT_BAR, "results": kept})


if __name__ == "__main__":
    main()
