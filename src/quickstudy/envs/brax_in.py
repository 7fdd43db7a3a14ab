"""Any Brax environment as a task family: gravity, masses, springs, damping and motors are the task.

    BraxEnv("halfcheetah", ("gravity=0.5:1.5", "mass=0.5,1,2"))

Every name is a factor on the body's own constant, 1 being the body as Brax ships it; all is compiled. Brax
bodies are not the MuJoCo bodies of the literature: never compare returns with `cheetah-*`.

Source: Freeman et al. 2021 (arXiv 2106.13281), package `brax`, the extra `brax`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.extras import package
from quickstudy.envs.ranges import arrays_of, describe, read_ranges, sample_ranges
from quickstudy.errors import require, unknown
from quickstudy.types import Array, Key, Outcome, PyTree

CONSTANTS = {
    "gravity": ("gravity",),
    "mass": ("link.inertia.mass", "link.inertia.i"),  # a denser body of the same shape
    "stiffness": ("dof.stiffness",),
    "damping": ("dof.damping",),
    "gear": ("actuator.gear",),
}
"""Fields of a Brax system that each factor multiplies."""


@dataclasses.dataclass(frozen=True)
class BraxEnv:
    """Any Brax environment; a task is a factor for each of the constants in `tasks`."""

    id: str = "halfcheetah"
    """A name that `brax.envs.get_environment` knows."""
    tasks: tuple[str, ...] = ("gravity=0.5:1.5", "mass=0.5:2")
    """Factors on gravity, mass, stiffness, damping or gear: `name=low:high` or `name=a,b,c`."""
    backend: Literal["generalized", "spring", "positional"] = "generalized"
    """Brax's physics. The faster two ignore masses, stiffness or damping of some bodies; `check-env` tells."""
    time_limit: int = 200
    """Steps of an episode."""

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(
            self,
            backend=(
                self.backend in ("generalized", "spring", "positional"),
                "generalized, spring or positional",
            ),
            time_limit=(self.time_limit >= 1, "at least 1"),
        )
        for name in read_ranges(self.tasks):
            if name not in CONSTANTS:
                raise unknown("BraxEnv.tasks", name, CONSTANTS)

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (_made(self).observation_size,), np.float32)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (_made(self).action_size,), np.float32)

    @property
    def max_steps(self) -> int:
        return self.time_limit

    def sample_task(self, key: Key) -> dict[str, Array]:
        return sample_ranges(self.tasks, key)

    def reset(self, task: PyTree, key: Key) -> tuple[PyTree, Array]:
        state = self._told(task).reset(key)
        return state, state.obs

    def step(self, task: PyTree, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Outcome]:
        after = self._told(task).step(state, jnp.clip(action, -1.0, 1.0))
        return after, Outcome(after.obs, after.reward, after.done > 0)

    def describe(self, task: PyTree) -> str:
        return describe(self.tasks, task)

    def _told(self, task: PyTree) -> Any:
        """The environment with the task's body."""
        env = copy.copy(_made(self))
        for name, factor in arrays_of(self.tasks, task).items():
            for path in CONSTANTS[name]:
                constant = functools.reduce(getattr, path.split("."), env.sys)
                env.sys = env.sys.tree_replace({path: constant * factor})
        return env


@functools.cache
def _made(family: BraxEnv) -> Any:
    envs = package("brax.envs", "brax")
    with jax.ensure_compile_time_eval():  # it may be asked for while a step is traced
        try:
            return envs.get_environment(family.id, backend=family.backend)
        except KeyError:
            raise unknown("BraxEnv.id", family.id, envs._envs) from None
