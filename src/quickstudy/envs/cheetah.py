"""HalfCheetah: run in a hidden direction, at a hidden speed, or with a body of hidden mass.

    direction:  d = ±1;              reward = d · v − 0.05 |a|²
    velocity:   target ~ U(0, 2);    reward = −|v − target| − 0.05 |a|²
    mass:       m = 2^U(−1, 1);      reward = v − 0.05 |a|² + height;   every mass and thickness × m
    v = change of the root's x / 0.05 s;   200 steps, no early end

Sources: Finn et al. 2017 (MAML, arXiv 1703.03400), `half_cheetah_env_rand*.py` of cbfinn/maml_rl: direction;
velocity in U(0, 2). Rakelly et al. 2019 (PEARL, arXiv 1903.08254), katerakelly/oyster: velocity in U(0, 3).
Greenberg et al. 2023 (RoML, arXiv 2301.11147), ido90/RobustMetaRL: velocity in U(0, 7), and mass.

`CheetahDirection(control_cost=0.1)` at `standard_task` is Gymnasium's HalfCheetah-v5.

Differs from the papers:
- The body is HalfCheetah-v5 (14 kg, MuJoCo 4); theirs are of MuJoCo 1.3 to 2.1.
- Observations are v5's 17; MAML, VariBAD and RoML append the torso's place (20).
- MAML's own v is the torso's velocity at the end of the step; its successors and ours use the change of place.
- Mass: what MuJoCo derives from masses and thickness (`mj_setConst`) follows; in RoML it stays that of the
  standard body. Inertias stay in both.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.envs.mujoco_body import Body, Scales, Seen
from quickstudy.envs.mujoco_family import MujocoFamily, squares
from quickstudy.errors import require
from quickstudy.types import Array, Key

FLOOR = 0
"""The first geom; it is no part of the body."""


@dataclasses.dataclass(frozen=True)
class _Cheetah(MujocoFamily):
    body: ClassVar[Body] = Body("half_cheetah.xml", frame_skip=5)
    noise: ClassVar[float] = 0.1
    normal_velocities: ClassVar[bool] = True

    control_cost: float = 0.05
    """Cost of the square of each action; Gymnasium's is 0.1."""

    def observe(self, seen: Seen) -> Array:
        return jnp.concatenate([seen.qpos[1:], seen.qvel])


@dataclasses.dataclass(frozen=True)
class CheetahDirection(_Cheetah):
    """HalfCheetah must run forward or backward. A task is the direction, 1 or −1."""

    @staticmethod
    def standard_task() -> Array:
        return jnp.ones(())

    def sample_task(self, key: Key) -> Array:
        return jax.random.rademacher(key, (), jnp.float32)

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        return task * seen.velocity[0] - self.control_cost * squares(action)

    def describe(self, task: Array) -> str:
        return "forward" if task > 0 else "backward"


@dataclasses.dataclass(frozen=True)
class CheetahVelocity(_Cheetah):
    """HalfCheetah must run at a hidden speed. A task is the speed, in m/s."""

    velocity: tuple[float, float] = (0.0, 2.0)
    """m/s, (lowest, highest): (0, 2) in MAML, (0, 3) in PEARL, (0, 7) in RoML."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, velocity=(self.velocity[0] < self.velocity[1], "lowest < highest"))

    def sample_task(self, key: Key) -> Array:
        return jax.random.uniform(key, (), minval=self.velocity[0], maxval=self.velocity[1])

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        return -jnp.abs(seen.velocity[0] - task) - self.control_cost * squares(action)

    def describe(self, task: Array) -> str:
        return f"run at {float(task):.2f} m/s"


@dataclasses.dataclass(frozen=True)
class CheetahMass(_Cheetah):
    """HalfCheetah must run with a body of hidden mass. A task is the factor of the standard mass."""

    log2_range: float = 1.0
    """The factor is 2 to a power that is uniform in ± this."""
    height_reward: float = 1.0
    """Of the root's height over its first one, which is about −0.5 where the cheetah lies on its back."""

    @staticmethod
    def standard_task() -> Array:
        return jnp.ones(())

    def sample_task(self, key: Key) -> Array:
        return 2.0 ** jax.random.uniform(key, (), minval=-self.log2_range, maxval=self.log2_range)

    def scales(self, task: Array) -> Scales:
        model = self.standard
        thickness = np.zeros((model.ngeom, 3), bool)
        thickness[FLOOR + 1 :, 0] = True
        return {
            "body_mass": jnp.full(model.nbody, task),
            "geom_size": jnp.where(thickness, task, 1.0),
        }

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        height = seen.qpos[1]
        return seen.velocity[0] - self.control_cost * squares(action) + self.height_reward * height

    def describe(self, task: Array) -> str:
        return f"{float(task):.2f} times the standard mass"
