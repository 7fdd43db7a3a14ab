"""Mountain car: rock a car up a hill that its engine may be too weak for; the physics constants are the task.

    velocity ← clip(velocity + (action − 1) force − gravity cos(3 x), ±0.07)
    x ← clip(x + velocity, −1.2, 0.6)
    at the left wall a velocity to the left becomes 0
    reward −1 a step; the end is x ≥ 0.5; from x ~ U(−0.6, −0.4), at rest; at most 200 steps

Source: Moore 1990; Gymnasium's MountainCar-v0, which `standard_task` equals. The ranges are those named R by
Packer et al. 2018 (arXiv 1810.12282), who call gravity mass; their E, for extrapolation: force
0.0001–0.0005 and 0.005–0.01, gravity 0.0005–0.001 and 0.005–0.01.

Differs from Gymnasium: no `goal_velocity`; the end asks for a velocity of 0 or more, their default.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, BLUE, GREEN, LIGHT, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

MIN_PLACE, MAX_PLACE, GOAL_PLACE, MAX_SPEED = -1.2, 0.6, 0.5, 0.07


class MountainCarPhysics(NamedTuple):
    """The constants of one car and hill, a step's change of velocity each; the defaults are Gymnasium's."""

    gravity: Array | float = 0.0025
    force: Array | float = 0.001


@dataclasses.dataclass(frozen=True)
class MountainCar:
    """Drive a weak car up a hill whose physics constants are hidden. A task is a `MountainCarPhysics`."""

    gravity: tuple[float, float] = (0.001, 0.005)
    """A step's change of velocity on the steepest slope, (lowest, highest); drawn uniformly."""
    force: tuple[float, float] = (0.0005, 0.005)
    """A step's change of velocity by the engine, (lowest, highest); drawn uniformly."""
    max_steps: int = 200

    def __post_init__(self) -> None:
        ranges = {name: getattr(self, name) for name in MountainCarPhysics._fields}
        expected = "(lowest, highest), above 0"
        rules = {name: (len(r) == 2 and 0 < r[0] <= r[1], expected) for name, r in ranges.items()}
        require(self, **rules, max_steps=(self.max_steps >= 1, "at least 1"))

    @property
    def observation_space(self) -> spaces.Box:
        """Place and velocity."""
        low = np.array([MIN_PLACE, -MAX_SPEED], np.float32)
        high = np.array([MAX_PLACE, MAX_SPEED], np.float32)
        return spaces.Box(low, high, dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """0 drives to the left, 1 rolls, 2 drives to the right."""
        return spaces.Discrete(3)

    @staticmethod
    def standard_task() -> MountainCarPhysics:
        """The constants of MountainCar-v0."""
        return jax.tree.map(lambda value: jnp.asarray(value, float), MountainCarPhysics())

    def sample_task(self, key: Key) -> MountainCarPhysics:
        low, high = jnp.array([getattr(self, name) for name in MountainCarPhysics._fields]).T
        return MountainCarPhysics(*jax.random.uniform(key, low.shape, minval=low, maxval=high))

    def reset(self, task: MountainCarPhysics, key: Key) -> tuple[Array, Array]:
        place = jax.random.uniform(key, minval=-0.6, maxval=-0.4)
        state = jnp.stack([place, jnp.zeros_like(place)])
        return state, state

    def step(self, task: MountainCarPhysics, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        place, velocity = state
        velocity = velocity + (action - 1) * task.force - task.gravity * jnp.cos(3 * place)
        velocity = jnp.clip(velocity, -MAX_SPEED, MAX_SPEED)
        place = jnp.clip(place + velocity, MIN_PLACE, MAX_PLACE)
        velocity = jnp.where((place == MIN_PLACE) & (velocity < 0), 0.0, velocity)
        state = jnp.stack([place, velocity])
        arrived = (place >= GOAL_PLACE) & (velocity >= 0)
        return state, Outcome(state, -jnp.ones_like(place), arrived, arrived)

    def describe(self, task: MountainCarPhysics) -> str:
        return f"engine {task.force:.4f}, gravity {task.gravity:.4f}"

    def action_labels(self, task: MountainCarPhysics) -> list[str]:
        return ["left", "roll", "right"]

    def render(self, task: MountainCarPhysics, state: Array) -> np.ndarray:
        low, high, width = MIN_PLACE - 0.08, MAX_PLACE + 0.08, 0.02
        picture = Picture((low, -0.05), (high, 1.3))
        for left in np.arange(low, high, width):
            picture.rectangle((left, -0.05), (left + width, _height(left + width / 2)), LIGHT)
        flag = _height(GOAL_PLACE)
        picture.line((GOAL_PLACE, flag), (GOAL_PLACE, flag + 0.2), 0.015, BLACK)
        picture.rectangle((GOAL_PLACE - 0.1, flag + 0.12), (GOAL_PLACE, flag + 0.2), GREEN)
        place = float(state[0])
        picture.disc((place, _height(place) + 0.05), 0.05, BLUE)
        return picture.pixels


def _height(place: float) -> float:
    """Of the hill, for drawing only: its slope is what gravity pulls along."""
    return 0.45 * math.sin(3 * place) + 0.55
