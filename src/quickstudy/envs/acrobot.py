"""Acrobot: swing a chain of two links up by a torque at the joint between them; the physics are the task.

    θ₁ is the first link's angle from hanging down, θ₂ the second's from the first; torque −1, 0 or 1 N m
    θ₁'', θ₂'' as in `_derivative`
    one Runge-Kutta step of fourth order, 0.2 s; then |θ₁'| ≤ 4π, |θ₂'| ≤ 9π
    reward −1 a step; 0 and the end when −cos θ₁ − cos(θ₁ + θ₂) > 1: the tip is a link above the pivot
    from U(−0.1, 0.1)⁴; at most 500 steps

Source: Sutton 1996 (NIPS 8), with the equations of Sutton and Barto's book; Gymnasium's Acrobot-v1, which
`standard_task` equals. The ranges are those named R by Packer et al. 2018 (arXiv 1810.12282); their E,
for extrapolation: length, mass and inertia 0.5–0.75 and 1.25–1.5.

Differs from Packer et al.: a link's centre of mass is in its middle. Theirs stays at 0.5 m whatever the length.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, BLUE, GREEN, ORANGE, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

TIME_STEP = 0.2
MAX_SPIN_1, MAX_SPIN_2 = 4 * math.pi, 9 * math.pi


class AcrobotPhysics(NamedTuple):
    """The constants of one acrobot; the defaults are Gymnasium's."""

    gravity: Array | float = 9.8
    """m/s²"""
    length: Array | float = 1.0
    """m, of each link"""
    mass: Array | float = 1.0
    """kg, of each link"""
    inertia: Array | float = 1.0
    """kg m², of each link about its centre of mass"""
    torque: Array | float = 1.0
    """N m"""


@dataclasses.dataclass(frozen=True)
class Acrobot:
    """Swing up two links whose physics constants are hidden. A task is an `AcrobotPhysics`."""

    gravity: tuple[float, float] = (9.8, 9.8)
    """m/s², (lowest, highest); every constant is drawn uniformly."""
    length: tuple[float, float] = (0.75, 1.25)
    """m, of each link"""
    mass: tuple[float, float] = (0.75, 1.25)
    """kg, of each link"""
    inertia: tuple[float, float] = (0.75, 1.25)
    """kg m², of each link about its centre of mass"""
    torque: tuple[float, float] = (1.0, 1.0)
    """N m"""
    max_steps: int = 500

    def __post_init__(self) -> None:
        ranges = {name: getattr(self, name) for name in AcrobotPhysics._fields}
        expected = "(lowest, highest), above 0"
        rules = {name: (len(r) == 2 and 0 < r[0] <= r[1], expected) for name, r in ranges.items()}
        require(self, **rules, max_steps=(self.max_steps >= 1, "at least 1"))

    @property
    def observation_space(self) -> spaces.Box:
        """cos θ₁, sin θ₁, cos θ₂, sin θ₂, θ₁' and θ₂' (rad/s)."""
        high = np.array([1.0, 1.0, 1.0, 1.0, MAX_SPIN_1, MAX_SPIN_2], np.float32)
        return spaces.Box(-high, high, dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """The torque: 0 is negative, 1 none, 2 positive."""
        return spaces.Discrete(3)

    @staticmethod
    def standard_task() -> AcrobotPhysics:
        """The constants of Acrobot-v1."""
        return jax.tree.map(lambda value: jnp.asarray(value, float), AcrobotPhysics())

    def sample_task(self, key: Key) -> AcrobotPhysics:
        low, high = jnp.array([getattr(self, name) for name in AcrobotPhysics._fields]).T
        return AcrobotPhysics(*jax.random.uniform(key, low.shape, minval=low, maxval=high))

    def reset(self, task: AcrobotPhysics, key: Key) -> tuple[Array, Array]:
        state = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        return state, self._observe(state)

    def step(self, task: AcrobotPhysics, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        torque = task.torque * (action - 1)
        k1 = _derivative(task, torque, state)
        k2 = _derivative(task, torque, state + TIME_STEP / 2 * k1)
        k3 = _derivative(task, torque, state + TIME_STEP / 2 * k2)
        k4 = _derivative(task, torque, state + TIME_STEP * k3)
        angle_1, angle_2, spin_1, spin_2 = state + TIME_STEP / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

        spin_1 = jnp.clip(spin_1, -MAX_SPIN_1, MAX_SPIN_1)
        spin_2 = jnp.clip(spin_2, -MAX_SPIN_2, MAX_SPIN_2)
        state = jnp.stack([_wrapped(angle_1), _wrapped(angle_2), spin_1, spin_2])
        up = -jnp.cos(angle_1) - jnp.cos(angle_1 + angle_2) > 1
        return state, Outcome(self._observe(state), up - 1.0, up, up)

    def _observe(self, state: Array) -> Array:
        angle_1, angle_2, spin_1, spin_2 = state
        cos_1, sin_1 = jnp.cos(angle_1), jnp.sin(angle_1)
        return jnp.stack([cos_1, sin_1, jnp.cos(angle_2), jnp.sin(angle_2), spin_1, spin_2])

    def describe(self, task: AcrobotPhysics) -> str:
        return f"links of {task.length:.2f} m, {task.mass:.2f} kg, {task.inertia:.2f} kg m²"

    def action_labels(self, task: AcrobotPhysics) -> list[str]:
        return ["torque −", "none", "torque +"]

    def render(self, task: AcrobotPhysics, state: Array) -> np.ndarray:
        edge, length = 2.2 * self.length[1], float(task.length)
        angle_1, angle = float(state[0]), float(state[0] + state[1])
        joint = (length * math.sin(angle_1), -length * math.cos(angle_1))
        tip = (joint[0] + length * math.sin(angle), joint[1] - length * math.cos(angle))
        picture = Picture((-edge, -edge), (edge, edge))
        picture.line((-edge, length), (edge, length), 0.02 * edge, GREEN)
        picture.line((0.0, 0.0), joint, 0.07 * edge, BLUE)
        picture.line(joint, tip, 0.07 * edge, ORANGE)
        picture.disc((0.0, 0.0), 0.03 * edge, BLACK)
        picture.disc(joint, 0.03 * edge, BLACK)
        return picture.pixels


def _derivative(task: AcrobotPhysics, torque: Array, state: Array) -> Array:
    """The velocities and accelerations of both angles, [4]."""
    angle_1, angle_2, spin_1, spin_2 = state
    sin_2, cos_2 = jnp.sin(angle_2), jnp.cos(angle_2)
    mass, length, centre = task.mass, task.length, task.length / 2

    d1 = mass * (centre**2 + length**2 + centre**2 + 2 * length * centre * cos_2) + 2 * task.inertia
    d2 = mass * (centre**2 + length * centre * cos_2) + task.inertia
    phi2 = mass * centre * task.gravity * jnp.sin(angle_1 + angle_2)
    phi1 = phi2 + mass * (centre + length) * task.gravity * jnp.sin(angle_1)
    phi1 = phi1 - mass * length * centre * sin_2 * spin_2 * (spin_2 + 2 * spin_1)

    turn = torque + d2 / d1 * phi1 - mass * length * centre * spin_1**2 * sin_2 - phi2
    acceleration_2 = turn / (mass * centre**2 + task.inertia - d2**2 / d1)
    acceleration_1 = -(d2 * acceleration_2 + phi1) / d1
    return jnp.stack([spin_1, spin_2, acceleration_1, acceleration_2])


def _wrapped(angle: Array) -> Array:
    """The same angle in [−π, π]."""
    return angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi))
