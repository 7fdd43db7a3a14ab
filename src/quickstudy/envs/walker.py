"""Walker: walk forward with a body of hidden constants; see `random_bodies`.

The episode ends where the torso's height leaves (0.8, 2) or its angle (−1, 1).
At `standard_task` it is Gymnasium's Walker2d-v5.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from quickstudy.envs.mujoco_body import Body, Seen
from quickstudy.envs.random_bodies import RandomBody
from quickstudy.types import Array


@dataclasses.dataclass(frozen=True)
class WalkerParameters(RandomBody):
    """Walker2d must walk with a body of hidden constants. A task is their factors, by their names in MuJoCo."""

    body: ClassVar[Body] = Body("walker2d_v5.xml", frame_skip=4)

    def healthy(self, seen: Seen) -> Array:
        height, angle = seen.qpos[1], seen.qpos[2]
        return (height > 0.8) & (height < 2.0) & (jnp.abs(angle) < 1.0)
