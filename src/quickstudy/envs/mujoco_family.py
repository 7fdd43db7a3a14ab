"""What the families on MuJoCo's bodies share: spaces, episodes, pictures. A family adds tasks and a reward.

The bodies are those of Gymnasium's version 5 (HalfCheetah, Ant, Walker2d, Hopper, Humanoid), with their
observations and their noise at the start of an episode.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs import mujoco_physics as physics
from quickstudy.envs.mujoco_body import Body, Scales, Seen, field_shapes, has_screen, mujoco, standard_model
from quickstudy.envs.mujoco_physics import Backend
from quickstudy.errors import InputError, require
from quickstudy.types import Array, Key, Outcome, PyTree

PICTURE_SIZE = (160, 240)


@dataclasses.dataclass(frozen=True)
class MujocoFamily:
    """Tasks for one body. A family adds `sample_task`, `observe` and `reward`; `healthy` if episodes end."""

    body: ClassVar[Body]
    noise: ClassVar[float]
    """At the start of an episode: of positions, uniform in ± this."""
    normal_velocities: ClassVar[bool] = False
    """At the start of an episode, velocities are normal with the deviation `noise`, not uniform in ± it."""

    max_steps: int = 200
    backend: Backend = "mujoco"
    """`mujoco`, the C engine on the host, or `mjx`, its port to JAX, for accelerators."""

    def __post_init__(self) -> None:
        require(
            self,
            max_steps=(self.max_steps >= 1, "at least 1"),
            backend=(self.backend in ("mujoco", "mjx"), "'mujoco' or 'mjx'"),
        )

    @property
    def standard(self) -> Any:
        """The standard body's `MjModel`."""
        return standard_model(self.body)

    def sample_task(self, key: Key) -> PyTree:
        raise NotImplementedError

    def scales(self, task: PyTree) -> Scales:
        """Factors of the body's constants in this task; none where all tasks share the standard body."""
        return {}

    def observe(self, seen: Seen) -> Array:
        raise NotImplementedError

    def healthy(self, seen: Seen) -> Array:
        """bool; the episode ends where it is false."""
        return jnp.ones((), bool)

    def reward(self, task: PyTree, seen: Seen, action: Array) -> Array:
        raise NotImplementedError

    @property
    def observation_space(self) -> spaces.Box:
        model = self.standard
        zeros = {name: jnp.zeros(shape) for name, shape in field_shapes(self.body).items()}
        seen = Seen(jnp.zeros(model.nq), jnp.zeros(model.nv), jnp.zeros(self.body.num_places), zeros)
        return spaces.Box(-np.inf, np.inf, jax.eval_shape(self.observe, seen).shape, np.float32)

    @property
    def action_space(self) -> spaces.Box:
        low, high = self.standard.actuator_ctrlrange.astype(np.float32).T
        return spaces.Box(low, high, dtype=np.float32)

    def reset(self, task: PyTree, key: Key) -> tuple[Array, Array]:
        k_qpos, k_qvel = jax.random.split(key)
        model = self.standard
        qpos = self.noise * jax.random.uniform(k_qpos, (model.nq,), minval=-1.0)
        if self.normal_velocities:
            qvel = self.noise * jax.random.normal(k_qvel, (model.nv,))
        else:
            qvel = self.noise * jax.random.uniform(k_qvel, (model.nv,), minval=-1.0)
        state, seen = physics.reset(self.body, self.scales(task), qpos, qvel, self.backend)
        return state, self.observe(seen)

    def step(self, task: PyTree, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        space = self.action_space
        action = jnp.clip(action, space.low, space.high)
        state, seen = physics.step(self.body, self.scales(task), state, action, self.backend)
        return state, Outcome(self.observe(seen), self.reward(task, seen, action), ~self.healthy(seen))

    def render(self, task: PyTree, state: Array) -> np.ndarray:
        engine, model = mujoco(), self.standard
        data = engine.MjData(model)
        data.qpos[:] = physics.qpos_of(self.body, state, self.backend)
        engine.mj_forward(model, data)
        renderer = _renderer(self.body)
        renderer.update_scene(data, camera="track")
        return renderer.render()


@functools.lru_cache(maxsize=2)
def _renderer(body: Body) -> Any:
    """Kept from picture to picture; raises `InputError` where no OpenGL is found."""
    mend = "install libegl1 and set MUJOCO_GL=egl, or libosmesa6 and MUJOCO_GL=osmesa"
    context = getattr(mujoco(), "GLContext", None)
    if getattr(context, "__module__", "") == "mujoco.glfw" and not has_screen():
        # MuJoCo was imported before us, for a screen; without one it would end the process.
        raise InputError(f"render: no screen; {mend}")
    try:
        return mujoco().Renderer(standard_model(body), *PICTURE_SIZE)
    except Exception as error:  # which one depends on the library that is missing
        raise InputError(f"render: MuJoCo found no OpenGL ({error}); {mend}") from error


def squares(values: Array) -> Array:
    return jnp.sum(values * values)
