"""A task family as a Gymnasium environment, for other people's code: `to_gymnasium(Bandit(), seed=0)`.

An episode of the one is an episode of the other; `reset` draws a new task, or keeps one. With
`num_episodes=E` a whole trial becomes one episode, with what a recurrent learner must see to adapt in it
(observation, last action, last reward, whether an episode begins) as one vector: RL² by any library's
recurrent PPO.
"""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import wrong
from quickstudy.nets.spaces import TimeStepEncoder
from quickstudy.types import PyTree, TimeStep


def to_gymnasium(
    env: Any,
    seed: int = 0,
    task: PyTree | None = None,
    episodes_per_task: int = 1,
    num_episodes: int | None = None,
) -> gymnasium.Env:
    """The family `env` as a Gymnasium environment.

    `seed` draws tasks and chance until a `reset(seed=…)`. `task` is the one task of all episodes; without
    it a new one is drawn at every `episodes_per_task`-th reset. `reset(options={"task": task})` begins
    an episode in the given task; `info["task"]` tells it. `num_episodes` makes a trial of so many episodes
    one episode, always in a new task (or in `task`). `info["success"]` is there in a family that has success.
    """
    if episodes_per_task < 1:
        raise wrong("episodes_per_task", episodes_per_task, "at least 1")
    if num_episodes is None:
        return FamilyEpisodes(env, seed, task, episodes_per_task)
    if num_episodes < 1:
        raise wrong("num_episodes", num_episodes, "at least 1")
    return FamilyTrials(env, seed, task, num_episodes)


class FamilyEpisodes(gymnasium.Env):
    """One episode of a task family is one episode here."""

    def __init__(self, env: Any, seed: int, task: PyTree | None, episodes_per_task: int = 1):
        self.family, self.fixed_task = env, task
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
        self.render_mode = "rgb_array" if hasattr(env, "render") else None
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._episodes_per_task, self._key = episodes_per_task, jax.random.key(seed)
        self._begin_seed()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        if seed is not None:
            self._key = jax.random.key(seed)
            self._begin_seed()
        self.task = self._task_of(options or {})
        self._num_resets += 1
        self._state, observation = _reset(self.family, self.task, self._next_key())
        self._num_steps = 0
        return _element(self.observation_space, observation), {"task": self.task}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        action = jnp.asarray(action, jax.dtypes.canonicalize_dtype(self.action_space.dtype))
        self._state, outcome = _step(self.family, self.task, self._state, action, self._next_key())
        self._num_steps += 1
        terminated = bool(outcome.terminated)
        truncated = not terminated and self._num_steps >= self.family.max_steps
        info = {} if outcome.success is None else {"success": bool(outcome.success)}
        observation = _element(self.observation_space, outcome.observation)
        return observation, float(outcome.reward), terminated, truncated, info

    def render(self) -> Any:
        if self.render_mode is None:
            return None
        return self.family.render(jax.device_get(self.task), jax.device_get(self._state))

    def _begin_seed(self) -> None:
        self.task, self._num_resets = None, 0

    def _next_key(self) -> jax.Array:
        self._key, key = _split(self._key)
        return key

    def _task_of(self, options: dict[str, Any]) -> PyTree:
        if "task" in options:
            self._num_resets = 0
            return options["task"]
        if self.fixed_task is not None:
            return self.fixed_task
        if self._num_resets % self._episodes_per_task:
            return self.task
        return _sample_task(self.family, self._next_key())


class FamilyTrials(gymnasium.Env):
    """One trial, several episodes in one new task, is one episode here; observations [o, a, r, first]."""

    def __init__(self, env: Any, seed: int, task: PyTree | None, num_episodes: int):
        self._episodes, self._num_episodes = FamilyEpisodes(env, seed, task), num_episodes
        self._encode = jax.jit(TimeStepEncoder(env).__call__)
        size = TimeStepEncoder(env).size
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = env.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        observation, info = self._episodes.reset(seed=seed, options=options)
        self._num_done = 0
        return self._encoded(observation, np.zeros(self.action_space.shape or ()), 0.0, True), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self._episodes.step(action)
        done = terminated or truncated
        self._num_done += done
        over = self._num_done >= self._num_episodes
        if done and not over:
            observation, _ = self._episodes.reset(options={"task": self._episodes.task})
        # The trial is over because its budget is: what would come after it is cut, not worth nothing.
        return self._encoded(observation, action, reward, done), reward, False, over, info

    def _encoded(self, observation: Any, action: Any, reward: float, first: bool) -> np.ndarray:
        action = jnp.asarray(action, jax.dtypes.canonicalize_dtype(self.action_space.dtype))
        timestep = TimeStep(jnp.asarray(observation), action, jnp.float32(reward), jnp.asarray(first))
        return np.asarray(self._encode(timestep))


_split = jax.jit(lambda key: tuple(jax.random.split(key)))


@functools.partial(jax.jit, static_argnums=0)
def _sample_task(env: Any, key: jax.Array) -> Any:
    return env.sample_task(key)


@functools.partial(jax.jit, static_argnums=0)
def _reset(env: Any, task: Any, key: jax.Array) -> Any:
    return env.reset(task, key)


@functools.partial(jax.jit, static_argnums=0)
def _step(env: Any, task: Any, state: Any, action: Any, key: jax.Array) -> Any:
    return env.step(task, state, action, key)


def _element(space: spaces.Space, value: Any) -> Any:
    """An element of the space in NumPy, a NumPy integer for `Discrete`."""
    return np.asarray(value, space.dtype)[()]
