"""Learning from scratch: agents that begin anew in every task, examined as they go on; no outer loop.

    in N tasks at once:   a life of K adaptations (`lives`)
    at its start, and then `num_exams` times:   fresh episodes by the policy's mode, the same ones each time

The tasks are those that an evaluation with the same seed holds out. A run directory holds

    learning.json      everything resolved: the settings, versions, machine, environment fingerprint
    exams.json         what was measured so far: a line for each exam, all of it protocol
    checkpoints/K/     all lives after K adaptations (the last three, and the best)
    report.html        all of it for a person
"""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from quickstudy import keys, lives, references
from quickstudy.compilation import use_compilation_cache
from quickstudy.errors import RunError, wrong
from quickstudy.evaluation import initial_params
from quickstudy.files import read_json, write_json
from quickstudy.fingerprint import environment_fingerprint, machine, versions
from quickstudy.learning_record import EXAMS, Row, exams_record, read_rows
from quickstudy.learning_settings import (
    LEARNING,
    TASK_SETS,
    Learning,
    TaskSet,
    check_learns,
    read_learning,
    to_record,
)
from quickstudy.lives import Lives
from quickstudy.progress import clock_text, count_text, status_display
from quickstudy.references.random_agent import Random
from quickstudy.registry import name_of
from quickstudy.rollout import sample_tasks
from quickstudy.run import Run, check_new_directory, make_directory
from quickstudy.signals import Interrupted, Signals
from quickstudy.start import load_start
from quickstudy.types import Key, PyTree

# A life is told about this often.
STRETCHES = 200


class Learned(NamedTuple):
    """What a learning ends with."""

    meta_params: PyTree
    lives: Lives
    exams: dict[str, Any]
    directory: Path | None


class _Classroom(NamedTuple):
    """Everything of a learning that does not change with it."""

    learning: Learning
    env: Any
    meta_params: PyTree
    tasks: PyTree
    """[N, ...]"""
    life_keys: Key
    exam_keys: Key
    """[N]; the learners of one task sit the same exam."""


def learn(learning: Learning, out: Path | str | None = None, *, progress: bool = True) -> Learned:
    """Let the learners live; with `out`, keep everything in a new run directory.

    Raises `InputError` where the agent cannot learn there or `out` exists, `RunError` where a learner's
    weights are no longer finite, `Interrupted` (after saving) on an interrupt.
    """
    check_learns(learning.agent)
    classroom = _classroom(learning)
    return _learn(classroom, None if out is None else _create(Path(out), learning), progress)


def resume_learning(directory: Path | str, *, progress: bool = True, allow_code: bool = False) -> Learned:
    """Go on with the lives in a run directory, from its newest readable checkpoint."""
    learning = read_learning(directory, allow_code)
    fingerprint = read_json(Path(directory) / LEARNING).get("fingerprint", {})
    return _learn(_classroom(learning), Run(Path(directory), learning, fingerprint), progress)


def sampled_tasks(tasks: TaskSet, env: Any, seed: int, numbers: ArrayLike) -> tuple[Any, PyTree]:
    """-> (the family's split, the tasks [n, ...] of it with these numbers)"""
    use, split = TASK_SETS[tasks]
    env = split(env)
    return env, sample_tasks(env, keys.per_task(keys.branch(seed, use), numbers)[0])


def _classroom(learning: Learning) -> _Classroom:
    use_compilation_cache()
    of_task = np.arange(learning.num_learners) // learning.num_seeds
    env, tasks = sampled_tasks(learning.tasks, learning.env, learning.seed, of_task)
    meta_params = initial_params(learning.agent, env, lives.as_trial(learning.life, env), learning.seed)
    meta_params = _begun_with(learning, meta_params)
    use, _ = TASK_SETS[learning.tasks]
    _, life_keys = keys.per_task(keys.branch(learning.seed, use), np.arange(learning.num_learners))
    exam_keys, _ = keys.per_task(keys.branch(learning.seed, keys.EXAM), of_task)
    return _Classroom(learning, env, meta_params, tasks, life_keys, exam_keys)


def _begun_with(learning: Learning, meta_params: PyTree) -> PyTree:
    """The `meta_params` as the agent made them, or those in the directory that it begins with."""
    agent, start = learning.agent, learning.start
    if start is None and not getattr(agent, "needs_start", False):
        return meta_params
    name = name_of("agent", type(agent))
    if start is None:
        expected = f"a directory with a policy of known tasks for {name}: merged/ of a `quickstudy transfer`"
        raise wrong("start", None, expected)
    if not (jax.tree.leaves(meta_params) and hasattr(agent, "activation")):
        raise wrong("start", start, f"None for {name}, which begins anew in every task")
    return load_start(Path(start), meta_params, agent.activation)


def _create(directory: Path, learning: Learning) -> Run:
    check_new_directory(directory)
    fingerprint = environment_fingerprint(learning.env)
    beside = {"versions": versions(), "machine": machine(), "fingerprint": fingerprint}
    make_directory(directory)
    write_json(directory / LEARNING, {**to_record(learning), **beside})
    return Run(directory, learning, fingerprint)


def _learn(classroom: _Classroom, run: Run | None, progress: bool) -> Learned:
    with contextlib.nullcontext() if run is None else run.locked():
        state, rows = _start(classroom, run)
        with Signals() as signals, status_display(progress, "learning") as say:
            state = _live_on(classroom, run, state, rows, signals, say)
        if len(rows) <= classroom.learning.num_exams:
            raise Interrupted(signals.received, int(state.num_adapts), "adaptations")
        record = _record(classroom, rows) | _references(classroom)
        if run is not None:
            write_json(run.directory / EXAMS, record)
    return Learned(classroom.meta_params, state, record, None if run is None else run.directory)


def _record(classroom: _Classroom, rows: list[Row]) -> dict[str, Any]:
    learning = classroom.learning
    names = {"agent": name_of("agent", type(learning.agent)), "env": name_of("env", type(learning.env))}
    shape = (learning.num_tasks, learning.num_seeds)
    exams = exams_record(rows, shape, learning.life.steps_per_adapt, learning.solved)
    protocol = {
        **to_record(learning),
        "exam": "fresh episodes by the policy's mode, the same ones each time; nothing is learned from them",
        "seconds": "of the whole process up to the exam, compilation and exams included",
        "versions": versions(),
        "machine": machine(),
        "fingerprint": environment_fingerprint(learning.env),
    }
    return {**names, **exams, "protocol": protocol}


def _references(classroom: _Classroom) -> dict[str, Any]:
    """A random agent in the same exams; what knowing the task is worth, where that can be computed."""
    learning, env, agent = classroom.learning, classroom.env, Random()
    meta_params = agent.init(env, lives.as_trial(learning.life, env), classroom.exam_keys[0])
    task_params = jax.vmap(lambda key: agent.init_task(meta_params, key))(classroom.exam_keys)
    exam = lives.examine(
        agent, env, meta_params, task_params, classroom.tasks, classroom.exam_keys, learning.num_episodes, False
    )
    value = references.task_known_value(env)
    known = None if value is None else float(jax.jit(jax.vmap(value))(classroom.tasks).mean())
    return {"random": float(exam.returns.mean()), "task_known": known}


def _live_on(
    classroom: _Classroom, run: Run | None, state: Lives, rows: list[Row], signals: Signals, say: Any
) -> Lives:
    """All that is left of the lives, or until a signal; `rows` grow by an exam at each of its times."""
    learning = classroom.learning
    started = _Started(time.monotonic(), rows[-1].seconds if rows else 0.0, int(state.num_adapts))
    if not rows:
        rows.append(_exam(classroom, state, 0.0, math.nan))
    while len(rows) <= learning.num_exams and not signals.received:
        stop, ended, earned = learning.exam_adapts[len(rows)], 0.0, 0.0
        while (done := int(state.num_adapts)) < stop and not signals.received:
            stretch = min(stop - done, max(1, learning.life.num_adapts // STRETCHES))
            state, lived = lives.live(
                learning.agent, classroom.env, learning.life, classroom.meta_params, state, stretch
            )
            ended, earned = ended + float(lived.num_episodes.sum()), earned + float(lived.total_return.sum())
            say(_progress(learning, started, done + stretch, earned / ended if ended else math.nan))
        # Before anything is saved: the last checkpoint stays a good one.
        _stop_if_not_finite(state)
        if int(state.num_adapts) == stop:
            rows.append(_exam(classroom, state, started.seconds(), earned / ended if ended else math.nan))
        if run is not None:
            write_json(run.directory / EXAMS, _record(classroom, rows))
            run.save(int(state.num_adapts), state, rows[-1].mean)
    return state


def _start(classroom: _Classroom, run: Run | None) -> tuple[Lives, list[Row]]:
    """The newest checkpoint's lives with the exams before them, or new ones."""
    learning = classroom.learning
    state = lives.begin(
        learning.agent,
        classroom.env,
        learning.life,
        classroom.meta_params,
        classroom.tasks,
        classroom.life_keys,
    )
    restored = None if run is None else run.restore(state)
    if run is None or restored is None:
        return state, []
    state, rows = restored[0], read_rows(run.directory)
    return state, [row for row in rows if row.adapts <= int(state.num_adapts)]


def _exam(classroom: _Classroom, state: Lives, seconds: float, earned: float) -> Row:
    learning = classroom.learning
    exam = lives.examine(
        learning.agent,
        classroom.env,
        classroom.meta_params,
        state.task_params,
        classroom.tasks,
        classroom.exam_keys,
        learning.num_episodes,
    )
    returns = np.asarray(exam.returns, np.float64).mean(1)
    success = None if exam.success is None else np.asarray(exam.success, np.float64).mean(1).tolist()
    return Row(int(state.num_adapts), round(seconds, 3), earned, returns.tolist(), success)


def _stop_if_not_finite(state: Lives) -> None:
    floats = [x for x in jax.tree.leaves(state.task_params) if jnp.issubdtype(x.dtype, jnp.floating)]
    if not all(bool(jnp.isfinite(x).all()) for x in floats):
        raise RunError(
            f"after {int(state.num_adapts)} adaptations some learner's weights are not finite "
            "(a lower learning rate may help)"
        )


class _Started(NamedTuple):
    """When this process began, with what was behind it."""

    at: float
    seconds_before: float
    adapts_before: int

    def seconds(self) -> float:
        """Of the whole learning so far."""
        return self.seconds_before + time.monotonic() - self.at


def _progress(learning: Learning, started: _Started, adapts: int, earned: float) -> str:
    steps, all_steps = (n * learning.life.steps_per_adapt for n in (adapts, learning.life.num_adapts))
    rate = max((adapts - started.adapts_before) / max(time.monotonic() - started.at, 1e-9), 1e-9)
    left = (learning.life.num_adapts - adapts) / rate
    words = [
        f"{count_text(steps)} of {count_text(all_steps)} steps in each of {learning.num_learners} lives",
        f"{count_text(rate * learning.life.steps_per_adapt * learning.num_learners)} steps/s",
        f"{clock_text(left)} left",
    ]
    if math.isfinite(earned):
        words.append(f"return {earned:.4g}")
    return " · ".join(words)
