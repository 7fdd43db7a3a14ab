"""Ant: walk in a hidden direction, to a hidden place, or at a hidden speed.

    direction:  d = (±1, 0), or any;     reward = d · v − 0.005 |a|² − contact + 0.05
    velocity:   target ~ U(0, 3);        reward = 1 − |v_x − target| − 0.005 |a|² − contact + 0.05
    goal:       uniform in a disc of 3;  reward = −|place − goal|_1 − 0.1 |a|² − contact;   no early end
    contact = 0.0005 · Σ clip(contact forces, ±1)²;   v = change of the torso's place / 0.05 s;   200 steps
    direction and velocity end where the torso's height leaves [0.2, 1]

Sources: Finn et al. 2017 (MAML, arXiv 1703.03400), `ant_env_rand.py` and `ant_env_rand_direc.py` of
cbfinn/maml_rl: velocity, direction. Rothfuss et al. 2019 (ProMP, arXiv 1810.06784) and Rakelly et al. 2019
(PEARL, arXiv 1903.08254), `ant_goal.py` of katerakelly/oyster: goal. PEARL's direction has other constants:
`AntDirection(control_cost=0.5, survive_reward=1.0)`, which at `standard_task` is Gymnasium's Ant-v5.

Differs from the papers:
- The body and its 105 observations are Ant-v5's, with contact forces; `goal` sees the torso's x, y too (107).
  MAML's observations hold also the torso's place and rotation matrix, PEARL's for direction no contact forces.
- The survive reward is not paid in the step that ends an episode, as in v5.
- Under MuJoCo 2.0 contact forces read as zero (openai/gym, issue 1541); ours are there, as in v5.
- MAML's own v is the torso's velocity at the end of the step; its successors and ours use the change of place.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp

from quickstudy.envs.mujoco_body import Body, Seen
from quickstudy.envs.mujoco_family import MujocoFamily, squares
from quickstudy.errors import require
from quickstudy.types import Array, Key

TORSO = 1
CONTACT_COST = 5e-4
HEALTHY_HEIGHT = (0.2, 1.0)


def torso(model: Any, data: Any) -> Any:
    """As v5: x and y of the torso at the last evaluation of the dynamics, one substep behind qpos."""
    return data.xpos[TORSO, :2]


def contact_forces(seen: Seen) -> Array:
    """[bodies, 6], clipped to ±1."""
    return jnp.clip(seen.fields["cfrc_ext"], -1.0, 1.0)


@dataclasses.dataclass(frozen=True)
class _Ant(MujocoFamily):
    body: ClassVar[Body] = Body("ant.xml", frame_skip=5, fields=("cfrc_ext",), place=torso, num_places=2)
    noise: ClassVar[float] = 0.1
    normal_velocities: ClassVar[bool] = True

    def observe(self, seen: Seen) -> Array:
        return jnp.concatenate([seen.qpos[2:], seen.qvel, contact_forces(seen)[1:].ravel()])


@dataclasses.dataclass(frozen=True)
class _WalkingAnt(_Ant):
    control_cost: float = 0.005
    """Cost of the square of each action; PEARL's and Gymnasium's is 0.5."""
    survive_reward: float = 0.05
    """PEARL's and Gymnasium's is 1."""

    def healthy(self, seen: Seen) -> Array:
        low, high = HEALTHY_HEIGHT
        finite = jnp.isfinite(seen.qpos).all() & jnp.isfinite(seen.qvel).all()
        return finite & (seen.qpos[2] >= low) & (seen.qpos[2] <= high)

    def upkeep(self, seen: Seen, action: Array) -> Array:
        """What is earned beside the task's own reward."""
        costs = self.control_cost * squares(action) + CONTACT_COST * squares(contact_forces(seen))
        return self.survive_reward * self.healthy(seen) - costs


@dataclasses.dataclass(frozen=True)
class AntDirection(_WalkingAnt):
    """Ant must walk in a hidden direction. A task is the direction, a unit vector [2]."""

    directions: Literal["forward-backward", "all"] = "forward-backward"

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.directions in ("forward-backward", "all")
        require(self, directions=(known, "'forward-backward' or 'all'"))

    @staticmethod
    def standard_task() -> Array:
        return jnp.array([1.0, 0.0])

    def sample_task(self, key: Key) -> Array:
        if self.directions == "all":
            return _unit(jax.random.uniform(key, (), maxval=2 * jnp.pi))
        return jnp.array([jax.random.rademacher(key, (), jnp.float32), 0.0])

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        return jnp.sum(task * seen.velocity) + self.upkeep(seen, action)

    def describe(self, task: Array) -> str:
        return f"walk towards ({task[0]:+.2f}, {task[1]:+.2f})"


@dataclasses.dataclass(frozen=True)
class AntVelocity(_WalkingAnt):
    """Ant must walk forward at a hidden speed. A task is the speed, in m/s."""

    velocity: tuple[float, float] = (0.0, 3.0)
    """m/s, (lowest, highest)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, velocity=(self.velocity[0] < self.velocity[1], "lowest < highest"))

    def sample_task(self, key: Key) -> Array:
        return jax.random.uniform(key, (), minval=self.velocity[0], maxval=self.velocity[1])

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        return 1.0 - jnp.abs(seen.velocity[0] - task) + self.upkeep(seen, action)

    def describe(self, task: Array) -> str:
        return f"walk at {float(task):.2f} m/s"


@dataclasses.dataclass(frozen=True)
class AntGoal(_Ant):
    """Ant must walk to a hidden place. A task is the place, [2], in m."""

    radius: float = 3.0
    """Goals are uniform in the disc of this radius around the start."""
    control_cost: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, radius=(self.radius > 0, "above 0"))

    def sample_task(self, key: Key) -> Array:
        k_angle, k_distance = jax.random.split(key)
        distance = self.radius * jnp.sqrt(jax.random.uniform(k_distance))
        return distance * _unit(jax.random.uniform(k_angle, (), maxval=2 * jnp.pi))

    def observe(self, seen: Seen) -> Array:
        return jnp.concatenate([seen.qpos[:2], super().observe(seen)])

    def reward(self, task: Array, seen: Seen, action: Array) -> Array:
        distance = jnp.abs(seen.qpos[:2] - task).sum()
        return -distance - self.control_cost * squares(action) - CONTACT_COST * squares(contact_forces(seen))

    def describe(self, task: Array) -> str:
        return f"walk to ({task[0]:+.2f}, {task[1]:+.2f})"


def _unit(angle: Array) -> Array:
    return jnp.array([jnp.cos(angle), jnp.sin(angle)])
