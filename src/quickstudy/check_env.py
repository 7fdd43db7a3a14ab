"""What is wrong with a task family, in plain words, each with the mend: `quickstudy check-env TARGET`.

First what can be seen without living in it: fields, spaces, the shapes that its functions promise. Then
episodes of random actions (`quickstudy.check_episodes`). A family that is wrong in one way mostly still gets
all checks; one that cannot be run gets those before. An exception in the family is a finding.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from gymnasium import spaces

from quickstudy.check_episodes import NUM_TASKS, Finding, check_episodes, steps_per_second
from quickstudy.compilation import use_compilation_cache
from quickstudy.errors import InputError
from quickstudy.experiment import build, to_dict
from quickstudy.types import Outcome, PyTree

JIT_ERRORS = (
    jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.TracerArrayConversionError,
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.UnexpectedTracerError,
)
NEEDED = ("observation_space", "action_space", "max_steps", "sample_task", "reset", "step")


class _StopError(Exception):
    """No later check makes sense."""


def check_env(env: Any, seed: int = 0) -> list[Finding]:
    """What is wrong with the family `env`, nothing where nothing is."""
    use_compilation_cache()
    findings: list[Finding] = []
    try:
        for check in (_fields, _protocol, _spaces, _shapes):
            findings += _guarded(check, env)
        if any(finding.about in ("space", "state") for finding in findings):
            raise _StopError
        findings += _guarded(check_episodes, env, jax.random.key(seed))
    except _StopError as stop:
        findings += stop.args
    return findings


def main(cls: type, said: Callable[[str], None] = print) -> int:
    """Check the family with its default settings and tell the result -> the exit code, 1 with findings."""
    env = cls()
    findings = check_env(env)
    for number, (about, what, mend) in enumerate(findings, 1):
        said(f"{number}. {about}: {what}\n   mend: {mend}")
    if not any(finding.about in ("protocol", "space", "state", "exception", "jit") for finding in findings):
        said(f"speed: {steps_per_second(env):,.0f} steps/s, random actions in {NUM_TASKS} streams")
    said(
        f"{cls.__name__}: {len(findings) or 'nothing'} found"
        + ("" if findings else "; it is ready to train on")
    )
    return 1 if findings else 0


def _guarded(check: Any, *arguments: Any) -> list[Finding]:
    """The findings of a check; an exception in the family is one, and the last."""
    found = []
    try:
        for finding in check(*arguments):
            found.append(finding)
    except _StopError as stop:
        raise _StopError(*found, *stop.args) from None
    except JIT_ERRORS as error:
        raise _StopError(*found, _not_jittable(error)) from error
    except Exception as error:  # whatever a user's code may raise
        raise _StopError(*found, _raised(error)) from error
    return found


def _not_jittable(error: Exception) -> Finding:
    return Finding(
        "jit",
        f"it does not compile: {_first_line(error)}{_place(error)}",
        "no Python `if`, `while`, `int()` or NumPy on an array's value: use jnp.where, jax.lax.cond, jnp",
    )


def _raised(error: Exception) -> Finding:
    what = f"it raises {type(error).__name__}: {_first_line(error)}{_place(error)}"
    return Finding("exception", what, "the line named last is where to look")


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    # An error from the host comes as a traceback, whose last line says it.
    wrapped = [line for line in lines if re.match(r"^\w*(Error|Exception)\b.*: ", line)]
    return (wrapped[-1] if wrapped and "callback" in lines[0].lower() else lines[0]) if lines else "no message"


def _place(error: BaseException) -> str:
    """The last line of code outside the packages that are installed and outside this file."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "site-packages" not in file and not file.startswith(
            (__file__, check_episodes.__code__.co_filename, "<")
        ):
            place = f" ({file.rpartition('/')[2]}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


def _fields(env: Any) -> Iterator[Finding]:
    cls = type(env).__name__
    if not dataclasses.is_dataclass(env) or not env.__dataclass_params__.frozen:  # pyright: ignore
        yield Finding(
            "dataclass", f"{cls} is not a frozen dataclass", f"@dataclasses.dataclass(frozen=True) on {cls}"
        )
        return
    try:
        hash(env)
    except TypeError as error:
        mend = "fields of numbers, strings and tuples of them, no list, dict or array"
        yield Finding("dataclass", f"{cls} cannot be hashed: {error}", mend)
        return
    try:
        again = build(type(env), json.loads(json.dumps(to_dict(env))), "env")
    except (TypeError, InputError) as error:
        again = error
    if again != env:
        mend = "fields of numbers, strings, booleans and flat tuples of them"
        yield Finding(
            "dataclass", f"a run directory cannot store its fields: read again they are {again}", mend
        )


def _protocol(env: Any) -> Iterator[Finding]:
    missing = [name for name in NEEDED if not hasattr(type(env), name) and not hasattr(env, name)]
    if missing:
        mend = "docs/new_environment.md has a skeleton with all of them"
        raise _StopError(Finding("protocol", f"it has no {', '.join(missing)}", mend))
    if not isinstance(env.max_steps, int | np.integer) or isinstance(env.max_steps, bool) or env.max_steps < 1:
        mend = "the steps of an episode, a whole number from 1"
        raise _StopError(Finding("protocol", f"max_steps is {env.max_steps!r}", mend))
    return
    yield


def _spaces(env: Any) -> Iterator[Finding]:
    if not isinstance(env.observation_space, spaces.Discrete | spaces.Box):
        what = f"observation_space is {env.observation_space}"
        yield Finding("space", what, "Discrete, or Box with everything in one vector")
    space = env.action_space
    one_axis = (
        isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)
    )
    if not (isinstance(space, spaces.Discrete) or one_axis):
        yield Finding("space", f"action_space is {space}", "Discrete, or Box of floats with one axis")
    for name in ("observation_space", "action_space"):
        space = getattr(env, name)
        if isinstance(space, spaces.Discrete) and space.start != 0:
            yield Finding("space", f"{name} starts at {space.start}", "Discrete(n), which starts at 0")


def _shapes(env: Any) -> Iterator[Finding]:
    """What the functions promise of one example, without a computation."""
    key = jax.random.key(0)
    task = jax.eval_shape(env.sample_task, key)
    state, first = jax.eval_shape(env.reset, task, key)
    space = env.action_space
    action = jax.ShapeDtypeStruct(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
    after, outcome = jax.eval_shape(env.step, task, state, action, key)
    if not isinstance(outcome, Outcome):
        mend = "quickstudy.types.Outcome(observation, reward, terminated, success)"
        raise _StopError(Finding("protocol", f"step returns {type(outcome).__name__} beside the state", mend))
    if _structure(after) != _structure(state):
        what = f"the state of step is {_structure(after)}, that of reset {_structure(state)}"
        yield Finding("state", what, "the same structure, shapes and dtypes from both")
    wanted = (env.observation_space.shape, jax.dtypes.canonicalize_dtype(env.observation_space.dtype))
    mend = "an observation of the space's shape and dtype, from reset and from step"
    yield from _promise("observation of reset", first, *wanted, mend)
    yield from _promise("observation of step", outcome.observation, *wanted, mend)
    yield from _promise("reward", outcome.reward, (), None, "a number without axes, float32")
    mend = "a bool without axes, as a comparison gives it: jnp.zeros((), bool) where it never is"
    yield from _promise("terminated", outcome.terminated, (), np.dtype(bool), mend)
    if outcome.success is not None:
        yield from _promise("success", outcome.success, (), np.dtype(bool), mend)


def _structure(tree: PyTree) -> str:
    leaves = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(tree)]
    return f"{jax.tree.structure(tree)} of {', '.join(leaves) or 'nothing'}"


def _promise(name: str, value: Any, shape: tuple[int, ...], dtype: Any, mend: str) -> Iterator[Finding]:
    if not hasattr(value, "shape"):
        yield Finding("shape", f"the {name} is {type(value).__name__}, not an array", mend)
    elif value.shape != shape:
        yield Finding("shape", f"the {name} has shape {value.shape}; expected {shape}", mend)
    elif dtype is None and not np.issubdtype(value.dtype, np.floating):
        yield Finding("dtype", f"the {name} is {value.dtype}; expected a float", mend)
    elif dtype is not None and value.dtype != dtype:
        yield Finding("dtype", f"the {name} is {value.dtype}; expected {dtype}", mend)
