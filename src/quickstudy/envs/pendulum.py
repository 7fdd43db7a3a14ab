"""Pendulum: swing a rod up and hold it there by a torque; the physics constants are the task.

    torque = clip(action, ±2);   θ = 0 is upright
    reward = −(θ² + 0.1 θ'² + 0.001 torque²), before the step, θ in [−π, π]
    θ' ← clip(θ' + (3 gravity / (2 length) · sin θ + 3 torque / (mass length²)) · 0.05, ±8);   θ ← θ + 0.05 θ'
    from θ ~ U(−π, π), θ' ~ U(−1, 1); 200 steps

Source: Gymnasium's Pendulum-v1, which `standard_task` equals. The ranges are those named R by Packer et al.
2018 (arXiv 1810.12282); their E, for extrapolation: length and mass 0.5–0.75 and 1.25–1.5.

Differs from Gymnasium: the state keeps θ in [−π, π], so that float32 stays exact over many turns.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, LIGHT, ORANGE, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

TIME_STEP, MAX_SPIN, MAX_TORQUE = 0.05, 8.0, 2.0


class PendulumPhysics(NamedTuple):
    """The constants of one pendulum; the defaults are Gymnasium's."""

    gravity: Array | float = 10.0
    """m/s²"""
    mass: Array | float = 1.0
    """kg"""
    length: Array | float = 1.0
    """m"""


@dataclasses.dataclass(frozen=True)
class Pendulum:
    """Swing up a pendulum whose physics constants are hidden. A task is a `PendulumPhysics`."""

    gravity: tuple[float, float] = (10.0, 10.0)
    """m/s², (lowest, highest); every constant is drawn uniformly."""
    mass: tuple[float, float] = (0.75, 1.25)
    """kg"""
    length: tuple[float, float] = (0.75, 1.25)
    """m"""
    max_steps: int = 200

    def __post_init__(self) -> None:
        ranges = {name: getattr(self, name) for name in PendulumPhysics._fields}
        expected = "(lowest, highest), above 0"
        rules = {name: (len(r) == 2 and 0 < r[0] <= r[1], expected) for name, r in ranges.items()}
        require(self, **rules, max_steps=(self.max_steps >= 1, "at least 1"))

    @property
    def observation_space(self) -> spaces.Box:
        """cos θ, sin θ and θ' (rad/s)."""
        high = np.array([1.0, 1.0, MAX_SPIN], np.float32)
        return spaces.Box(-high, high, dtype=np.float32)

    @property
    def action_space(self) -> spaces.Box:
        """The torque, N m, counter-clockwise."""
        return spaces.Box(-MAX_TORQUE, MAX_TORQUE, (1,), np.float32)

    @staticmethod
    def standard_task() -> PendulumPhysics:
        """The constants of Pendulum-v1."""
        return jax.tree.map(lambda value: jnp.asarray(value, float), PendulumPhysics())

    def sample_task(self, key: Key) -> PendulumPhysics:
        low, high = jnp.array([getattr(self, name) for name in PendulumPhysics._fields]).T
        return PendulumPhysics(*jax.random.uniform(key, low.shape, minval=low, maxval=high))

    def reset(self, task: PendulumPhysics, key: Key) -> tuple[Array, Array]:
        angle, spin = jax.random.uniform(key, (2,), minval=-1.0)
        state = jnp.stack([jnp.pi * angle, spin])
        return state, self._observe(state)

    def step(self, task: PendulumPhysics, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        angle, spin = state
        torque = jnp.clip(action[0], -MAX_TORQUE, MAX_TORQUE)
        cost = angle**2 + 0.1 * spin**2 + 0.001 * torque**2

        fall = 3 * task.gravity / (2 * task.length) * jnp.sin(angle)
        spin = spin + TIME_STEP * (fall + 3 * torque / (task.mass * task.length**2))
        spin = jnp.clip(spin, -MAX_SPIN, MAX_SPIN)
        angle = angle + TIME_STEP * spin
        angle = angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi))
        state = jnp.stack([angle, spin])
        return state, Outcome(self._observe(state), -cost, jnp.zeros((), bool))

    def _observe(self, state: Array) -> Array:
        angle, spin = state
        return jnp.stack([jnp.cos(angle), jnp.sin(angle), spin])

    def describe(self, task: PendulumPhysics) -> str:
        return f"rod {task.length:.2f} m, {task.mass:.2f} kg"

    def render(self, task: PendulumPhysics, state: Array) -> np.ndarray:
        edge = 1.2 * self.length[1]
        picture = Picture((-edge, -edge), (edge, edge))
        angle, length = float(state[0]), float(task.length)
        tip = (-length * math.sin(angle), length * math.cos(angle))
        picture.line((0.0, 0.0), (0.0, length), 0.03 * edge, LIGHT)
        picture.line((0.0, 0.0), tip, 0.14 * edge, ORANGE)
        picture.disc((0.0, 0.0), 0.05 * edge, BLACK)
        return picture.pixels
