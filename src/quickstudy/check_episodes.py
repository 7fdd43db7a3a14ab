"""What episodes of random actions show of a task family: the second half of `check-env`.

All is one compiled function of (tasks, keys), called with the same task in every stream, with many tasks,
and with many tasks under one key; what must be equal then is compared bit for bit.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.types import Array, Key, PyTree

NUM_TASKS, MAX_STEPS = 32, 200
SLOW = 1000.0
"""Steps a second below which training is hopeless: a million steps, a small training, are 17 minutes."""


class Finding(NamedTuple):
    """One thing that is wrong."""

    about: str
    """One word for the check."""
    what: str
    mend: str


class _Lived(NamedTuple):
    """Episodes of random actions."""

    first: PyTree
    """[N, ...]"""
    observation: PyTree
    """[T, N, ...], before any reset."""
    reward: Any
    terminated: Any
    success: Any


def check_episodes(env: Any, key: Key) -> Iterator[Finding]:
    """Live in the family `env`, whose shapes are right."""
    tasks, keys = _sample(env, key), jax.random.split(key, NUM_TASKS)
    live = jax.jit(lambda tasks, keys: _live(env, tasks, keys))
    # One task alone comes first: what another task leaves over may stay for ever.
    alone = _one_task(live, tasks, keys)
    alike = alone is not None and _traced(env, tasks, keys) == _traced(env, tasks, keys)
    lived, speed = _timed(lambda: live(tasks, keys))
    yield from _numbers(env, lived)
    if alone is None:
        what = "the same task, key and actions gave two different episodes"
        mend = "all chance from `key`, split once for each use; an environment of Python objects must be seeded"
        yield Finding("determinism", what, mend + ", and its reset must leave nothing over")
    elif not alike:
        what = "it compiles to something else each time: chance or a clock is read while it is compiled"
        yield Finding("determinism", what, "jax.random with `key`, no np.random, random or time")
    elif not _equal(alone, _one_task(live, tasks, keys)):
        what = "an episode came out differently after other tasks had been lived in"
        yield Finding(
            "leak", what, "keep all that changes in `state`; with gymnasium environments try reuse=False"
        )
    yield from _tasks(env, live, tasks, keys)
    yield from _split(env, key)
    yield from _clips(env, tasks, keys)
    yield from _described(env, tasks)
    if speed < SLOW:
        what = f"{speed:,.0f} steps/s with random actions in {NUM_TASKS} streams"
        yield Finding(
            "speed", what, "profile `step`; write it in jax.numpy, so that all streams are one computation"
        )


def steps_per_second(env: Any) -> float:
    """Of random actions in `NUM_TASKS` streams, compiled, without the compilation."""
    live, key = jax.jit(lambda tasks, keys: _live(env, tasks, keys)), jax.random.key(0)
    tasks, keys = _sample(env, key), jax.random.split(key, NUM_TASKS)
    jax.block_until_ready(live(tasks, keys))
    return _timed(lambda: live(tasks, keys))[1]


def _sample(env: Any, key: Key, size: int = NUM_TASKS) -> PyTree:
    return jax.jit(jax.vmap(env.sample_task))(jax.random.split(key, size))


def _timed(call: Callable[[], _Lived]) -> tuple[_Lived, float]:
    """-> (what was lived, in NumPy; steps a second)"""
    start = time.perf_counter()
    lived = jax.block_until_ready(call())
    seconds = time.perf_counter() - start
    return jax.device_get(lived), lived.reward.shape[0] * NUM_TASKS / seconds


def _live(env: Any, tasks: PyTree, keys: Key) -> _Lived:
    """N streams of random actions, for an episode at least; streams that are done begin again."""
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)

    def keys_at(t: Array | int) -> Key:
        return jnp.moveaxis(jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, t), 3))(keys), 1, 0)

    def body(carry: tuple[PyTree, Array], t: Array) -> tuple[tuple[PyTree, Array], _Lived]:
        state, steps = carry
        k_action, k_step, k_reset = keys_at(t)
        action = jax.vmap(lambda key: _random_action(env.action_space, key))(k_action)
        state, outcome = step(tasks, state, action, k_step)
        ended = outcome.terminated.astype(bool).reshape(NUM_TASKS, -1).any(1)
        done = ended | (steps + 1 >= env.max_steps)
        state = jax.lax.cond(
            done.any(),
            lambda: _select(done, reset(tasks, k_reset)[0], state),
            lambda: _select(done, state, state),
        )
        lived = _Lived((), outcome.observation, outcome.reward, outcome.terminated, outcome.success)
        return (state, jnp.where(done, 0, steps + 1)), lived

    state, first = reset(tasks, keys_at(0)[0])
    num_steps = min(MAX_STEPS, max(2 * env.max_steps, 16))
    _, lived = jax.lax.scan(body, (state, jnp.zeros(NUM_TASKS, jnp.int32)), 1 + jnp.arange(num_steps))
    return lived._replace(first=first)


def _random_action(space: spaces.Space, key: Key) -> Array:
    if isinstance(space, spaces.Discrete):
        return jax.random.randint(key, (), 0, int(space.n))
    assert isinstance(space, spaces.Box)
    if space.is_bounded("both"):
        return jax.random.uniform(
            key, space.shape, minval=jnp.asarray(space.low), maxval=jnp.asarray(space.high)
        )
    return jax.random.normal(key, space.shape)


def _select(mask: Array, if_true: PyTree, if_false: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(mask.reshape(-1, *(1,) * (a.ndim - 1)), a, b), if_true, if_false)


def _numbers(env: Any, lived: _Lived) -> Iterator[Finding]:
    for name, values in (("first observation", lived.first), ("observation", lived.observation)):
        if not np.isfinite(values).all():
            yield Finding("finite", f"an {name} is NaN or infinite" + _where(~np.isfinite(values)), _FINITE)
        elif values.shape[-len(env.observation_space.shape) or values.ndim :] == env.observation_space.shape:
            yield from _inside(env.observation_space, name, values)
    if not np.isfinite(lived.reward).all():
        yield Finding("finite", "a reward is NaN or infinite" + _where(~np.isfinite(lived.reward)), _FINITE)
    elif np.ptp(lived.reward) == 0 and not (lived.reward.flat[0] and lived.terminated.any()):
        what = f"the reward was {lived.reward.flat[0]:g} in all of {lived.reward.size} steps of random actions"
        yield Finding(
            "reward", what, "reward what the agent does; where it is sparse, make it less so at first"
        )


_FINITE = (
    "look for a division by 0, a root or logarithm of a negative number, or a state that grows without end"
)


def _where(bad: np.ndarray) -> str:
    return f" (in {bad.mean():.0%} of what was seen)"


def _inside(space: spaces.Space, name: str, values: np.ndarray) -> Iterator[Finding]:
    if isinstance(space, spaces.Discrete):
        low, high = np.zeros(()), np.asarray(space.n - 1)
    else:
        assert isinstance(space, spaces.Box)
        low, high = space.low, space.high
    outside = (values < low) | (values > high)
    if outside.any():
        what = (
            f"{values[outside].flat[0]:g} in the {name} is outside observation_space {space}{_where(outside)}"
        )
        yield Finding("outside", what, "widen the space to all that can be observed, or clip the observation")


def _one_task(live: Callable[..., _Lived], tasks: PyTree, keys: Key) -> _Lived | None:
    """The first task and key in every stream, if that gives the same every time."""
    same_task, same_key = _repeat_first(tasks), keys[jnp.zeros(NUM_TASKS, jnp.int32)]
    one, again = live(same_task, same_key), live(same_task, same_key)
    return one if _equal(one, again) else None


def _repeat_first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), tree)


def _equal(one: PyTree, other: PyTree) -> bool:
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _columns_equal(lived: _Lived) -> bool:
    """Whether every stream saw and earned the same, but for last digits, in which streams differ."""
    by_stream = [np.moveaxis(x, 1, 0) for x in jax.tree.leaves(jax.device_get(lived._replace(first=())))]
    streams = [np.asarray(lived.first), *by_stream]
    return all(np.allclose(x, x[:1], rtol=1e-4, atol=1e-6, equal_nan=True) for x in streams)


def _traced(env: Any, tasks: PyTree, keys: Key) -> tuple[str, list[bytes]]:
    """The program and its constants, without the addresses of objects."""
    traced = jax.make_jaxpr(lambda tasks, keys: _live(env, tasks, keys))(tasks, keys)
    constants = [np.asarray(x).tobytes() for x in traced.consts]
    return re.sub(r"0x[0-9a-f]+", "", str(traced.jaxpr)), constants


def _tasks(env: Any, live: Callable[..., _Lived], tasks: PyTree, keys: Key) -> Iterator[Finding]:
    if len(_distinct(tasks, NUM_TASKS)) < 2:
        what = f"{NUM_TASKS} keys gave the same task"
        yield Finding("tasks", what, "draw all that differs between tasks from the key of sample_task")
    elif _columns_equal(live(tasks, keys[jnp.zeros(NUM_TASKS, jnp.int32)])):
        what = f"{NUM_TASKS} different tasks gave the same episodes for the same actions and chance"
        yield Finding(
            "effect", what, "use `task` in reset or step; a constant computed from it must be computed anew"
        )


def _distinct(tasks: PyTree, size: int) -> set[tuple[float, ...]]:
    leaves = [np.asarray(x, np.float64).reshape(size, -1) for x in jax.tree.leaves(tasks)]
    return {tuple(row) for row in np.concatenate([np.zeros((size, 1)), *leaves], axis=1)}


def _split(env: Any, key: Key, size: int = 512) -> Iterator[Finding]:
    if hasattr(env, "split"):
        train, test = (
            _distinct(_sample(dataclasses.replace(env, split=s), key, size), size) for s in ("train", "test")
        )
        if train & test:
            what = f"{len(train & test)} of {len(test)} test tasks are training tasks too"
            yield Finding("split", what, "draw train and test tasks from sets without a common member")


def _clips(env: Any, tasks: PyTree, keys: Key) -> Iterator[Finding]:
    space = env.action_space
    if not (isinstance(space, spaces.Box) and space.is_bounded("both")):
        return
    task, key = jax.tree.map(lambda x: x[0], tasks), keys[0]
    state = jax.jit(env.reset)(task, key)[0]
    bound, step = jnp.asarray(space.high), jax.jit(lambda action: env.step(task, state, action, key)[1])
    inside, again, beyond = step(bound), step(bound), step(bound + 1)
    if _equal(inside, again) and not _equal(inside, beyond):
        what = f"an action beyond {space} does something else than the one at the bound"
        yield Finding(
            "clip", what, "jnp.clip(action, low, high) first thing in step: policies do not know bounds"
        )


def _described(env: Any, tasks: PyTree) -> Iterator[Finding]:
    task = jax.device_get(jax.tree.map(lambda x: x[0], tasks))
    if hasattr(env, "describe") and not isinstance(env.describe(task), str):
        yield Finding("describe", f"describe returns {type(env.describe(task)).__name__}", "a string")
