"""The bodies of MuJoCo families: Gymnasium's files, and the layout of a state and of what is seen of it.

state: qpos, qvel, qacc_warmstart, place        seen: qpos, qvel, velocity, then the fields of the body
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np

from quickstudy.errors import InputError
from quickstudy.types import Array

Scales = dict[str, Array]
"""Factors of the standard body's constants, by the names of the arrays of `MjModel`."""


@dataclasses.dataclass(frozen=True)
class Body:
    """A body of Gymnasium's `envs/mujoco/assets`."""

    xml: str
    frame_skip: int
    """Steps of the engine that one control step takes."""
    fields: tuple[str, ...] = ()
    """Arrays of `MjData` that are read after a step, beside qpos and qvel."""
    place: Callable[[Any, Any], Any] | None = None
    """(model, data) -> the place whose change is the velocity; None: the first coordinate of qpos."""
    num_places: int = 1


class Seen(NamedTuple):
    """What observation and reward are made of, float32; zero velocity at the start of an episode."""

    qpos: Array
    qvel: Array
    velocity: Array
    """[num_places], per second"""
    fields: dict[str, Array]


def has_screen() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def mujoco(submodule: str = "") -> Any:
    """The package, imported when it is first needed; raises `InputError` where it is missing."""
    if not has_screen():
        os.environ.setdefault("MUJOCO_GL", "egl")  # read by the import; the default needs a screen
    try:
        return importlib.import_module(f"mujoco{submodule}")
    except ImportError as error:
        raise InputError(
            f"MuJoCo families need an extra: pip install 'quickstudy[mujoco]' ({error})"
        ) from error


@functools.cache
def standard_model(body: Body) -> Any:
    """The `MjModel` of Gymnasium's file."""
    engine = mujoco()
    path = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets" / body.xml
    # Gymnasium's cheetah uses a deprecated attribute; MuJoCo would tell so in a file where the user stands.
    engine.set_mju_user_warning(lambda message: None)
    try:
        return engine.MjModel.from_xml_path(str(path))
    finally:
        engine.set_mju_user_warning(None)


def state_size(body: Body) -> int:
    model = standard_model(body)
    return model.nq + 2 * model.nv + body.num_places


@functools.cache
def field_shapes(body: Body) -> dict[str, tuple[int, ...]]:
    data = mujoco().MjData(standard_model(body))
    return {name: getattr(data, name).shape for name in body.fields}


def seen_sizes(body: Body) -> list[int]:
    model = standard_model(body)
    return [model.nq, model.nv, body.num_places, *(int(np.prod(s)) for s in field_shapes(body).values())]


def split(body: Body, seen: Array) -> Seen:
    parts = jnp.split(seen, np.cumsum(seen_sizes(body))[:-1], axis=-1)
    shapes = field_shapes(body)
    fields = {name: x.reshape(shapes[name]) for name, x in zip(shapes, parts[3:], strict=True)}
    return Seen(parts[0], parts[1], parts[2], fields)
