"""The first and the last episode of a trial in pictures: the agent before it knew its task, and after.

    live    the first held-out trial of the evaluation again, with the same keys, and record its states
    choose  of its first stream, the first episode of the first phase and the last episode of the last phase
    draw    `env.render` of each state, that behind the last step included; of long episodes every n-th

What is seen is the beginning and the end of the first trial that a report draws step by step.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys
from quickstudy.animation import EPISODES, Animation, Episode, encode
from quickstudy.errors import InputError, wrong
from quickstudy.evaluation import NUM_EXAMPLES, held_out
from quickstudy.files import with_disk_errors, write_bytes
from quickstudy.registry import name_of
from quickstudy.rollout import collect, episode_index, sample_tasks
from quickstudy.types import Key, PyTree, Transition, TrialShape

MAX_FRAMES = 60
# Episodes that are shorter are better seen in the report's drawing of all steps.
FEWEST_STEPS = 3


def save_episodes(
    directory: Path, agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, seed: int
) -> str | None:
    """Write the animation into a run directory -> None, or in one line why there is none.

    Where there is none, one of an earlier evaluation goes too. Raises `RunError` where the disk refuses it.
    """
    data, reason = None, None
    try:
        animation = watch(agent, env, trial, meta_params, seed)
        data = None if animation is None else encode(animation)
    except Exception as error:
        # A family's own pictures may fail in any way; the training behind them is finished, and stays.
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        reason = f"no animation of the episodes: {kind}{str(error).strip().split(chr(10))[0]}"
    if data is None:
        with_disk_errors((directory / EPISODES).unlink, missing_ok=True)
    else:
        write_bytes(directory / EPISODES, data)
    return reason


def watch(agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, seed: int = 0) -> Animation | None:
    """The first and the last episode of the first held-out trial; None where they are too short to be watched.

    Raises `InputError` where the family has no pictures.
    """
    env = held_out(env)
    if env.max_steps < FEWEST_STEPS:
        return None
    if not hasattr(env, "render"):
        raise InputError(f"{name_of('env', type(env))} has no render(task, state)")
    task, phases = jax.device_get(_live(agent, env, trial, meta_params, keys.branch(seed, keys.TEST)))
    chosen = _first_and_last(phases, trial)
    longest = max(len(steps.reward) for _, steps in chosen)
    if longest < FEWEST_STEPS:
        return None
    every = math.ceil(longest / (MAX_FRAMES - 1))
    episodes = [_drawn(env, task, number, steps, every) for number, steps in chosen]
    return Animation(env.describe(task) if hasattr(env, "describe") else "", every, episodes)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _live(agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, key: Key) -> tuple[PyTree, Transition]:
    """-> (the first held-out task, the first stream of its trial [K+1, T])"""
    task_keys, trial_keys = keys.per_task(key, jnp.arange(NUM_EXAMPLES))
    tasks = sample_tasks(env, task_keys)
    trials = collect(agent, env, trial, meta_params, tasks, trial_keys, record_state=True)
    return jax.tree.map(lambda x: x[0], tasks), jax.tree.map(lambda x: x[0, :, 0], trials.phases)


def _first_and_last(phases: Transition, trial: TrialShape) -> list[tuple[int, Transition]]:
    """Their numbers within the trial, from 1, and their steps; one where the trial has no other."""
    episodes = trial.num_episodes
    chosen = {1: (0, 0), (trial.num_adapts + 1) * episodes: (trial.num_adapts, episodes - 1)}
    return [(number, _episode(phases, *place)) for number, place in chosen.items()]


def _episode(phases: Transition, phase: int, episode: int) -> Transition:
    steps = jax.tree.map(lambda x: x[phase], phases)
    within = np.flatnonzero(np.asarray(episode_index(steps)) == episode)
    return jax.tree.map(lambda x: x[within], steps)


def _drawn(env: Any, task: PyTree, number: int, steps: Transition, every: int) -> Episode:
    length = len(steps.reward)
    frames = [_picture(env, task, _at(steps.extras["state"], t)) for t in range(0, length, every)]
    frames.append(_picture(env, task, _at(steps.extras["next_state"], length - 1)))
    return Episode(number, float(steps.reward.sum()), length, frames)


def _at(states: PyTree, t: int) -> PyTree:
    return jax.tree.map(lambda x: x[t], states)


def _picture(env: Any, task: PyTree, state: PyTree) -> np.ndarray:
    # A renderer may hand out the same memory each time.
    picture = np.array(env.render(task, state))
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or picture.size == 0:
        raise wrong("render", f"{picture.dtype} {list(picture.shape)}", "uint8 [H, W, 3]")
    return picture
