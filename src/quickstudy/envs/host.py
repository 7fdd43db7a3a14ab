"""Stateful environments on the host, behind pure functions of (task, key, actions).

    state = (episode, step, seed): a name for what an episode has come to, not the thing itself
    reset:   a new name; the environment object behind it is seeded and told its task
    step:    (name, t, seed), action -> (name, t + 1, seed)

One callback moves a whole batch of streams. The name that a step returns is an argument of the next step,
so order is fixed by data, whatever order XLA would prefer, and every function stays pure:

- A reset never touches the objects of living episodes. The engine resets all streams and keeps the result
  where an episode is done; the others' new episodes are forgotten and their objects used again.
- A step that is repeated (XLA may run a pure callback twice) answers from the record of the first time.
- A step from a state that is gone by (a planner's second branch, an object that was taken away) plays the
  recorded actions again in another object, under a new name. XLA does start episodes long before their first
  step, so a state at step 0 needs no record: its seed is all there is to it.

So at most twice as many objects exist as streams are stepped at once. What an object does must follow from
its task, its seed and its actions alone; where `reset` leaves something over, `reuse=False` makes a new
object for every episode.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.types import Array, Key, Outcome, PyTree


class HostState(NamedTuple):
    """Where a stream is; the rest lives on the host."""

    episode: Array
    """int32: the episode's name."""
    step: Array
    """int32: steps taken in it."""
    seed: Array
    """int32: what it was reset with."""


class HostOutcome(NamedTuple):
    """`Outcome` of one stream, before it is an array."""

    observation: Any
    reward: float
    terminated: bool
    cut: bool
    """The environment wants no more steps; before `max_steps` that ends the episode."""
    success: bool


class Simulator(Protocol):
    """What a bridge knows of its package; `task` is one task in NumPy."""

    def make(self, task: Any) -> Any:
        """A new environment object."""
        ...

    def kind(self, task: Any) -> Hashable:
        """Objects of equal kinds can take each other's tasks; None for an object of one episode."""
        ...

    def begin(self, env: Any, task: Any, seed: int) -> Any:
        """Set the task, reset -> the first observation."""
        ...

    def advance(self, env: Any, action: Any) -> HostOutcome: ...


class _Episode:
    """The record of one episode: enough to live it again."""

    __slots__ = ("actions", "env", "kind", "last", "seed", "task")

    def __init__(self, task: Any, seed: int, kind: Hashable, env: Any):
        self.task, self.seed, self.kind, self.env = task, seed, kind, env
        self.actions: list[Any] = []
        self.last: HostOutcome | None = None


class HostEpisodes:
    """All episodes of one family that are being lived, and the environment objects behind them."""

    def __init__(self, simulator: Simulator, shape: tuple[int, ...], dtype: Any, max_steps: int):
        self._simulator, self._shape, self._dtype, self._max_steps = simulator, shape, dtype, max_steps
        self._names = itertools.count()
        self._lock = threading.Lock()
        # Least recently used first; an episode stands in exactly one of these.
        self._living: dict[int, _Episode] = {}
        self._finished: dict[int, _Episode] = {}
        self._without_object: dict[int, _Episode] = {}
        self._capacity = 2
        self.num_made = 0
        """Objects made so far."""

    def reset(self, task: PyTree, key: Key, needed: Array | bool = True) -> tuple[HostState, Array]:
        """-> (state, observation); where not `needed`, the state is of no use and the host does nothing."""
        seed = (jax.random.bits(key) >> 1).astype(jnp.int32)
        name, observation = jax.pure_callback(
            self._reset_batch,
            (jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct(self._shape, self._dtype)),
            task,
            seed,
            jnp.asarray(needed),
            vmap_method="broadcast_all",
        )
        return HostState(name, jnp.zeros_like(name), seed), observation

    def step(self, task: PyTree, state: HostState, action: Array) -> tuple[HostState, Outcome]:
        """-> (state, outcome); `task` is the one of the reset, and `success` is always a bool here."""
        scalar, flag = jax.ShapeDtypeStruct((), jnp.int32), jax.ShapeDtypeStruct((), bool)
        reward = jax.ShapeDtypeStruct((), jnp.float32)
        observation = jax.ShapeDtypeStruct(self._shape, self._dtype)
        name, step, *outcome = jax.pure_callback(
            self._step_batch,
            (scalar, scalar, observation, reward, flag, flag),
            task,
            *state,
            action,
            vmap_method="broadcast_all",
        )
        return HostState(name, step, state.seed), Outcome(*outcome)

    def _reset_batch(self, task: PyTree, seeds: Any, needed: Any) -> tuple[Any, ...]:
        batch = np.shape(seeds)
        seeds, needed = np.asarray(seeds).ravel(), np.asarray(needed).ravel()
        tasks = _rows(task, len(batch))
        names = np.full(len(seeds), -1, np.int32)
        observations = np.zeros((len(seeds), *self._shape), self._dtype)
        with self._lock:
            self._capacity = max(self._capacity, 2 * len(seeds))
            for i in np.flatnonzero(needed).tolist():
                names[i], observations[i] = self._begin(_row(tasks, i), int(seeds[i]))
        return names.reshape(batch), observations.reshape((*batch, *self._shape))

    def _step_batch(self, task: PyTree, names: Any, steps: Any, seeds: Any, actions: Any) -> tuple[Any, ...]:
        batch = np.shape(names)
        tasks, actions = _rows(task, len(batch)), _rows(actions, len(batch))
        names, steps, seeds = (np.asarray(x).ravel() for x in (names, steps, seeds))
        new_names = np.empty(len(names), np.int32)
        observations = np.empty((len(names), *self._shape), self._dtype)
        rewards = np.empty(len(names), np.float32)
        flags = np.empty((2, len(names)), bool)
        with self._lock:
            for i, (name, step) in enumerate(zip(names.tolist(), steps.tolist(), strict=True)):
                if step == 0 and name not in self._living:
                    name, _ = self._begin(_row(tasks, i), int(seeds[i]))
                # A copy: a view would keep the whole batch alive.
                new_names[i], outcome = self._advance(name, step, actions[i].copy())
                observations[i], rewards[i], flags[0, i], _, flags[1, i] = outcome
        columns = (new_names, steps + 1, observations, rewards, flags[0], flags[1])
        return tuple(x.reshape((*batch, *x.shape[1:])) for x in columns)

    def _begin(self, task: Any, seed: int) -> tuple[int, Any]:
        kind = self._simulator.kind(task)
        env = self._take_object(task, kind)
        observation = self._simulator.begin(env, task, seed)
        name = next(self._names) % 2**31
        self._living[name] = _Episode(task, seed, kind, env)
        return name, observation

    def _advance(self, name: int, step: int, action: Any) -> tuple[int, HostOutcome]:
        episode = self._living.pop(name, None)
        if episode is None or step != len(episode.actions):
            if episode is not None:
                self._living[name] = episode
            episode = self._find(name)
            if step == len(episode.actions) - 1 and np.array_equal(episode.actions[-1], action):
                assert episode.last is not None
                return name, episode.last
            name, episode = self._live_again(episode, step)
        outcome = self._simulator.advance(episode.env, action)
        episode.actions.append(action)
        at_limit = len(episode.actions) >= self._max_steps
        if outcome.cut and not (at_limit or outcome.terminated):
            outcome = outcome._replace(terminated=True)
        episode.last = outcome
        (self._finished if outcome.terminated or at_limit else self._living)[name] = episode
        return name, outcome

    def _find(self, name: int) -> _Episode:
        for episodes in (self._living, self._finished, self._without_object):
            if name in episodes:
                return episodes[name]
        raise RuntimeError(f"a state of episode {name} is too old: its record is no longer kept")

    def _live_again(self, past: _Episode, step: int) -> tuple[int, _Episode]:
        """Another object at step `step` of a recorded episode."""
        name, _ = self._begin(past.task, past.seed)
        episode = self._living.pop(name)
        for action in past.actions[:step]:
            episode.last = self._simulator.advance(episode.env, action)
            episode.actions.append(action)
        return name, episode

    def _take_object(self, task: Any, kind: Hashable) -> Any:
        """An object that no living episode needs, else a new one."""
        full = len(self._living) + len(self._finished) >= self._capacity
        source = self._finished or (self._living if full else None)
        if source:
            name = next(iter(source))
            episode = source.pop(name)
            env, episode.env = episode.env, None
            self._retire(name, episode)
            if kind is not None and episode.kind == kind:
                return env
            env.close()
        self.num_made += 1
        return self._simulator.make(task)

    def _retire(self, name: int, episode: _Episode) -> None:
        if episode.actions:
            self._without_object[name] = episode
        if len(self._without_object) > self._capacity:
            del self._without_object[next(iter(self._without_object))]


def _rows(tree: PyTree, num_batch_axes: int) -> PyTree:
    """NumPy arrays whose batch axes are one."""
    return jax.tree.map(lambda x: np.asarray(x).reshape((-1, *np.shape(x)[num_batch_axes:])), tree)


def _row(tree: PyTree, i: int) -> PyTree:
    return jax.tree.map(lambda x: x[i], tree)
