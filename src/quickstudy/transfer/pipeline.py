"""From known tasks to new ones, stage by stage, in one directory that any stage can be resumed in.

    teach       the teacher learns each of k known tasks from scratch                   known/
    merge       their policies become one: by distillation, or one is trained directly   merged/
    choose      the strength of each penalty, in validation tasks                        coefficients.json
    fine-tune   in every new task from the merged policy, once for each penalty          fine-tuned-PENALTY/
    scratch     the teacher in the new tasks from nothing: what fine-tuning must beat    scratch/
    forget      if wanted: one policy through new tasks, one after another               forgetting.json
    judge       keep what is better beyond doubt, discard the rest                       transfer.json

`known/`, `fine-tuned-…/` and `scratch/` are directories of `quickstudy learn`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys, lives
from quickstudy.agents.fine_tune import Global
from quickstudy.errors import InputError, is_file
from quickstudy.evaluation import initial_params
from quickstudy.files import read_json, write_json
from quickstudy.fingerprint import environment_fingerprint, machine, versions
from quickstudy.learning import Learned, learn, resume_learning, sampled_tasks
from quickstudy.learning_record import EXAMS
from quickstudy.learning_settings import LEARNING, Learning
from quickstudy.lives import LifeShape
from quickstudy.run import check_new_directory, make_directory
from quickstudy.start import RECORD, load_start, save_start
from quickstudy.transfer.coefficient import choose_coefficient
from quickstudy.transfer.distill import Teachers, distill
from quickstudy.transfer.elastic import Penalty
from quickstudy.transfer.forgetting import fine_tune_through
from quickstudy.transfer.guard import guarded
from quickstudy.transfer.multi_task import train_together
from quickstudy.transfer.settings import TRANSFER, Transfer, read_transfer, to_record
from quickstudy.transfer.summary import summarised
from quickstudy.types import Key

COEFFICIENTS, FORGETTING, RESULT = "coefficients.json", "forgetting.json", "transfer.json"
Stage = Literal["teach", "merge", "choose", "fine-tune", "scratch", "forget", "judge"]
STAGES = get_args(Stage)
MERGE, CHOOSE, FORGET, JUDGE = range(4)
"""Branches of the key of what is not a learning."""


def transfer(
    settings: Transfer,
    out: Path | str,
    *,
    until: Stage = "judge",
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any] | None:
    """All stages up to `until` in a new directory -> the result, once it is judged.

    Raises `InputError` where `out` exists or the parts do not fit together.
    """
    directory = Path(out)
    check_new_directory(directory)
    _template(settings)
    fingerprint = environment_fingerprint(settings.env)
    beside = {"versions": versions(), "machine": machine(), "fingerprint": fingerprint}
    make_directory(directory)
    write_json(directory / TRANSFER, {**to_record(settings), **beside})
    return resume_transfer(directory, until=until, progress=progress, say=say, allow_code=True)


def resume_transfer(
    directory: Path | str,
    *,
    until: Stage = "judge",
    progress: bool = True,
    say: Callable[[str], None] = lambda text: None,
    allow_code: bool = False,
) -> dict[str, Any] | None:
    """The stages that are not done yet, up to `until` -> the result, once it is judged."""
    directory = Path(directory)
    settings = read_transfer(directory, allow_code)
    for stage in STAGES[: STAGES.index(until) + 1]:
        say(f"transfer: {stage}")
        STEPS[stage](settings, directory, progress)
    return read_json(directory / RESULT) if until == "judge" else None


def place_of(penalty: Penalty) -> str:
    """The directory of the fine-tuning with a penalty."""
    return f"fine-tuned-{penalty}"


def _teach(settings: Transfer, directory: Path, progress: bool) -> None:
    if settings.merge == "distill":
        _taught(settings, directory, progress)


def _taught(settings: Transfer, directory: Path, progress: bool) -> Learned:
    """The teachers in the known tasks, learned now or before."""
    learning = _learning(settings, settings.teacher, settings.teaching, "known", settings.num_known)
    return _learned(learning, directory / "known", progress)


def _merge(settings: Transfer, directory: Path, progress: bool) -> None:
    place = directory / "merged"
    if is_file(place / RECORD):
        return
    template = _template(settings)
    env, tasks = sampled_tasks("known", settings.env, settings.seed, np.arange(settings.num_known))
    key = jax.random.fold_in(keys.branch(settings.seed, keys.TRANSFER), MERGE)
    if settings.merge == "distill":
        learned = _taught(settings, directory, progress=False)
        teachers = Teachers(learned.meta_params, learned.lives.task_params, tasks)
        found = distill(settings.distillation, settings.agent, env, settings.teacher, teachers, template, key)
        known, told = found.known, {"distance": np.asarray(found.apart, float).tolist()}
    else:
        shape, teacher = settings.teaching, settings.teacher
        trained = train_together(settings.multi_task, teacher, env, shape, template, tasks, key)
        known, told = trained.known, {"rewards": np.asarray(trained.rewards, float).mean(1).tolist()}
    if not all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(known)):
        raise InputError(f"merge: the weights are not finite; {settings.merge} with a lower rate may help")
    make_directory(place)
    save_start(place, known, merge=settings.merge, activation=settings.agent.activation, **told)


def _choose(settings: Transfer, directory: Path, progress: bool) -> None:
    """The coefficient of each penalty, where there is a choice."""
    if is_file(directory / COEFFICIENTS):
        return
    numbers = np.arange(settings.num_validation)
    env, tasks = sampled_tasks("validation", settings.env, settings.seed, numbers)
    known = _merged(settings, directory).for_life(settings.tuning.num_adapts)
    life_keys = _keys(settings, CHOOSE, settings.num_validation)
    chosen: dict[str, Any] = {}
    for penalty in settings.penalties:
        if penalty == "none" or len(settings.coefficients) == 1:
            chosen[penalty] = {"coefficient": settings.coefficients[0]}
            continue
        agent = settings.tuned_by(penalty, 1.0)
        found = choose_coefficient(
            agent, env, settings.tuning, known, tasks, life_keys, settings.coefficients, settings.num_episodes
        )
        means = dict(zip(map(str, found.coefficients.tolist()), found.returns.mean(1).tolist(), strict=True))
        chosen[penalty] = {"coefficient": found.coefficient, "validation_returns": means}
    write_json(directory / COEFFICIENTS, chosen)


def _fine_tune(settings: Transfer, directory: Path, progress: bool) -> None:
    for penalty in settings.penalties:
        _fine_tuned(settings, directory, penalty, progress)


def _fine_tuned(settings: Transfer, directory: Path, penalty: Penalty, progress: bool) -> Learned:
    agent = settings.tuned_by(penalty, _coefficient(directory, penalty))
    learning = _learning(settings, agent, settings.tuning, "new", settings.num_new)
    learning = dataclasses.replace(learning, start=str(directory / "merged"))
    return _learned(learning, directory / place_of(penalty), progress)


def _scratch(settings: Transfer, directory: Path, progress: bool) -> None:
    learning = _learning(settings, settings.teacher, settings.teaching, "new", settings.num_new)
    _learned(learning, directory / "scratch", progress)


def _forget(settings: Transfer, directory: Path, progress: bool) -> None:
    """Returns in the known and in the new tasks after each new one, with each penalty."""
    if settings.num_sequence == 0 or is_file(directory / FORGETTING):
        return
    env, known = sampled_tasks("known", settings.env, settings.seed, np.arange(settings.num_known))
    _, new = sampled_tasks("new", settings.env, settings.seed, np.arange(settings.num_sequence))
    start = _merged(settings, directory).for_life(settings.tuning.num_adapts)
    key = jax.random.fold_in(keys.branch(settings.seed, keys.TRANSFER), FORGET)
    found: dict[str, Any] = {}
    for penalty in settings.penalties:
        agent = settings.tuned_by(penalty, _coefficient(directory, penalty))
        through = (agent, env, settings.tuning, start, known, new, key, settings.num_episodes)
        forgotten = fine_tune_through(*through)
        found[penalty] = {
            "known": forgotten.known.mean(2).tolist(),
            "new": forgotten.new.mean(2).tolist(),
        }
    write_json(directory / FORGETTING, found)


def _judge(settings: Transfer, directory: Path, progress: bool) -> None:
    """The guard's word on every fine-tuned policy, in episodes that no exam has seen."""
    env, tasks = sampled_tasks("new", settings.env, settings.seed, np.arange(settings.num_new))
    exam_keys = _keys(settings, JUDGE, settings.num_new)
    judged = {}
    for penalty in settings.penalties:
        learned = _fine_tuned(settings, directory, penalty, progress=False)
        put = (learned.meta_params, learned.lives.task_params, tasks, exam_keys)
        agent = settings.tuned_by(penalty, 1.0)
        _, verdict = guarded(agent, env, *put, settings.num_episodes, settings.margin)
        judged[penalty] = {
            name: np.asarray(x).tolist() if name != "reason" else list(x)
            for name, x in verdict._asdict().items()
        }
    write_json(directory / RESULT, _result(settings, directory, judged))


def _result(settings: Transfer, directory: Path, judged: dict[str, Any]) -> dict[str, Any]:
    curves = {penalty: read_json(directory / place_of(penalty) / EXAMS) for penalty in settings.penalties}
    scratch = read_json(directory / "scratch" / EXAMS)
    forgetting = read_json(directory / FORGETTING) if is_file(directory / FORGETTING) else None
    return {
        **summarised(curves, scratch, judged),
        "coefficients": read_json(directory / COEFFICIENTS),
        "merge": {name: x for name, x in read_json(directory / "merged" / RECORD).items() if name != "sha256"},
        "forgetting": forgetting,
        "protocol": read_json(directory / TRANSFER),
    }


STEPS: dict[Stage, Callable[[Transfer, Path, bool], None]] = {
    "teach": _teach,
    "merge": _merge,
    "choose": _choose,
    "fine-tune": _fine_tune,
    "scratch": _scratch,
    "forget": _forget,
    "judge": _judge,
}


def _coefficient(directory: Path, penalty: Penalty) -> float:
    return float(read_json(directory / COEFFICIENTS)[penalty]["coefficient"])


def _learning(settings: Transfer, agent: Any, life: LifeShape, tasks: Any, num_tasks: int) -> Learning:
    return Learning(
        agent,
        settings.env,
        life,
        tasks=tasks,
        num_tasks=num_tasks,
        num_exams=settings.num_exams,
        num_episodes=settings.num_episodes,
        seed=settings.seed,
    )


def _learned(learning: Learning, place: Path, progress: bool) -> Learned:
    """Of a directory: new, or as far as it has come."""
    if is_file(place / LEARNING):
        return resume_learning(place, progress=progress, allow_code=True)
    return learn(learning, place, progress=progress)


def _template(settings: Transfer) -> Global:
    """An untrained global policy."""
    trial = lives.as_trial(settings.tuning, settings.env)
    return initial_params(settings.agent, settings.env, trial, settings.seed)


def _merged(settings: Transfer, directory: Path) -> Global:
    return load_start(directory / "merged", _template(settings), settings.agent.activation)


def _keys(settings: Transfer, use: int, count: int) -> Key:
    return jax.random.split(jax.random.fold_in(keys.branch(settings.seed, keys.TRANSFER), use), count)
