"""Any gymnax environment as a task family: its physics constants are the task.

    GymnaxEnv("CartPole-v1", ("length=0.25:1", "gravity=5:15"))

A task is a value for each of the fields of the environment's `EnvParams` that are named in `tasks`; all is
compiled. Time limits are the engine's: `max_steps_in_episode` becomes `max_steps` and is put out of reach.

Source: Lange 2022, package `gymnax`, the extra `gymnax`. It wants gymnasium < 1.4 and takes seconds to import.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.extras import package
from quickstudy.envs.ranges import arrays_of, describe, lowest, read_ranges, sample_ranges
from quickstudy.errors import require, unknown, wrong
from quickstudy.types import Array, Key, Outcome, PyTree

BEYOND_REACH = 2**30
DERIVED = {
    "total_mass": lambda params: params.masscart + params.masspole,
    "polemass_length": lambda params: params.masspole * params.length,
}
"""Constants of CartPole that follow from others; they are computed anew for every task."""


@dataclasses.dataclass(frozen=True)
class GymnaxEnv:
    """Any gymnax environment; a task is a value for each of the constants in `tasks`."""

    id: str = "CartPole-v1"
    """A name that `gymnax.make` knows."""
    tasks: tuple[str, ...] = ("length=0.25:1",)
    """Fields of `EnvParams`: `name=low:high` is uniform, `name=a,b,c` one of these."""
    time_limit: int | None = None
    """Steps of an episode; None takes the environment's own."""

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(self, time_limit=(self.time_limit is None or self.time_limit >= 1, "at least 1, or None"))
        read_ranges(self.tasks)

    @property
    def observation_space(self) -> spaces.Discrete | spaces.Box:
        return _spaces(self)[0]

    @property
    def action_space(self) -> spaces.Discrete | spaces.Box:
        return _spaces(self)[1]

    @property
    def max_steps(self) -> int:
        return self.time_limit or int(_made(self)[1].max_steps_in_episode)

    def sample_task(self, key: Key) -> dict[str, Array]:
        return sample_ranges(self.tasks, key)

    def reset(self, task: PyTree, key: Key) -> tuple[PyTree, Array]:
        env, params = self._told(task)
        observation, state = env.reset_env(key, params)
        return _arrays(state), self._plain(observation)

    def step(self, task: PyTree, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Outcome]:
        env, params = self._told(task)
        space = self.action_space
        if isinstance(space, spaces.Box):
            action = jnp.clip(action, space.low, space.high)
        observation, after, reward, terminated, _ = env.step_env(key, state, action, params)
        # The state keeps the types with which it began, as a scan wants it.
        after = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), after, state)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        return after, Outcome(self._plain(observation), reward, jnp.asarray(terminated, bool))

    def describe(self, task: PyTree) -> str:
        return describe(self.tasks, task)

    def _told(self, task: PyTree) -> tuple[Any, Any]:
        env, params = _made(self)
        params = params.replace(**arrays_of(self.tasks, task), max_steps_in_episode=BEYOND_REACH)
        derived = {name: follow(params) for name, follow in DERIVED.items() if hasattr(params, name)}
        return env, params.replace(**{name: x for name, x in derived.items() if name not in task})

    def _plain(self, observation: Any) -> Array:
        space = self.observation_space
        return jnp.asarray(observation, jax.dtypes.canonicalize_dtype(space.dtype)).reshape(space.shape)


@functools.cache
def _made(family: GymnaxEnv) -> tuple[Any, Any]:
    """The environment and its constants."""
    gymnax = package("gymnax", "gymnax")
    if family.id not in gymnax.registered_envs:
        raise unknown("GymnaxEnv.id", family.id, gymnax.registered_envs)
    env, params = gymnax.make(family.id)
    fields = [field.name for field in dataclasses.fields(params)]
    for name in lowest(family.tasks):
        if name not in fields or name == "max_steps_in_episode":
            raise unknown("GymnaxEnv.tasks", name, [f for f in fields if f != "max_steps_in_episode"])
    return env, params


@functools.cache
def _spaces(family: GymnaxEnv) -> tuple[spaces.Discrete | spaces.Box, spaces.Discrete | spaces.Box]:
    env, params = _made(family)
    with jax.ensure_compile_time_eval():  # they may be asked for while a step is traced
        observation, action = env.observation_space(params), env.action_space(params)
        return _space("observation_space", observation), _space("action_space", action)


def _arrays(state: PyTree) -> PyTree:
    """Python numbers in a first state become arrays, which they are ever after."""
    return jax.tree.map(jnp.asarray, state)


def _space(name: str, space: Any) -> spaces.Discrete | spaces.Box:
    if hasattr(space, "n"):
        return spaces.Discrete(int(space.n))
    if hasattr(space, "low"):
        dtype = np.dtype(space.dtype)
        dtype = np.dtype(np.float32) if np.issubdtype(dtype, np.floating) else dtype
        shape = tuple(space.shape)
        if name == "action_space" and shape == ():
            shape = (1,)
        low, high = (np.broadcast_to(np.asarray(x, dtype), shape) for x in (space.low, space.high))
        return spaces.Box(low, high, shape, dtype.type)
    raise wrong(name, space, "Discrete or Box")
