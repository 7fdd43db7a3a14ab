"""The only training loop: sample tasks → collect → update; every so often evaluate, log, save.

The updates between two lines of metrics are one compiled call. Every random key is made from the
seed and the number of the update, so the state that a checkpoint holds is all there is: a resumed
training goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from quickstudy import keys, references
from quickstudy.compilation import use_compilation_cache
from quickstudy.errors import RunError, wrong
from quickstudy.evaluation import evaluate, held_out, initial_params, measure, training_split
from quickstudy.experiment import Experiment
from quickstudy.files import write_json
from quickstudy.loggers import Loggers, WandbMode, check_wandb
from quickstudy.maths.statistics import mean_interval
from quickstudy.progress import Goal, progress_display
from quickstudy.rollout import collect, sample_tasks
from quickstudy.run import EVALUATION, Run
from quickstudy.signals import Interrupted, Signals
from quickstudy.types import Array, Key, PyTree, Trials, TrialShape

MAX_SKIPPED_IN_A_ROW = 10


class TrainState(NamedTuple):
    """All that changes in a training; what a checkpoint holds."""

    outer: Any
    update: Array
    """int32: updates done, skipped ones included."""
    skipped: Array
    """int32: updates that were not finite and did not count."""
    skipped_in_a_row: Array


class Trained(NamedTuple):
    """What a training ends with."""

    meta_params: PyTree
    evaluation: dict[str, Any]
    directory: Path | None
    seconds: float
    """Of training, compilation included, evaluation at the end not."""


def train(
    experiment: Experiment,
    out: Path | str | None = None,
    *,
    progress: bool = True,
    wandb: WandbMode = "off",
) -> Trained:
    """Meta-train and evaluate; with `out`, keep everything in a new run directory.

    Raises `InputError` where the experiment cannot run or `out` exists, `RunError` where the run
    cannot go on, `Interrupted` (after saving) on an interrupt.
    """
    experiment.check_trainable()
    check_devices(experiment)
    check_wandb(wandb)
    # What does not fit together (an agent and an action space, an outer loop and a trial) says so before
    # there is a directory.
    jax.eval_shape(lambda: run_updates(experiment, init_state(experiment), 1))
    run = None if out is None else Run.create(out, experiment)
    return _train(experiment, run, progress, wandb)


def resume(
    directory: Path | str,
    *,
    progress: bool = True,
    wandb: WandbMode = "off",
    allow_code: bool = False,
) -> Trained:
    """Go on with the training in a run directory, from its newest readable checkpoint."""
    run = Run.open(directory, allow_code)
    run.experiment.check_trainable()
    check_devices(run.experiment)
    check_wandb(wandb)
    return _train(run.experiment, run, progress, wandb)


def init_state(experiment: Experiment) -> TrainState:
    """The state before the first update."""
    env = training_split(experiment.env)
    meta_params = initial_params(experiment.agent, env, experiment.trial, experiment.seed)
    k_outer = keys.branch(experiment.seed, keys.OUTER)
    zero = jnp.zeros((), jnp.int32)
    return TrainState(experiment.outer.init(experiment.agent, meta_params, k_outer), zero, zero, zero)


def run_updates(experiment: Experiment, state: TrainState, stop: int) -> tuple[TrainState, dict[str, Array]]:
    """Updates up to number `stop` in one compiled call -> (state, mean metrics)."""
    return _chunk(
        experiment.agent,
        training_split(experiment.env),
        experiment.outer,
        experiment.trial,
        experiment.num_tasks,
        device_mesh(),
        state,
        stop,
        experiment.num_updates,
        keys.branch(experiment.seed, keys.TRAIN),
    )


def device_mesh() -> Mesh | None:
    """All devices along the tasks; None where there is one."""
    devices = jax.devices()
    return Mesh(np.array(devices), ("tasks",)) if len(devices) > 1 else None


def check_devices(experiment: Experiment) -> None:
    """Raise `InputError` where the tasks cannot be shared out evenly."""
    if experiment.num_tasks % len(jax.devices()):
        count = len(jax.devices())
        raise wrong("num_tasks", experiment.num_tasks, f"a multiple of the number of devices, {count}")


def _train(experiment: Experiment, run: Run | None, progress: bool, wandb: WandbMode) -> Trained:
    use_compilation_cache()
    with contextlib.nullcontext() if run is None else run.locked():
        # Until the last save is on the disk a signal is a wish; after it, it may end the process.
        with Signals() as signals:
            state, seconds = _run_to_the_end(experiment, run, progress, wandb, signals)
        if signals.received and int(state.update) < experiment.num_updates:
            raise Interrupted(signals.received, int(state.update))
        evaluation = evaluate(
            experiment.agent,
            experiment.env,
            experiment.trial,
            state.outer.meta_params,
            num_tasks=experiment.num_test_tasks,
            checkpoint=int(state.update),
            progress=progress,
        )
        if run is not None:
            write_json(run.directory / EVALUATION, evaluation)
    directory = None if run is None else run.directory
    return Trained(state.outer.meta_params, evaluation, directory, seconds)


def _run_to_the_end(
    experiment: Experiment, run: Run | None, progress: bool, wandb: WandbMode, signals: Signals
) -> tuple[TrainState, float]:
    """All updates that are left, with all that happens between them -> (state, seconds)."""
    state, start = _start(experiment, run)
    update, saved = start, None
    with (
        Loggers(experiment, run, start, wandb) as loggers,
        progress_display(experiment, _goal(experiment), start, progress) as display,
    ):
        while update < experiment.num_updates and not signals.received:
            began = time.monotonic()
            stop = _next_stop(experiment, update)
            state, metrics = run_updates(experiment, state, stop)
            row = {name: float(value) for name, value in metrics.items()}
            _stop_if_not_finite(state, run)
            row |= loggers.row(stop, stop - update, time.monotonic() - began, int(state.skipped))
            update = stop
            evaluated = _is_evaluated(experiment, update)
            if evaluated:
                row |= _validate(experiment, state)
            # The line first: a kill in between costs a line that is written again, never one for good.
            loggers.write(row)
            display.show(row)
            if evaluated:
                _save(run, update, state, row["eval_return"])
                saved = update
            loggers.seconds += time.monotonic() - began
        if saved != update:
            # A signal came between two checkpoints, or nothing was left to do.
            _save(run, update, state, _validate(experiment, state)["eval_return"])
        return state, loggers.seconds


def _start(experiment: Experiment, run: Run | None) -> tuple[TrainState, int]:
    """The newest checkpoint's state, or a new one."""
    state = init_state(experiment)
    restored = None if run is None else run.restore(state)
    if restored is not None:
        state, _ = restored
    mesh = device_mesh()
    if mesh is not None:
        state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    return state, int(state.update)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))
def _chunk(
    agent: Any,
    env: Any,
    outer: Any,
    trial: TrialShape,
    num_tasks: int,
    mesh: Mesh | None,
    state: TrainState,
    stop: Array,
    num_updates: Array,
    key: Key,
) -> tuple[TrainState, dict[str, Array]]:
    def update(state: TrainState) -> tuple[TrainState, dict[str, Array]]:
        k_tasks, k_outer = jax.random.split(jax.random.fold_in(key, state.update))
        trials = _collect(agent, env, trial, num_tasks, mesh, state.outer.meta_params, k_tasks)
        progress = state.update / num_updates
        new, metrics = outer.update(agent, state.outer, trials, progress, k_outer)
        metrics = {"return": _mean_return(trials), **metrics}
        return _keep_finite(state, new, metrics)

    def body(_: Array, carry: tuple[TrainState, dict[str, Array]]) -> tuple[TrainState, dict[str, Array]]:
        state, sums = carry
        state, metrics = update(state)
        return state, jax.tree.map(jnp.add, sums, metrics)

    shapes = jax.eval_shape(update, state)[1]
    sums = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    start, skipped = state.update, state.skipped
    state, sums = jax.lax.fori_loop(start, stop, body, (state, sums))
    counted = (stop - start) - (state.skipped - skipped)
    return state, jax.tree.map(lambda x: x / counted, sums)


def _collect(
    agent: Any, env: Any, trial: TrialShape, num_tasks: int, mesh: Mesh | None, meta_params: PyTree, key: Key
) -> Trials:
    """Fresh tasks and the trials in them; each device takes its share of the tasks."""

    def live(meta_params: PyTree, indices: Array) -> Trials:
        task_keys, trial_keys = keys.per_task(key, indices)
        return collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)

    indices = jnp.arange(num_tasks)
    if mesh is None:
        return live(meta_params, indices)
    tasks = PartitionSpec("tasks")
    sharded = jax.shard_map(
        live, mesh=mesh, in_specs=(PartitionSpec(), tasks), out_specs=tasks, check_vma=False
    )
    return sharded(meta_params, indices)


def _mean_return(trials: Trials) -> Array:
    """The undiscounted return of a trial: all phases, mean over tasks and streams."""
    phases = trials.phases
    return (phases.reward * phases.mask).sum(axis=(1, 3)).mean()


def _keep_finite(state: TrainState, new: Any, metrics: dict[str, Array]) -> tuple[TrainState, dict[str, Array]]:
    """Take an update only if its meta-parameters and metrics are finite; count it as skipped otherwise."""
    floats = [x for x in jax.tree.leaves((new.meta_params, metrics)) if jnp.issubdtype(x.dtype, jnp.inexact)]
    fine = jnp.stack([jnp.isfinite(x).all() for x in floats]).all()
    outer = jax.tree.map(lambda new, old: jnp.where(fine, new, old), new, state.outer)
    metrics = {name: jnp.where(fine, value, 0.0) for name, value in metrics.items()}
    bad = 1 - fine.astype(jnp.int32)
    # Once so many came in a row the count stays, however the updates after them went: the host looks later.
    in_a_row = jnp.where(
        state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW,
        state.skipped_in_a_row,
        (state.skipped_in_a_row + 1) * bad,
    )
    return TrainState(outer, state.update + 1, state.skipped + bad, in_a_row), metrics


def _stop_if_not_finite(state: TrainState, run: Run | None) -> None:
    if int(state.skipped_in_a_row) < MAX_SKIPPED_IN_A_ROW:
        return
    kept = ""
    if run is not None:
        last = run.checkpoints.latest()
        kept = (
            "; no checkpoint was made before" if last is None else f"; checkpoint {last} is the last good one"
        )
    raise RunError(
        f"{MAX_SKIPPED_IN_A_ROW} updates in a row, before update {int(state.update)}, were not finite: the "
        f"loss, its gradient or the rewards hold NaN or infinity (a lower learning rate may help){kept}"
    )


def _next_stop(experiment: Experiment, update: int) -> int:
    """The next update at which the host has something to do."""
    every = (experiment.log_every, experiment.evaluate_every)
    return min(experiment.num_updates, *((update // n + 1) * n for n in every))


def _is_evaluated(experiment: Experiment, update: int) -> bool:
    return update % experiment.evaluate_every == 0 or update == experiment.num_updates


def _validate(experiment: Experiment, state: TrainState) -> dict[str, float]:
    """The return on validation tasks: neither those of the training nor those of the last evaluation."""
    key = keys.branch(experiment.seed, keys.VALIDATION)
    env, trial, count = training_split(experiment.env), experiment.trial, experiment.num_validation_tasks
    returns = measure(experiment.agent, env, trial, state.outer.meta_params, count, key)
    mean, low, high = mean_interval(returns.total)
    return {"eval_return": float(mean), "eval_low": float(low), "eval_high": float(high)}


def _save(run: Run | None, update: int, state: TrainState, mean_return: float) -> None:
    if run is not None:
        run.save(update, state, mean_return)


def _goal(experiment: Experiment) -> Goal:
    """What a random agent earns and what the best possible would: the ends of the progress line."""
    env, trial = held_out(experiment.env), experiment.trial
    agent = references.reference_agents(env, trial)["random"]
    meta_params = initial_params(agent, env, trial, experiment.seed)
    key = keys.branch(experiment.seed, keys.VALIDATION)
    random = measure(agent, env, trial, meta_params, experiment.num_validation_tasks, key).total.mean()
    best = references.optimum(env, trial)
    return Goal(float(random), None if best is None else float(best.sum()))
