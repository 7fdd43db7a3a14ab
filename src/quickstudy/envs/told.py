"""Another family with its task told: what the goal-known line of a comparison is trained on.

    observation ← (observation, task);   all else as in the family

Source: the oracle of Finn et al. 2017 (MAML, arXiv 1703.03400), section 5.3.
Differs from the paper: none known.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import unknown, wrong
from quickstudy.registry import REGISTRIES, resolve
from quickstudy.types import Array, Key, Outcome, PyTree


@dataclasses.dataclass(frozen=True)
class Told:
    """Another family, with its defaults, whose observations end with the task. A task is the family's own."""

    family: str = "point-navigation"
    """Registry name; its observations are vectors of floats, and its tasks arrays."""

    def __post_init__(self) -> None:
        # By its registry name alone: an experiment.json that somebody else made must not make us import a file.
        if self.family not in REGISTRIES["env"] or isinstance(self.env, Told):
            raise unknown("Told.family", self.family, REGISTRIES["env"].keys() - {"told"})
        if hasattr(self.env, "split"):
            raise wrong("Told.family", self.family, "a family that has no split of its own")

    @functools.cached_property
    def env(self) -> Any:
        """The family."""
        return resolve("env", self.family)()

    @property
    def version(self) -> int:
        return getattr(self.env, "version", 1)

    @property
    def observation_space(self) -> spaces.Box:
        """Raises `InputError` where the family's observations are no vectors of floats."""
        space = self.env.observation_space
        if not (
            isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)
        ):
            raise wrong("Told.family", self.family, "a family whose observations are vectors of floats")
        task = jax.eval_shape(lambda: _vector(self.env.sample_task(jax.random.key(0))))
        unbounded = np.full(task.shape, np.inf, np.float32)
        low, high = np.append(space.low, -unbounded), np.append(space.high, unbounded)
        return spaces.Box(low, high, dtype=np.float32)

    @property
    def action_space(self) -> spaces.Space:
        return self.env.action_space

    @property
    def max_steps(self) -> int:
        return self.env.max_steps

    def sample_task(self, key: Key) -> PyTree:
        return self.env.sample_task(key)

    def reset(self, task: PyTree, key: Key) -> tuple[PyTree, Array]:
        state, observation = self.env.reset(task, key)
        return state, _beside(observation, task)

    def step(self, task: PyTree, state: PyTree, action: Array, key: Key) -> tuple[PyTree, Outcome]:
        state, outcome = self.env.step(task, state, action, key)
        return state, outcome._replace(observation=_beside(outcome.observation, task))

    def describe(self, task: PyTree) -> str:
        return self.env.describe(task) if hasattr(self.env, "describe") else ""


def _vector(task: PyTree) -> Array:
    """All numbers of a task, [n]."""
    return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(task)])


def _beside(observation: Array, task: PyTree) -> Array:
    return jnp.concatenate([observation.astype(jnp.float32), _vector(task)])
