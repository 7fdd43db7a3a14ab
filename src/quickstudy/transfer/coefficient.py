"""How strongly fine-tuning is held near the global policy: the coefficient that does best in validation tasks.

    for each c of a grid:  r(c) = mean exam return after fine-tuning in every validation task with c
    c* = argmax r(c), of equals the largest

The test tasks have no say: `tasks` are others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import lives
from quickstudy.errors import wrong
from quickstudy.types import Env, Key, PyTree


class Choice(NamedTuple):
    coefficient: float
    coefficients: np.ndarray
    """[G], in their order of size"""
    returns: np.ndarray
    """[G, N], mean exam return of each validation task."""


def choose_coefficient(
    agent: Any,
    env: Env,
    shape: lives.LifeShape,
    meta_params: PyTree,
    tasks: PyTree,
    keys: Key,
    coefficients: Sequence[float],
    num_episodes: int = 10,
) -> Choice:
    """Of a `FineTune` agent; `tasks` [N, ...] are validation tasks, `keys` [N] serve every coefficient."""
    if not coefficients:
        raise wrong("coefficients", tuple(coefficients), "at least one")
    grid = sorted(coefficients)
    returns = np.stack(
        [_tuned_returns(_with(agent, c), env, shape, meta_params, tasks, keys, num_episodes) for c in grid]
    )
    # Where learning diverged there is no return.
    means = np.nan_to_num(returns.mean(1), nan=-np.inf)
    best = max(range(len(grid)), key=lambda i: (means[i], i))
    return Choice(grid[best], np.asarray(grid), returns)


def _with(agent: Any, coefficient: float) -> Any:
    return dataclasses.replace(agent, coefficient=float(coefficient))


def _tuned_returns(
    agent: Any,
    env: Env,
    shape: lives.LifeShape,
    meta_params: PyTree,
    tasks: PyTree,
    keys: Key,
    num_episodes: int,
) -> np.ndarray:
    """[N]"""
    life_keys, exam_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    life = lives.begin(agent, env, shape, meta_params, tasks, life_keys)
    life, _ = lives.live(agent, env, shape, meta_params, life, shape.num_adapts)
    exam = lives.examine(agent, env, meta_params, life.task_params, tasks, exam_keys, num_episodes)
    return np.asarray(exam.returns).mean(1)
