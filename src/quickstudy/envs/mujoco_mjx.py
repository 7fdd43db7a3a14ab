"""MJX, MuJoCo's port to JAX, in float32, for accelerators.

With the Runge-Kutta integrator (all bodies but the cheetah) forces are of the beginning of the last substep,
those of the C engine of the integrator's last stage. Positions and velocities agree.
"""

from __future__ import annotations

import copy
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.envs import mujoco_host
from quickstudy.envs.mujoco_body import Body, Scales, Seen, mujoco, standard_model
from quickstudy.types import Array


def reset(body: Body, scales: Scales, qpos_noise: Array, qvel_noise: Array) -> tuple[Array, Seen]:
    model = standard_model(body)
    zeros = jnp.zeros(model.nv + body.num_places)
    state = jnp.concatenate([jnp.asarray(model.qpos0, jnp.float32) + qpos_noise, qvel_noise, zeros])
    return _run(body, scales, state, None)


def step(body: Body, scales: Scales, state: Array, control: Array) -> tuple[Array, Seen]:
    return _run(body, scales, state, control)


@functools.cache
def _standard(body: Body) -> tuple[Any, Any]:
    mjx = mujoco(".mjx")
    standard = copy.copy(standard_model(body))
    solvers = mujoco().mjtSolver
    if standard.opt.solver == solvers.mjSOL_PGS:
        # The humanoid's, which the port does not have; both look for the one solution of a convex problem.
        standard.opt.solver = solvers.mjSOL_NEWTON
    with jax.ensure_compile_time_eval():
        model = mjx.put_model(standard)
        return model, mjx.make_data(model)


def _model(body: Body, scales: Scales) -> Any:
    model = _standard(body)[0]
    if not scales:
        return model
    names = [name for name in (*scales, *mujoco_host.DERIVED) if hasattr(model, name)]
    # A call to the host in every step of a randomised body, which only the C engine can complete.
    return model.replace(**mujoco_host.constants(body, scales, tuple(names)))


def _run(body: Body, scales: Scales, state: Array, control: Array | None) -> tuple[Array, Seen]:
    """Step the state, or with no control complete a new one."""
    mjx, standard = mujoco(".mjx"), standard_model(body)
    model, data = _model(body, scales), _standard(body)[1]
    sizes = np.cumsum([standard.nq, standard.nv, standard.nv])
    qpos, qvel, warmstart, place = jnp.split(state, sizes)
    data = data.replace(qpos=qpos, qvel=qvel, qacc_warmstart=warmstart)
    if control is None:
        # The port makes the quaternions of `data` unit ones, the C engine first when it steps.
        data = mjx.forward(model, data).replace(qpos=qpos)
    else:
        data = data.replace(ctrl=control)
        data = jax.lax.fori_loop(0, body.frame_skip, lambda _, data: mjx.step(model, data), data)
        if "cfrc_ext" in body.fields:
            data = mjx.rne_postconstraint(model, data)
    after = body.place(standard, data) if body.place else data.qpos[:1]
    seconds = standard.opt.timestep * body.frame_skip
    velocity = jnp.zeros_like(after) if control is None else (after - place) / seconds
    fields = {name: _field(data, name) for name in body.fields}
    state = jnp.concatenate([data.qpos, data.qvel, data.qacc_warmstart, after])
    return state, Seen(data.qpos, data.qvel, velocity, fields)


def _field(data: Any, name: str) -> Array:
    inner = getattr(data, "_impl", data)
    return getattr(inner, name) if hasattr(inner, name) else getattr(data, name)
