"""Long lives: learners, each in a task of its own, that learn as they go, and are examined on the way.

    begin:      init_task; S streams at the first step of an episode
    live:       [ the streams go on for T steps → adapt → the steps are forgotten ] × K
    examine:    fresh episodes by the policy's mode; nothing is learned from them

An episode may go on through many adaptations, and none of a life's steps is kept: a life takes as much memory
as one of its phases. A trial (`rollout.collect`) is for learners whose few phases are whole episodes, and who
are improved, or drawn, by every step of them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy import rollout
from quickstudy.errors import require
from quickstudy.greedy import Greedy
from quickstudy.types import MOST, Array, Env, Key, PyTree, Transition, TrialShape


@dataclasses.dataclass(frozen=True)
class LifeShape:
    """The budget of a life: K adaptations, each to T steps of S streams."""

    num_adapts: int = 100
    """K, the adaptations of a life."""
    num_streams: int = 8
    """S, the streams of experience that are gathered side by side in one task."""
    num_steps: int = 128
    """T, the steps of one stream between two adaptations."""

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("num_adapts", "num_streams", "num_steps")}
        require(self, **{name: (1 <= n <= MOST, f"between 1 and {MOST:,}") for name, n in counts.items()})

    @property
    def steps_per_adapt(self) -> int:
        """Environment steps of one task between two adaptations."""
        return self.num_streams * self.num_steps

    @property
    def steps_per_task(self) -> int:
        """All environment steps of one life."""
        return self.num_adapts * self.steps_per_adapt


class Lives(NamedTuple):
    """N lives under way."""

    task: PyTree
    """[N, ...]"""
    key: Key
    """[N]"""
    task_params: PyTree
    """[N, ...], what was learned."""
    streams: rollout.Streams
    """[N, S, ...]"""
    earned: Array
    """[N, S], by the episode under way."""
    num_adapts: Array
    """int32, the adaptations behind every one of them."""


class Lived(NamedTuple):
    """What came to an end in a stretch of N lives, [N] each."""

    num_episodes: Array
    total_return: Array
    """Of those episodes together."""


class Exam(NamedTuple):
    """Of N learners, in E episodes each."""

    returns: Array
    """[N, E]"""
    success: Array | None
    """[N, E], bool: the episode succeeded at any time; None in a family that has no notion of it."""


def as_trial(shape: LifeShape, env: Env) -> TrialShape:
    """The trial that an agent is told of in `init`: as many adaptations, to about as much experience."""
    return TrialShape(shape.num_adapts, shape.num_streams, max(1, shape.num_steps // env.max_steps))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def begin(agent: Any, env: Env, shape: LifeShape, meta_params: PyTree, tasks: PyTree, keys: Key) -> Lives:
    """Lives in `tasks` [N, ...] with `keys` [N]; each depends on its own task and key alone."""
    task_params = rollout.begin_tasks(agent, meta_params, keys)
    first = rollout.stream_keys(keys, 0, shape.num_streams)
    streams = rollout.begin(agent, env, meta_params, task_params, tasks, first)
    nothing = jnp.zeros(first.shape, jnp.float32)
    return Lives(tasks, keys, task_params, streams, nothing, jnp.zeros((), jnp.int32))


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def live(
    agent: Any, env: Env, shape: LifeShape, meta_params: PyTree, lives: Lives, num_adapts: Array | int
) -> tuple[Lives, Lived]:
    """Go on for so many adaptations -> (the lives then, what came to an end on the way).

    The `lives` that are given are used up.
    """

    def adapt(_: Array, carry: tuple[Lives, Lived]) -> tuple[Lives, Lived]:
        lives, lived = carry
        lives, transitions = _phase(agent, env, shape, meta_params, lives)
        earned, ended = _tally(lives.earned, transitions)
        return lives._replace(earned=earned), jax.tree.map(jnp.add, lived, ended)

    nothing = jnp.zeros(lives.earned.shape[0], jnp.float32)
    # How many is no constant: one compilation serves stretches of any length.
    return jax.lax.fori_loop(0, num_adapts, adapt, (lives, Lived(nothing, nothing)))


@functools.partial(jax.jit, static_argnums=(0, 1, 6, 7))
def examine(
    agent: Any,
    env: Env,
    meta_params: PyTree,
    task_params: PyTree,
    tasks: PyTree,
    keys: Key,
    num_episodes: int,
    greedy: bool = True,
) -> Exam:
    """What the learners earn as they are; the same `keys` [N] put the same episodes to any learner.

    `greedy` takes the mode of their policies at every step, where they would draw.
    """
    agent = Greedy(agent) if greedy else agent
    streams_keys = rollout.stream_keys(keys, 0, num_episodes)
    streams = rollout.begin(agent, env, meta_params, task_params, tasks, streams_keys)
    walked = (agent, env, (env.max_steps, 1), meta_params, task_params, tasks, streams_keys, streams)
    transitions = rollout.roll_on(*walked)[1]
    success = transitions.success
    ever = None if success is None else (success & transitions.mask).any(-1)
    return Exam((transitions.reward * transitions.mask).sum(-1), ever)


def _phase(
    agent: Any, env: Env, shape: LifeShape, meta_params: PyTree, lives: Lives
) -> tuple[Lives, Transition]:
    """T steps and the adaptation to them."""
    stream_keys = rollout.stream_keys(lives.key, lives.num_adapts, shape.num_streams)
    # Of all episodes each step counts.
    length = (shape.num_steps, None)
    known = (meta_params, lives.task_params, lives.task)
    streams, transitions = rollout.roll_on(agent, env, length, *known, stream_keys, lives.streams)
    task_params = rollout.adapt(agent, meta_params, lives.task_params, transitions, lives.key, lives.num_adapts)
    lives = lives._replace(task_params=task_params, streams=streams, num_adapts=lives.num_adapts + 1)
    return lives, transitions


def _tally(earned: Array, transitions: Transition) -> tuple[Array, Lived]:
    """-> (what the episodes under way have earned [N, S], those that ended)"""

    def step(earned: Array, seen: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        reward, done = seen
        total = earned + reward
        return jnp.where(done, 0.0, total), (done.astype(jnp.float32), jnp.where(done, total, 0.0))

    done = transitions.terminated | transitions.truncated
    over_time = (jnp.moveaxis(transitions.reward, -1, 0), jnp.moveaxis(done, -1, 0))
    earned, (ends, totals) = jax.lax.scan(step, earned, over_time)
    return earned, Lived(ends.sum((0, 2)), totals.sum((0, 2)))
