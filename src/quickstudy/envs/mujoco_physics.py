"""MuJoCo as a pure function, and batched: (body, scales, state, control) -> (next state, what is seen of it).

    control is held for `frame_skip` steps of the engine;   velocity = change of place / time

Nothing is kept between calls: the state is the full physics state. With the backend `mujoco`, the C engine, it
is float64, which JAX has not by default, so each number travels as two uint32: whole episodes equal Gymnasium's
bit for bit. With the backend `mjx`, for accelerators, it is float32.

Randomised bodies: `scales` maps names of `MjModel` arrays to factors of the standard values, one set for each
task. What MuJoCo derives from these arrays follows (`mj_setConst`).
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from quickstudy.envs import mujoco_host, mujoco_mjx
from quickstudy.envs.mujoco_body import Body, Scales, Seen, standard_model
from quickstudy.types import Array

Backend = Literal["mujoco", "mjx"]
ENGINES: dict[str, Any] = {"mujoco": mujoco_host, "mjx": mujoco_mjx}


def reset(
    body: Body, scales: Scales, qpos_noise: Array, qvel_noise: Array, backend: Backend
) -> tuple[Array, Seen]:
    """The body in its first pose, at rest, plus noise -> (state, seen)."""
    return ENGINES[backend].reset(body, scales, qpos_noise, qvel_noise)


def step(body: Body, scales: Scales, state: Array, control: Array, backend: Backend) -> tuple[Array, Seen]:
    """One control step -> (state, seen)."""
    return ENGINES[backend].step(body, scales, state, control)


def qpos_of(body: Body, state: Any, backend: Backend) -> np.ndarray:
    """The positions in one state, float64, for drawing."""
    numbers = np.asarray(state) if backend == "mjx" else np.ascontiguousarray(state).view(np.float64)
    return numbers[: standard_model(body).nq].astype(np.float64)
