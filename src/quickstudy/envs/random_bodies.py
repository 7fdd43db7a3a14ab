"""Bodies whose masses, inertias, dampings and frictions are the task.

    body_mass, body_inertia, geom_friction × 1.5^U(−3, 3);   dof_damping × 1.3^U(−3, 3);   each entry its own
    reward = v + 1 − 0.001 |a|²;   v = change of the root's x per second;   200 steps

Source: Rakelly et al. 2019 (PEARL, arXiv 1903.08254), with the code of Rothfuss et al. 2019 (ProMP, arXiv
1810.06784): `base.py`, `walker2d_rand_params.py` and `hopper_rand_params.py` of `rand_param_envs`, read in
lmzintgraf/varibad.

Differs from the papers:
- The bodies are Walker2d-v5 and Hopper-v5, 0.008 s a step; theirs are of MuJoCo 1.3, the walker with 5 substeps
  for 4 and a friction of 0.9 for 1.9 under its right foot.
- The reward for being upright is not paid in the step that ends an episode, as in v5.
- What MuJoCo derives from masses and inertias follows (`mj_setConst`); theirs keep the standard body's.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.envs.mujoco_body import Scales, Seen
from quickstudy.envs.mujoco_family import MujocoFamily, squares
from quickstudy.errors import require
from quickstudy.types import Array, Key

# The factor that one unit of the logarithm stands for.
BASES = {"body_mass": 1.5, "body_inertia": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}
CONTROL_COST = 1e-3
MAX_VELOCITY = 10.0
"""Observed velocities are clipped to ± this, as in v5."""


@dataclasses.dataclass(frozen=True)
class RandomBody(MujocoFamily):
    """A task is the factors of the standard body's constants, by their names in MuJoCo."""

    noise: ClassVar[float] = 0.005

    log_scale_limit: float = 3.0
    """Exponents are uniform in ± this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, log_scale_limit=(self.log_scale_limit >= 0, "0 or more"))

    def standard_task(self) -> Scales:
        return {name: jnp.ones(getattr(self.standard, name).shape) for name in BASES}

    def sample_task(self, key: Key) -> Scales:
        keys = jax.random.split(key, len(BASES))
        limit = self.log_scale_limit

        def factors(name: str, key: Key) -> Array:
            exponents = jax.random.uniform(key, getattr(self.standard, name).shape, minval=-limit, maxval=limit)
            return BASES[name] ** exponents

        return {name: factors(name, key) for name, key in zip(BASES, keys, strict=True)}

    def scales(self, task: Scales) -> Scales:
        return task

    def observe(self, seen: Seen) -> Array:
        return jnp.concatenate([seen.qpos[1:], jnp.clip(seen.qvel, -MAX_VELOCITY, MAX_VELOCITY)])

    def reward(self, task: Scales, seen: Seen, action: Array) -> Array:
        return seen.velocity[0] + self.healthy(seen) - CONTROL_COST * squares(action)

    def describe(self, task: Scales) -> str:
        mass = self.standard.body_mass
        return f"{float(np.sum(mass * task['body_mass'])):.1f} kg, where the standard body has {mass.sum():.1f}"
