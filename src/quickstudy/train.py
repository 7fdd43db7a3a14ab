"""The only training loop: updates; every so often evaluate, log, save.

The updates between two lines of metrics are one compiled call; see `updates`. The state that a checkpoint
holds is all there is: a resumed training goes on exactly as if it had never stopped.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from quickstudy import keys, references
from quickstudy.compilation import use_compilation_cache
from quickstudy.curriculum import Goal
from quickstudy.errors import RunError, wrong
from quickstudy.evaluation import evaluate, initial_params, measure, training_split
from quickstudy.experiment import Experiment
from quickstudy.files import write_json
from quickstudy.loggers import Loggers, WandbMode, check_wandb
from quickstudy.maths.statistics import mean_interval
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.progress import progress_display
from quickstudy.run import EVALUATION, Run
from quickstudy.signals import Interrupted, Signals
from quickstudy.start import load_start
from quickstudy.types import PyTree, TrialShape
from quickstudy.updates import (
    MAX_SKIPPED_IN_A_ROW,
    TrainState,
    check_fits,
    device_mesh,
    init_state,
    run_updates,
)


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
    # What does not fit together says so before there is a directory.
    check_fits(experiment)
    if experiment.start is not None:
        _known_policy(experiment, init_state(experiment).outer.meta_params)
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
            experiment.learner,
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
    goal = _goal(experiment, int(state.stage))
    with (
        Loggers(experiment, run, start, _env_steps(experiment, state), wandb) as loggers,
        progress_display(experiment, goal, start, progress) as display,
    ):
        while update < experiment.num_updates and not signals.received:
            began = time.monotonic()
            stop = _next_stop(experiment, state)
            state, metrics = run_updates(experiment, state, stop)
            row = {name: float(value) for name, value in metrics.items()}
            _stop_if_not_finite(state, run)
            seconds = time.monotonic() - began
            row |= loggers.row(stop, _env_steps(experiment, state), seconds, int(state.skipped))
            if experiment.curriculum.lengths:
                row["trial_episodes"] = experiment.stages[int(state.stage)].num_episodes
            update = stop
            evaluated = _is_evaluated(experiment, update)
            if evaluated:
                row |= _validate(experiment, state)
            # The line first: a kill in between costs a line that is written again, never one for good.
            loggers.write(row)
            display.show(row)
            if _stage_is_over(experiment, state, row.get("eval_return"), display.goal):
                state = state._replace(stage=state.stage + 1)
                display.goal = _goal(experiment, int(state.stage))
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
    elif experiment.start is not None:
        state = init_state(experiment, _known_policy(experiment, state.outer.meta_params))
    mesh = device_mesh()
    if mesh is not None:
        state = jax.device_put(state, NamedSharding(mesh, PartitionSpec()))
    return state, int(state.update)


def _known_policy(experiment: Experiment, template: PyTree) -> PyTree:
    """The network of known tasks in the place of the agent's first one."""
    activation = getattr(experiment.agent, "activation", None)
    if activation is None or not isinstance(template, ActorCritic):
        names = "maml, anil or reptile, whose meta-parameters are one such network"
        raise wrong("start", experiment.start, f"None for this agent; a policy of known tasks is for {names}")
    known = load_start(Path(str(experiment.start)), template.without_ratios(), activation, ".network")
    # Deviations of adaptations are nothing that a policy of known tasks has.
    return known.with_ratios(template.log_ratios)


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


def _next_stop(experiment: Experiment, state: TrainState) -> int:
    """The next update at which the host has something to do."""
    update = int(state.update)
    stops = [experiment.num_updates]
    stops += [(update // n + 1) * n for n in (experiment.log_every, experiment.evaluate_every)]
    left = _left_of_stage(experiment, state)
    # A stage that is over already, of a training begun by other rules, ends at the next stop.
    return min(*stops, update + left) if left > 0 else min(stops)


def _is_evaluated(experiment: Experiment, update: int) -> bool:
    return update % experiment.evaluate_every == 0 or update == experiment.num_updates


def _stage_is_over(experiment: Experiment, state: TrainState, mean_return: float | None, goal: Goal) -> bool:
    """Whether a stage of short trials ends here; the return is None where none was measured."""
    if int(state.stage) == len(experiment.stages) - 1:
        return False
    if _left_of_stage(experiment, state) <= 0:
        return True
    return mean_return is not None and experiment.curriculum.is_mastered(mean_return, goal)


def _left_of_stage(experiment: Experiment, state: TrainState) -> int:
    """Updates that the present stage may still have."""
    stage, most = int(state.stage), experiment.updates_of_early_stage
    if most is None or stage == len(experiment.stages) - 1:
        return experiment.num_updates - int(state.update)
    return most - int(state.stage_updates[stage])


def _env_steps(experiment: Experiment, state: TrainState) -> int:
    """Environment steps of all updates so far."""
    updates = np.asarray(state.stage_updates).tolist()
    return sum(n * steps for n, steps in zip(updates, experiment.steps_per_update, strict=True))


def _validate(experiment: Experiment, state: TrainState) -> dict[str, float]:
    """The return on validation tasks: neither those of the training nor those of the last evaluation."""
    trial = experiment.stages[int(state.stage)]
    returns = _measured(experiment, experiment.learner, state.outer.meta_params, trial)
    mean, low, high = mean_interval(returns)
    return {"eval_return": float(mean), "eval_low": float(low), "eval_high": float(high)}


def _measured(experiment: Experiment, agent: Any, meta_params: PyTree, trial: TrialShape) -> np.ndarray:
    """The returns of such trials in the validation tasks."""
    key, env = keys.branch(experiment.seed, keys.VALIDATION), training_split(experiment.env)
    return measure(agent, env, trial, meta_params, experiment.num_validation_tasks, key).total


def _save(run: Run | None, update: int, state: TrainState, mean_return: float) -> None:
    if run is not None:
        run.save(update, state, mean_return)


def _goal(experiment: Experiment, stage: int) -> Goal:
    """What a random agent earns and what may be hoped for: the ends of the progress line."""
    trial, env = experiment.stages[stage], training_split(experiment.env)
    lived = references.remembered(trial)

    def earned(name: str) -> float:
        agent = agents[name]
        meta_params = initial_params(agent, env, lived, experiment.seed)
        return float(_measured(experiment, agent, meta_params, lived).mean())

    agents = references.reference_agents(env, trial)
    best = references.optimum(env, trial)
    if best is not None:
        return Goal(earned("random"), float(best.sum()), exact=True)
    # The classical learners are worth their time only where a stage's end hangs on them.
    others = [earned(name) for name in agents if name != "random"] if stage < len(experiment.stages) - 1 else []
    return Goal(earned("random"), max(others, default=None), exact=False)
