"""Any Gymnasium environment as a task family: what may differ between tasks is named with its range.

    @dataclasses.dataclass(frozen=True)
    class Gravities(GymnasiumEnv):
        id: str = "Pendulum-v1"
        tasks: tuple[str, ...] = ("g=5:15", "m=0.5,1,2")

A task is told to the environment as attributes of `env.unwrapped` (Pendulum's `g`), as keyword arguments of
`gymnasium.make`, or by its own method `set_task`, which gets a dictionary of names and values. An episode
follows from its task, its seed and its actions; the seed comes from the key, so keys repeat everything.
Objects live behind `quickstudy.envs.host`.

Time limits are the engine's: the environment is made without its `TimeLimit`, whose steps become `max_steps`.
An environment that cuts an episode by itself before that ends it, like a termination. Observations come as
float32 where they are float64; boxes of several axes are flattened where they are actions.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Hashable
from typing import Any, ClassVar, Literal, NamedTuple

import gymnasium
import jax
from gymnasium import spaces

from quickstudy.envs.host import HostEpisodes, HostOutcome, HostState
from quickstudy.envs.plain import own_action, plain_action_space, plain_observation, plain_observation_space
from quickstudy.envs.ranges import describe, lowest, read_ranges, sample_ranges, values_of
from quickstudy.errors import require, wrong
from quickstudy.types import Array, Key, Outcome, PyTree

SUCCESS = ("success", "is_success")
"""Entries of `info` that say whether the task is solved."""


@dataclasses.dataclass(frozen=True)
class GymnasiumEnv:
    """Any Gymnasium environment; a task is a value for each of the names in `tasks`."""

    id: str = "Pendulum-v1"
    """A registered environment, or a factory: `package.module:callable`."""
    tasks: tuple[str, ...] = ("g=5:15",)
    """What differs between tasks: `name=low:high` is uniform, `name=a,b,c` one of these."""
    told: Literal["attributes", "keywords", "set_task"] = "attributes"
    """Of `env.unwrapped` (dots lead into its parts), of the factory, or to `set_task({name: value})`."""
    time_limit: int | None = None
    """Steps of an episode; None takes the limit that the environment is registered with."""
    reuse: bool = True
    """One environment object lives one episode after another; False where its `reset` leaves something over."""

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(
            self,
            told=(self.told in ("attributes", "keywords", "set_task"), "attributes, keywords or set_task"),
            time_limit=(self.time_limit is None or self.time_limit >= 1, "at least 1, or None"),
        )
        read_ranges(self.tasks)

    def make(self, **keywords: Any) -> gymnasium.Env:
        """A new environment object without a time limit; override it to wrap the environment."""
        module, _, name = self.id.rpartition(":")
        if module and name.isidentifier():
            return getattr(importlib.import_module(module), name)(**keywords)
        return gymnasium.make(self.id, max_episode_steps=-1, disable_env_checker=True, **keywords)

    @property
    def observation_space(self) -> spaces.Discrete | spaces.Box:
        return _facts(self).observation_space

    @property
    def action_space(self) -> spaces.Discrete | spaces.Box:
        return _facts(self).action_space

    @property
    def max_steps(self) -> int:
        return _facts(self).max_steps

    def sample_task(self, key: Key) -> dict[str, Array]:
        """The value of a range, the number of a choice."""
        return sample_ranges(self.tasks, key)

    def reset(self, task: PyTree, key: Key) -> tuple[HostState, Array]:
        return _episodes(self).reset(task, key)

    def reset_where(self, needed: Array, task: PyTree, key: Key) -> tuple[HostState, Array]:
        """`reset` that does no work where it is not `needed`."""
        return _episodes(self).reset(task, key, needed)

    def step(self, task: PyTree, state: HostState, action: Array, key: Key) -> tuple[HostState, Outcome]:
        """The task is the one of the reset, and chance is the environment's own: seeded by the reset's key."""
        state, outcome = _episodes(self).step(task, state, action)
        return state, outcome if _facts(self).has_success else outcome._replace(success=None)

    def values(self, task: PyTree) -> dict[str, Any]:
        """What the environment is told, by name."""
        return values_of(self.tasks, task)

    def describe(self, task: PyTree) -> str:
        return describe(self.tasks, task)


class _Facts(NamedTuple):
    """What one object of the environment says of all."""

    observation_space: spaces.Discrete | spaces.Box
    action_space: spaces.Discrete | spaces.Box
    max_steps: int
    has_success: bool


@dataclasses.dataclass(frozen=True)
class _GymnasiumSimulator:
    """One environment object at a time, for `HostEpisodes`."""

    family: GymnasiumEnv

    def make(self, task: Any) -> gymnasium.Env:
        return self.family.make(**self._keywords(task))

    def kind(self, task: Any) -> Hashable:
        return tuple(self._keywords(task).items()) if self.family.reuse else None

    def begin(self, env: gymnasium.Env, task: Any, seed: int) -> Any:
        self.tell(env, task)
        observation, _ = env.reset(seed=seed)
        return plain_observation(env.observation_space, observation)

    def advance(self, env: gymnasium.Env, action: Any) -> HostOutcome:
        observation, reward, terminated, truncated, info = env.step(own_action(env.action_space, action))
        success = bool(info) and any(info.get(name, False) for name in SUCCESS)
        observation = plain_observation(env.observation_space, observation)
        return HostOutcome(observation, float(reward), bool(terminated), bool(truncated), success)

    def tell(self, env: gymnasium.Env, task: Any) -> None:
        values = self.family.values(task)
        if self.family.told == "set_task":
            env.get_wrapper_attr("set_task")(values)
        elif self.family.told == "attributes":
            for name, value in values.items():
                *path, last = name.split(".")
                owner = functools.reduce(getattr, path, env.unwrapped)
                getattr(owner, last)  # a name that is not there must not pass for a task
                setattr(owner, last, value)

    def _keywords(self, task: Any) -> dict[str, Any]:
        return self.family.values(task) if self.family.told == "keywords" else {}


@functools.cache
def _episodes(family: GymnasiumEnv) -> HostEpisodes:
    facts = _facts(family)
    space = facts.observation_space
    dtype = jax.dtypes.canonicalize_dtype(space.dtype)
    return HostEpisodes(_GymnasiumSimulator(family), space.shape or (), dtype, facts.max_steps)


@functools.cache
def _facts(family: GymnasiumEnv) -> _Facts:
    """Make one object, tell it a task and take one step."""
    simulator = _GymnasiumSimulator(family)
    task = lowest(family.tasks)
    try:
        env = simulator.make(task)
    except (ImportError, AttributeError, TypeError, gymnasium.error.Error) as error:
        raise wrong(
            "id", family.id, f"an environment that can be made with {family.tasks} ({error})"
        ) from error
    try:
        simulator.tell(env, task)
    except AttributeError as error:
        raise wrong("tasks", family.tasks, f"names that {family.id} knows ({error})") from error
    max_steps = family.time_limit or _registered_limit(family.id, env)
    if max_steps is None:
        raise wrong("time_limit", None, f"a number of steps: {family.id} has no limit of its own")
    env.reset(seed=0)
    env.action_space.seed(0)
    info = env.step(env.action_space.sample())[4]
    spaces_ = plain_observation_space(env.observation_space), plain_action_space(env.action_space)
    env.close()
    return _Facts(*spaces_, int(max_steps), any(name in info for name in SUCCESS))


def _registered_limit(name: str, env: gymnasium.Env) -> int | None:
    try:
        return gymnasium.spec(name).max_episode_steps
    except gymnasium.error.Error:  # a factory
        return env.spec.max_episode_steps if env.spec is not None else None
