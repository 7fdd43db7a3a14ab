"""MuJoCo's C engine behind one `jax.pure_callback`, which nested `vmap`s reach as one batch of rows.

Rows are stepped by `mujoco.batch` in C threads. Bodies whose observation reads forces (`Body.fields`) need
`mj_rnePostConstraint` after the step, which the batch cannot be told to call; their rows are stepped one by one
in Python threads, which share the work too, because MuJoCo lets go of the interpreter.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.envs.mujoco_body import (
    Body,
    Scales,
    Seen,
    mujoco,
    seen_sizes,
    split,
    standard_model,
    state_size,
)
from quickstudy.types import Array

# Of `mj_setConst`, what the engines read while they step.
DERIVED = ("body_subtreemass", "body_invweight0", "dof_M0", "dof_invweight0", "actuator_acc0", "geom_rbound")


def reset(body: Body, scales: Scales, qpos_noise: Array, qvel_noise: Array) -> tuple[Array, Seen]:
    return _call(body, _reset, scales, jnp.concatenate([qpos_noise, qvel_noise]))


def step(body: Body, scales: Scales, state: Array, control: Array) -> tuple[Array, Seen]:
    return _call(body, _step, scales, state, control)


def constants(body: Body, scales: Scales, names: tuple[str, ...]) -> dict[str, Array]:
    """The named arrays of the scaled model, float32; MuJoCo derives those that depend on others."""
    model = standard_model(body)
    shapes = {name: jax.ShapeDtypeStruct(getattr(model, name).shape, np.float32) for name in names}
    return jax.pure_callback(
        functools.partial(_constants, body, names), shapes, scales, vmap_method="expand_dims"
    )


def _call(body: Body, run: Any, scales: Scales, *arguments: Array) -> tuple[Array, Seen]:
    shapes = (
        jax.ShapeDtypeStruct((2 * state_size(body),), np.uint32),
        jax.ShapeDtypeStruct((sum(seen_sizes(body)),), np.float32),
    )
    host = functools.partial(run, body)
    state, seen = jax.pure_callback(host, shapes, scales, *arguments, vmap_method="expand_dims")
    return state, split(body, seen)


def _reset(body: Body, scales: Any, noise: Any) -> tuple[np.ndarray, np.ndarray]:
    model = standard_model(body)
    lead, scales, (noise,) = _as_rows(body, scales, noise)
    rows = np.zeros((len(noise), state_size(body)))
    rows[:, : model.nq + model.nv] = np.concatenate([model.qpos0, np.zeros(model.nv)]) + noise
    return _run(body, lead, scales, rows, None)


def _step(body: Body, scales: Any, state: Any, control: Any) -> tuple[np.ndarray, np.ndarray]:
    lead, scales, (state, control) = _as_rows(body, scales, state, control)
    return _run(body, lead, scales, state.view(np.float64), control)


def _as_rows(body: Body, scales: Any, *arguments: Any) -> tuple[tuple[int, ...], dict[str, np.ndarray], list]:
    """Every array with one leading axis of rows; an axis that `vmap` left at 1 is repeated."""
    model = standard_model(body)
    ranks = {name: getattr(model, name).ndim for name in scales}
    arrays = [(np.asarray(x), ranks[name]) for name, x in scales.items()] + [
        (np.asarray(x), 1) for x in arguments
    ]
    lead = np.broadcast_shapes(*(x.shape[: x.ndim - rank] for x, rank in arrays))

    def as_rows(x: np.ndarray, rank: int) -> np.ndarray:
        tail = x.shape[x.ndim - rank :]
        if x.shape != (*lead, *tail):
            x = np.broadcast_to(x, (*lead, *tail))
        return np.ascontiguousarray(x).reshape(-1, *tail)

    rows = [as_rows(x, rank) for x, rank in arrays]
    return lead, dict(zip(scales, rows, strict=False)), rows[len(scales) :]


def _run(
    body: Body,
    lead: tuple[int, ...],
    scales: dict[str, np.ndarray],
    rows: np.ndarray,
    control: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Step the rows [B, state], or with no control complete new ones -> (their bits, what is seen of them)."""
    model = standard_model(body)
    with _stepper(body, tuple(scales), len(rows)) as stepper:
        after, fields = stepper(scales, rows, control)
    places = slice(-body.num_places, None)
    seconds = model.opt.timestep * body.frame_skip
    velocity = (
        np.zeros_like(after[:, places]) if control is None else (after[:, places] - rows[:, places]) / seconds
    )
    seen = np.concatenate([after[:, : model.nq + model.nv], velocity, *fields], axis=1, dtype=np.float32)
    return after.view(np.uint32).reshape(*lead, -1), seen.reshape(*lead, -1)


# A stepper serves one call at a time, and each device of JAX's calls from a thread of its own. Those that are
# free are kept for the batches that a program steps in turn; they hold memory, and nothing a result depends on.
_LOCK = threading.Lock()
_FREE: collections.OrderedDict[tuple, list[Any]] = collections.OrderedDict()
MOST_KEPT = 16


@contextlib.contextmanager
def _stepper(body: Body, names: tuple[str, ...], num_rows: int) -> Iterator[Any]:
    key = (body, names, num_rows)
    with _LOCK:
        free = _FREE.setdefault(key, [])
        _FREE.move_to_end(key)
        stepper = free.pop() if free else None
        while len(_FREE) > MOST_KEPT:
            _FREE.popitem(last=False)
    if stepper is None:
        stepper = _Threads(body) if body.fields else _Pool(body, names, num_rows)
    yield stepper
    with _LOCK:
        free.append(stepper)


def num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    """Of one stepper: the cores, shared out where JAX sees several devices on this CPU."""
    return max(1, num_cores() // jax.local_device_count()) if jax.default_backend() == "cpu" else num_cores()


class _Pool:
    """Rows in MuJoCo's own threads."""

    def __init__(self, body: Body, names: tuple[str, ...], num_rows: int):
        self._body = body
        self._batch = mujoco(".batch").Batch(standard_model(body), num_rows, min(num_threads(), num_rows))
        # Views of the batch's own memory.
        self._views = [self._batch.bind(name) for name in ("qpos", "qvel", "qacc_warmstart")]
        self._ends = np.cumsum([view.shape[1] for view in self._views])
        self._control = self._batch.bind("ctrl")
        self._scales = {name: np.zeros(0) for name in names}

    def __call__(self, scales: dict, rows: np.ndarray, control: np.ndarray | None) -> tuple[np.ndarray, list]:
        self._rescale(scales)
        for view, part in zip(self._views, np.split(rows, self._ends, axis=1), strict=False):
            view[...] = part
        self._control[...] = 0.0 if control is None else control
        if control is None:
            self._batch.forward()
        else:
            self._batch.step(nstep=self._body.frame_skip)
        return np.concatenate([*self._views, self._views[0][:, :1]], axis=1), []

    def _rescale(self, scales: dict[str, np.ndarray]) -> None:
        if all(np.array_equal(old, scales[name]) for name, old in self._scales.items()):
            return
        for name, factors in scales.items():
            self._batch.expand(name)[:] = getattr(self._batch.model, name) * factors.astype(np.float64)
        self._batch.set_const()
        self._scales = scales

    def constants(self, scales: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The scaled arrays and those derived from them, [B, ...]."""
        self._rescale(scales)
        model, batch = self._batch.model, self._batch
        found = {name: batch.expanded(name) for name in (*scales, *DERIVED)}
        num_rows = self._batch.nsim
        return {
            name: np.repeat(getattr(model, name)[None], num_rows, 0) if values is None else values
            for name, values in found.items()
        }


class _Threads:
    """Rows one by one in Python threads, to read `MjData` after each."""

    def __init__(self, body: Body):
        self._body, self._model = body, standard_model(body)
        engine = mujoco()
        self._data = [engine.MjData(self._model) for _ in range(num_threads())]
        self._pool = concurrent.futures.ThreadPoolExecutor(len(self._data))

    def __call__(self, scales: dict, rows: np.ndarray, control: np.ndarray | None) -> tuple[np.ndarray, list]:
        if scales:
            raise NotImplementedError("bodies whose forces are observed cannot be randomised")
        after = np.empty_like(rows)
        sizes = [getattr(self._data[0], name).size for name in self._body.fields]
        fields = [np.empty((len(rows), size)) for size in sizes]

        def some(worker: int) -> None:
            for row in range(worker, len(rows), len(self._data)):
                data = self._data[worker]
                self._one(data, rows[row], None if control is None else control[row], after[row])
                for values, name in zip(fields, self._body.fields, strict=True):
                    values[row] = getattr(data, name).ravel()

        list(self._pool.map(some, range(min(len(self._data), len(rows)))))
        return after, fields

    def _one(self, data: Any, row: np.ndarray, control: np.ndarray | None, after: np.ndarray) -> None:
        engine, model, body = mujoco(), self._model, self._body
        kinds = engine.mjtState
        spec = kinds.mjSTATE_QPOS | kinds.mjSTATE_QVEL | kinds.mjSTATE_WARMSTART
        size = len(row) - body.num_places
        if control is None:
            engine.mj_resetData(model, data)
        engine.mj_setState(model, data, row[:size], spec)
        if control is None:
            engine.mj_forward(model, data)
        else:
            data.ctrl[:] = control
            engine.mj_step(model, data, nstep=body.frame_skip)
            engine.mj_rnePostConstraint(model, data)
        engine.mj_getState(model, data, after[:size], spec)
        after[size:] = body.place(model, data) if body.place else data.qpos[:1]


def _constants(body: Body, names: tuple[str, ...], scales: Any) -> dict[str, np.ndarray]:
    lead, scales, _ = _as_rows(body, scales)
    with _stepper(body, tuple(scales), len(next(iter(scales.values())))) as stepper:
        found = stepper.constants(scales)
    return {name: found[name].astype(np.float32).reshape(*lead, *found[name].shape[1:]) for name in names}
