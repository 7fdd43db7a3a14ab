"""Updates, compiled: sample tasks → collect → update, many times in one call.

Every random key is made from the seed and the number of the update, so the state is all there is: calls of any
lengths, and a resumed training, give the same bits.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from quickstudy import keys
from quickstudy.errors import wrong
from quickstudy.evaluation import initial_params, training_split
from quickstudy.experiment import Experiment
from quickstudy.rollout import collect, sample_tasks
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
    stage_updates: Array
    """int32 [stages]: updates done in each stage of the curriculum."""
    stage: Array
    """int32: the present stage."""


def init_state(experiment: Experiment, meta_params: PyTree = None) -> TrainState:
    """The state before the first update, with the agent's own first meta-parameters or those that are given."""
    if meta_params is None:
        env = training_split(experiment.env)
        meta_params = initial_params(experiment.learner, env, experiment.trial, experiment.seed)
    k_outer = keys.branch(experiment.seed, keys.OUTER)
    zero = jnp.zeros((), jnp.int32)
    outer = experiment.loop.init(experiment.learner, meta_params, k_outer)
    return TrainState(outer, zero, zero, zero, jnp.zeros(len(experiment.stages), jnp.int32), zero)


def run_updates(experiment: Experiment, state: TrainState, stop: int) -> tuple[TrainState, dict[str, Array]]:
    """Updates up to number `stop` in one compiled call -> (state, mean metrics)."""
    return _updates(experiment, experiment.stages[int(state.stage)], state, stop)


def check_fits(experiment: Experiment) -> None:
    """Raise `InputError` where the parts do not fit together: agent and action space, loop and trial."""
    for trial in experiment.stages:
        jax.eval_shape(lambda trial=trial: _updates(experiment, trial, init_state(experiment), 1))


def _updates(
    experiment: Experiment, trial: TrialShape, state: TrainState, stop: int
) -> tuple[TrainState, dict[str, Array]]:
    return _chunk(
        experiment.learner,
        training_split(experiment.env),
        experiment.loop,
        trial,
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
        live = _collect_members if hasattr(outer, "propose") else _collect
        trials = live(agent, env, outer, trial, num_tasks, mesh, state.outer, k_tasks)
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
    agent: Any, env: Any, outer: Any, trial: TrialShape, num_tasks: int, mesh: Mesh | None, state: Any, key: Key
) -> Trials:
    """Fresh tasks and the trials in them; each device takes its share of the tasks."""

    def live(meta_params: PyTree, indices: Array) -> Trials:
        return _live(agent, env, trial, meta_params, key, indices)

    return _shared_out(live, mesh, PartitionSpec())(state.meta_params, jnp.arange(num_tasks))


def _collect_members(
    agent: Any, env: Any, outer: Any, trial: TrialShape, num_tasks: int, mesh: Mesh | None, state: Any, key: Key
) -> Trials:
    """The same where the outer loop tries out P agents, each in its N/P tasks; see `Outer`."""
    members = outer.propose(agent, state)
    num_members = jax.tree.leaves(members)[0].shape[0]
    if num_tasks % num_members:
        raise wrong("num_tasks", num_tasks, f"a multiple of the {num_members} agents that are tried out")
    # The second half of the members meets what the first half does.
    indices = jnp.tile(jnp.arange(num_tasks // 2), 2).reshape(num_members, -1)

    def live(members: PyTree, indices: Array) -> Trials:
        each = jax.vmap(lambda params, i: _live(agent, env, trial, params, key, i))
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), each(members, indices))

    return _shared_out(live, mesh, PartitionSpec("tasks"))(members, indices)


def _live(agent: Any, env: Any, trial: TrialShape, meta_params: PyTree, key: Key, indices: Array) -> Trials:
    """One trial in each of the tasks with these numbers."""
    task_keys, trial_keys = keys.per_task(key, indices)
    return collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)


def _shared_out(live: Any, mesh: Mesh | None, agents: PartitionSpec) -> Any:
    """`live(meta-parameters, indices)` with the indices shared out over the devices."""
    if mesh is None:
        return live
    tasks = PartitionSpec("tasks")
    return jax.shard_map(live, mesh=mesh, in_specs=(agents, tasks), out_specs=tasks, check_vma=False)


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
    stage_updates = state.stage_updates.at[state.stage].add(1)
    new_state = TrainState(outer, state.update + 1, state.skipped + bad, in_a_row, stage_updates, state.stage)
    return new_state, metrics
