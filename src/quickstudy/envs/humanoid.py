"""Humanoid: walk in a hidden direction of the plane.

    d = (cos φ, sin φ), φ ~ U(0, 2π)
    reward = 1.25 d · v − 0.1 |a|² − min(5e-7 Σ contact forces², 10) + 5
    v = change of the centre of mass / 0.015 s;   200 steps;   the end is a height outside (1, 2)

Source: Rakelly et al. 2019 (PEARL, arXiv 1903.08254), `humanoid_dir.py` of katerakelly/oyster.
At `standard_task` it is Gymnasium's Humanoid-v5.

Differs from PEARL:
- The body and its 348 observations are Humanoid-v5's: without those of the world and of the free joint.
- The reward for being upright is not paid in the step that ends an episode, as in v5.
- Under MuJoCo 2.0 contact forces read as zero (openai/gym, issue 1541); ours are there, as in v5.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from quickstudy.envs.mujoco_body import Body, Seen
from quickstudy.envs.mujoco_family import MujocoFamily, squares
from quickstudy.types import Array, Key

FORWARD_REWARD, SURVIVE_REWARD = 1.25, 5.0
CONTROL_COST, CONTACT_COST, MAX_CONTACT_COST = 0.1, 5e-7, 10.0
HEALTHY_HEIGHT = (1.0, 2.0)


def centre_of_mass(model: Any, data: Any) -> Any:
    """As v5: x and y at the last evaluation of the dynamics, one substep behind qpos."""
    return model.body_mass @ data.xipos[:, :2] / model.body_mass.sum()


@dataclasses.dataclass(frozen=True)
class HumanoidDirection(MujocoFamily):
    """Humanoid must walk in a hidden direction. A task is the direction, a unit vector [2]."""

    body: ClassVar[Body] = Body(
        "humanoid.xml",
        frame_skip=5,
        fields=("cinert", "cvel", "qfrc_actuator", "cfrc_ext"),
        place=centre_of_mass,
        num_places=2,
    )
    noise: ClassVar[float] = 0.01

    @staticmethod
    def standard_task() -> Array:
        return jnp.array([1.0, 0.0])

    def sample_task(self, key: Key) -> Array:
        angle = jax.random.uniform(key, (), maxval=2 * jnp.pi)
        return jnp.array([jnp.cos(angle), jnp.sin(angle)])

    def observe(self, seen: Seen) -> Array:
        fields = seen.fields
        bodies = [fields["cinert"][1:], fields["cvel"][1:], fields["qfrc_actuator"][6:], fields["cfrc_ext"][1:]]
        return jnp.concatenate([seen.qpos[2:], seen.qvel, *(x.ravel() for x in bodies)])

    def healthy(self, seen: Seen) -> Array:
        low, high = HEALTHY_HEIGHT
        return (seen.qpos[2] > low) & (seen.qpos[2] < high)

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        contact = jnp.minimum(CONTACT_COST * squares(seen.fields["cfrc_ext"]), MAX_CONTACT_COST)
        forward = FORWARD_REWARD * jnp.sum(task * seen.velocity)
        return forward + SURVIVE_REWARD * self.healthy(seen) - CONTROL_COST * squares(action) - contact

    def describe(self, task: Array) -> str:
        return f"walk towards ({task[0]:+.2f}, {task[1]:+.2f})"
