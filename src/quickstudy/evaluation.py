"""The only evaluation: held-out tasks, adaptation curves, intervals, and the references beside them.

Every agent, classical learners included, lives through the same trials in the same tasks with the
same keys; intervals are 95% bootstrap intervals over tasks. The result is a dictionary that JSON can
hold, with the whole protocol in it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys, references
from quickstudy.compilation import use_compilation_cache
from quickstudy.experiment import to_dict
from quickstudy.fingerprint import environment_fingerprint, versions
from quickstudy.maths.statistics import (
    Interval,
    interquartile_mean,
    mean_interval,
    share_interval,
    standard_error,
)
from quickstudy.progress import status_display
from quickstudy.registry import innermost, name_of
from quickstudy.rollout import collect, episode_returns, episode_sums, sample_tasks
from quickstudy.types import Array, Key, PyTree, Transition, Trials, TrialShape

# Steps held in memory at a time, and the fewest and most tasks of a batch.
BATCH_STEPS, MIN_BATCH, MAX_BATCH = 2**20, 16, 4096
OPTIMUM, TASK_KNOWN = "bayes-optimal", "task-known"
NUM_EXAMPLES, MAX_EXAMPLE_STEPS = 3, 200
# With fewer tasks an interval is too rough to found a sentence on.
FEWEST_JUDGED = 30


class Returns(NamedTuple):
    """What was earned in n held-out tasks."""

    episodes: np.ndarray
    """[n, (K+1) E]: the return of each successive episode, mean over streams."""
    success: np.ndarray | None
    """[n]: the share of streams whose last episode succeeded at any time."""
    success_at_end: np.ndarray | None
    """[n]: the share of streams whose last episode succeeded in its last step."""

    @property
    def total(self) -> np.ndarray:
        """[n]: the undiscounted return of the whole trial."""
        return self.episodes.sum(axis=1)


def held_out(env: Any) -> Any:
    """The family's test split, where it has one."""
    return _split(env, "test")


def training_split(env: Any) -> Any:
    """The family's train split, where it has one."""
    return _split(env, "train")


def measure(
    agent: Any,
    env: Any,
    trial: TrialShape,
    meta_params: PyTree,
    num_tasks: int,
    key: Key,
    say: Callable[[str], None] = lambda text: None,
) -> Returns:
    """Live through one trial in each of `num_tasks` tasks, in batches of one compiled shape.

    `say` is told how far it is.
    """
    size = max(MIN_BATCH, min(MAX_BATCH, BATCH_STEPS // trial.steps_per_task(env)))
    size = min(size, num_tasks)
    batches = []
    for start in range(0, num_tasks, size):
        # The last batch starts earlier rather than being shorter: one shape, one compilation.
        first = min(start, num_tasks - size)
        batch = _measure_batch(agent, env, trial, size, meta_params, key, first)
        skip = start - first
        say(f"{min(start + size, num_tasks)}/{num_tasks} held-out tasks")
        batches.append(jax.tree.map(lambda x, skip=skip: np.asarray(x, np.float64)[skip:], batch))
    return Returns(*jax.tree.map(lambda *parts: np.concatenate(parts), *batches))


def evaluate(
    agent: Any,
    env: Any,
    trial: TrialShape | None = None,
    meta_params: PyTree = None,
    *,
    num_tasks: int = 1000,
    seed: int = 0,
    checkpoint: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure an agent on held-out tasks, beside the references -> the evaluation as a dictionary.

    `meta_params=None` takes the agent as it is first made (a classical learner, an untrained net).
    `checkpoint` is the number of updates behind `meta_params`, for the protocol. `progress` shows on
    stderr how far it is.
    """
    use_compilation_cache()
    trial = trial or TrialShape()
    env = held_out(env)
    key = keys.branch(seed, keys.TEST)
    if meta_params is None:
        meta_params = initial_params(agent, env, trial, seed)
    with status_display(progress) as say:
        returns = measure(agent, env, trial, meta_params, num_tasks, key, say)
        others = _measure_references(env, trial, num_tasks, key, seed, say)
    exact = references.optimum(env, trial)
    total = mean_interval(returns.total)
    gain = _gain(returns)
    return {
        "agent": name_of("agent", type(innermost(agent))),
        "env": name_of("env", type(env)),
        "num_tasks": num_tasks,
        "seed": seed,
        "episodes": _curve(returns),
        "total": {**_interval(total), "standard_error": standard_error(returns.total)},
        "success": _share(returns.success),
        "success_at_end": _share(returns.success_at_end),
        "gain": None if gain is None else _interval(gain),
        "verdict": _verdict(returns, total, gain, others["random"], exact),
        "references": _reference_entries(others, exact),
        "optimum_gap_percent": None if exact is None else _gap(total, float(exact.sum())),
        "protocol": {
            "agent": to_dict(agent, "agent"),
            "env": to_dict(env, "env"),
            "trial": to_dict(trial),
            "num_tasks": num_tasks,
            "seed": seed,
            "checkpoint": checkpoint,
            "interval": "95%, expanded percentile bootstrap over tasks, 1000 resamples; Wilson for success",
            "total": "undiscounted return of the whole trial, mean over streams",
            "success": "share of last episodes that succeeded at any time",
            "success_at_end": "share of last episodes that succeeded in their last step",
            "versions": versions(),
            "fingerprint": environment_fingerprint(env),
        },
        "examples": examples(agent, env, trial, meta_params, key),
    }


def initial_params(agent: Any, env: Any, trial: TrialShape, seed: int) -> PyTree:
    """The meta-parameters with which a training from this seed begins."""
    return agent.init(env, trial, keys.branch(seed, keys.INIT))


def examples(agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, key: Key) -> list[dict[str, Any]]:
    """The first held-out trials step by step, for drawings: the first stream of every phase."""
    trials = jax.device_get(_collect(agent, env, trial, NUM_EXAMPLES, meta_params, key, 0))
    return [
        _example(env, jax.tree.map(lambda x, i=i: x[i], trials._replace(key=None))) for i in range(NUM_EXAMPLES)
    ]


def _split(env: Any, split: str) -> Any:
    return dataclasses.replace(env, split=split) if hasattr(env, "split") else env


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _collect(
    agent: Any, env: Any, trial: TrialShape, size: int, meta_params: PyTree, key: Key, first: Array | int
) -> Trials:
    task_keys, trial_keys = keys.per_task(key, first + jnp.arange(size))
    return collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _measure_batch(
    agent: Any, env: Any, trial: TrialShape, size: int, meta_params: PyTree, key: Key, first: Array | int
) -> tuple[Array, Array | None, Array | None]:
    """-> the fields of `Returns`."""
    phases = _collect(agent, env, trial, size, meta_params, key, first).phases
    returns = episode_returns(phases, trial.num_episodes).mean(axis=2)
    episodes = returns.reshape(size, -1)
    if phases.success is None:
        return episodes, None, None

    def share(steps: Array) -> Array:
        """Of the streams whose last episode of the last phase has one of these steps."""
        return (episode_sums(steps, phases, trial.num_episodes)[:, -1, :, -1] > 0).mean(axis=1)

    last_steps = phases.terminated | phases.truncated
    return episodes, share(phases.success), share(phases.success & last_steps)


def _measure_references(
    env: Any, trial: TrialShape, num_tasks: int, key: Key, seed: int, say: Callable[[str], None]
) -> dict[str, Returns]:
    measured, lived = {}, references.remembered(trial)
    for name, agent in references.reference_agents(env, trial).items():

        def say_of(text: str, name: str = name) -> None:
            say(f"{name}: {text}")

        meta_params = initial_params(agent, env, lived, seed)
        measured[name] = measure(agent, env, lived, meta_params, num_tasks, key, say_of)
    if (value := references.task_known_value(env)) is not None:
        measured[TASK_KNOWN] = _task_known(env, trial, value, num_tasks, key)
    return measured


def _task_known(
    env: Any, trial: TrialShape, value: Callable[[PyTree], Array], num_tasks: int, key: Key
) -> Returns:
    """What knowing the task is worth, in the same tasks; no episode teaches anything."""

    def of_task(index: Array) -> Array:
        task_keys, _ = keys.per_task(key, index[None])
        return value(env.sample_task(task_keys[0]))

    values = jax.jit(lambda: jax.lax.map(of_task, jnp.arange(num_tasks), batch_size=MAX_BATCH))()
    num_episodes = (trial.num_adapts + 1) * trial.num_episodes
    return Returns(np.repeat(np.asarray(values, np.float64)[:, None], num_episodes, axis=1), None, None)


def _share(success: np.ndarray | None) -> dict[str, float] | None:
    return None if success is None else _interval(share_interval(success))


def _interval(interval: Interval) -> dict[str, float]:
    return {name: float(value) for name, value in interval._asdict().items()}


def _curve(returns: Returns) -> list[dict[str, float]]:
    means, middle = mean_interval(returns.episodes), interquartile_mean(returns.episodes)
    return [
        {"mean": float(m), "iqm": float(q), "low": float(low), "high": float(high)}
        for m, q, low, high in zip(means.mean, middle, means.low, means.high, strict=True)
    ]


def _reference_entries(others: dict[str, Returns], exact: np.ndarray | None) -> dict[str, Any]:
    entries = {
        name: {**_interval(mean_interval(returns.total)), "exact": False, "episodes": _curve(returns)}
        for name, returns in others.items()
    }
    if exact is not None:
        curve = [{"mean": float(x), "iqm": float(x), "low": float(x), "high": float(x)} for x in exact]
        value = float(exact.sum())
        entries[OPTIMUM] = {"mean": value, "low": value, "high": value, "exact": True, "episodes": curve}
    return entries


def _gain(returns: Returns) -> Interval | None:
    """Last minus first episode, paired by task; None for a trial of one episode."""
    if returns.episodes.shape[1] < 2:
        return None
    return mean_interval(returns.episodes[:, -1] - returns.episodes[:, 0])


def _gap(total: Interval, best: float) -> dict[str, float]:
    """How far below the optimum, in per cent of it."""
    mean, high, low = (100 * (best - float(x)) / abs(best) if best else math.nan for x in total)
    return {"mean": mean, "low": low, "high": high}


def _verdict(
    returns: Returns, total: Interval, gain: Interval | None, random: Returns, exact: np.ndarray | None
) -> dict[str, Any]:
    """One sentence that a reader can trust: learned is True only where the intervals say so."""
    if not (np.isfinite(returns.total).all() and np.isfinite(random.total).all()):
        return _verdict_of(False, "Not measured: some held-out trials have a return that is not finite.")
    if len(returns.total) < FEWEST_JUDGED:
        count = len(returns.total)
        return _verdict_of(
            False, f"Not judged: {count} held-out tasks are too few; at least {FEWEST_JUDGED} are needed."
        )
    said = f"{total.mean:.4g} [{total.low:.4g}, {total.high:.4g}] over the trial"
    floor = f"a random agent's {random.total.mean():.4g}"
    if not mean_interval(returns.total - random.total).low > 0:
        return _verdict_of(False, f"Learned nothing: {said} is not above {floor}.")
    beside = f"above {floor}" if exact is None else _beside_optimum(total, float(exact.sum()))
    if gain is None:
        return _verdict_of(True, f"Better than random: {said}, {beside}; one episode cannot show adaptation.")
    if not gain.low > 0:
        return _verdict_of(
            False,
            f"Does not adapt: {said}, {beside}, but the last episode of a trial is not better than the first.",
        )
    better = f"the last episode is worth {gain.mean:.3g} [{gain.low:.3g}, {gain.high:.3g}] more than the first"
    return _verdict_of(True, f"Learned to learn: {said}, {beside}; {better}.")


def _verdict_of(learned: bool, text: str) -> dict[str, Any]:
    return {"learned": learned, "text": text}


def _beside_optimum(total: Interval, best: float) -> str:
    gap = _gap(total, best)
    if gap["low"] <= 0 <= gap["high"]:
        return f"the best possible, {best:.4g}, lies within the interval"
    side = "below" if gap["mean"] > 0 else "above"
    return f"{abs(gap['mean']):.2g}% {side} the best possible {best:.4g}"


def _example(env: Any, trial: Trials) -> dict[str, Any]:
    phases = jax.tree.map(lambda x: x[:, 0], trial.phases)
    steps: list[dict[str, Any]] = []
    episode = -1
    for phase in range(phases.reward.shape[0]):
        recorded: Transition = jax.tree.map(lambda x, phase=phase: x[phase], phases)
        for t in np.flatnonzero(recorded.mask):
            episode += int(recorded.timestep.first[t])
            action, reward = np.asarray(recorded.action[t]).tolist(), float(recorded.reward[t])
            steps.append({"episode": episode, "action": action, "reward": reward})
    return {
        "task": env.describe(trial.task) if hasattr(env, "describe") else "",
        "labels": env.action_labels(trial.task) if hasattr(env, "action_labels") else None,
        "steps": steps[:MAX_EXAMPLE_STEPS],
    }
