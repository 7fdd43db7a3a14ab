"""Cart-pole: balance a pole on a cart by pushing the cart left or right; the physics constants are the task.

    total = mass_cart + mass_pole;   force = ±force
    push = (force + mass_pole · length · θ'² sin θ) / total
    θ'' = (gravity sin θ − cos θ · push) / (length (4/3 − mass_pole cos² θ / total))
    x'' = push − mass_pole · length · θ'' cos θ / total
    explicit Euler, 0.02 s; reward 1 a step; the end is |x| > 2.4 or |θ| > 12°; at most 500 steps

Source: Barto, Sutton and Anderson 1983; Gymnasium's CartPole-v1, which `standard_task` equals. The ranges are
those named R by Packer et al. 2018 (arXiv 1810.12282); their E, for extrapolation: force 1–5 and
15–20, length 0.05–0.25 and 0.75–1, mass_pole 0.01–0.05 and 0.5–1.

Differs from Packer et al.: 500 steps for their 200, the limit of Gymnasium's version 1.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, BLUE, GREY, ORANGE, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

TIME_STEP = 0.02
MAX_PLACE, MAX_ANGLE = 2.4, math.radians(12)


class CartPolePhysics(NamedTuple):
    """The constants of one cart and pole; the defaults are Gymnasium's."""

    gravity: Array | float = 9.8
    """m/s²"""
    mass_cart: Array | float = 1.0
    """kg"""
    mass_pole: Array | float = 0.1
    """kg"""
    length: Array | float = 0.5
    """m: half the pole's length, from the joint to the centre of mass."""
    force: Array | float = 10.0
    """N: of a push, to the left or to the right."""


@dataclasses.dataclass(frozen=True)
class CartPole:
    """Balance a pole on a cart whose physics constants are hidden. A task is a `CartPolePhysics`."""

    gravity: tuple[float, float] = (9.8, 9.8)
    """m/s², (lowest, highest); every constant is drawn uniformly."""
    mass_cart: tuple[float, float] = (1.0, 1.0)
    """kg"""
    mass_pole: tuple[float, float] = (0.05, 0.5)
    """kg"""
    length: tuple[float, float] = (0.25, 0.75)
    """m, half the pole's length"""
    force: tuple[float, float] = (5.0, 15.0)
    """N"""
    max_steps: int = 500

    def __post_init__(self) -> None:
        ranges = {name: getattr(self, name) for name in CartPolePhysics._fields}
        expected = "(lowest, highest), above 0"
        rules = {name: (len(r) == 2 and 0 < r[0] <= r[1], expected) for name, r in ranges.items()}
        require(self, **rules, max_steps=(self.max_steps >= 1, "at least 1"))

    @property
    def observation_space(self) -> spaces.Box:
        """Place, velocity, angle and angular velocity: m, m/s, rad, rad/s."""
        high = np.array([2 * MAX_PLACE, np.inf, 2 * MAX_ANGLE, np.inf], np.float32)
        return spaces.Box(-high, high, dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """0 pushes to the left, 1 to the right."""
        return spaces.Discrete(2)

    @staticmethod
    def standard_task() -> CartPolePhysics:
        """The constants of CartPole-v1."""
        return jax.tree.map(lambda value: jnp.asarray(value, float), CartPolePhysics())

    def sample_task(self, key: Key) -> CartPolePhysics:
        low, high = jnp.array([getattr(self, name) for name in CartPolePhysics._fields]).T
        return CartPolePhysics(*jax.random.uniform(key, low.shape, minval=low, maxval=high))

    def reset(self, task: CartPolePhysics, key: Key) -> tuple[Array, Array]:
        state = jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05)
        return state, state

    def step(self, task: CartPolePhysics, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        place, velocity, angle, spin = state
        sin, cos = jnp.sin(angle), jnp.cos(angle)
        total = task.mass_cart + task.mass_pole
        force = jnp.where(action == 1, task.force, -task.force)
        push = (force + task.mass_pole * task.length * spin**2 * sin) / total
        inertia = task.length * (4 / 3 - task.mass_pole * cos**2 / total)
        angular_acceleration = (task.gravity * sin - cos * push) / inertia
        acceleration = push - task.mass_pole * task.length * angular_acceleration * cos / total

        change = jnp.stack([velocity, acceleration, spin, angular_acceleration])
        state = state + TIME_STEP * change
        fallen = (jnp.abs(state[0]) > MAX_PLACE) | (jnp.abs(state[2]) > MAX_ANGLE)
        return state, Outcome(state, jnp.ones_like(place), fallen)

    def describe(self, task: CartPolePhysics) -> str:
        return f"pole {2 * task.length:.2f} m, {task.mass_pole:.2f} kg; push {task.force:.1f} N"

    def action_labels(self, task: CartPolePhysics) -> list[str]:
        return ["push left", "push right"]

    def render(self, task: CartPolePhysics, state: Array) -> np.ndarray:
        picture = Picture((-2.8, -0.6), (2.8, 2.2))
        place, angle, length = float(state[0]), float(state[2]), 2 * float(task.length)
        picture.line((-2.8, 0.0), (2.8, 0.0), 0.04, GREY)
        picture.rectangle((place - 0.35, -0.2), (place + 0.35, 0.2), BLACK)
        tip = (place + length * math.sin(angle), 0.2 + length * math.cos(angle))
        picture.line((place, 0.2), tip, 0.12, ORANGE)
        picture.disc((place, 0.2), 0.07, BLUE)
        return picture.pixels
