"""Hopper: hop forward with a body of hidden constants; see `random_bodies`.

The episode ends where the torso's height is 0.7 or less, its angle leaves (−0.2, 0.2), or another number of the
state leaves (−100, 100). At `standard_task` it is Gymnasium's Hopper-v5.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from quickstudy.envs.mujoco_body import Body, Seen
from quickstudy.envs.random_bodies import RandomBody
from quickstudy.types import Array


@dataclasses.dataclass(frozen=True)
class HopperParameters(RandomBody):
    """Hopper must hop with a body of hidden constants. A task is their factors, by their names in MuJoCo."""

    body: ClassVar[Body] = Body("hopper.xml", frame_skip=4)

    def healthy(self, seen: Seen) -> Array:
        height, angle = seen.qpos[1], seen.qpos[2]
        state = jnp.concatenate([seen.qpos[2:], seen.qvel])
        return (height > 0.7) & (jnp.abs(angle) < 0.2) & (jnp.abs(state) < 100.0).all()
