"""The guard: a fine-tuned policy is kept only where it is better than the global one beyond doubt.

    d_e = return of the fine-tuned policy - return of the global one, in the same exam episode e
    keep  ⇔  the lower end of the 95% interval of mean d lies above `margin`

Episodes are paired by their keys: what is hard in an episode is hard for both. Where nothing is certain the
global policy stays, so that fine-tuning does harm in at most about one of forty tasks in which it was no gain.

Source: the interval is that of `maths.statistics`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import lives
from quickstudy.errors import wrong
from quickstudy.maths.statistics import mean_interval
from quickstudy.rollout import begin_tasks
from quickstudy.types import Env, Key, PyTree


class Verdict(NamedTuple):
    """On N fine-tuned policies, [N] each."""

    keep: np.ndarray
    """bool"""
    difference: np.ndarray
    """Mean over the episodes, fine-tuned less global."""
    low: np.ndarray
    """Lower end of its 95% interval, as `high` is the upper."""
    high: np.ndarray
    reason: tuple[str, ...]


def judge(fine_tuned: np.ndarray, start: np.ndarray, margin: float = 0.0) -> Verdict:
    """Of exam returns [N, E] in the same E ≥ 2 episodes, by the fine-tuned and by the global policies."""
    if fine_tuned.shape != start.shape:
        raise wrong("start", start.shape, f"the shape of the fine-tuned returns, {fine_tuned.shape}")
    if fine_tuned.shape[1] < 2:
        raise wrong("num_episodes", fine_tuned.shape[1], "at least 2: one episode has no interval")
    differences = np.asarray(fine_tuned, np.float64) - np.asarray(start, np.float64)
    interval = mean_interval(differences.T)
    keep = interval.low > margin
    reason = tuple(_reason(*row, margin) for row in zip(keep, *interval, strict=True))
    return Verdict(keep, *interval, reason)


def guarded(
    agent: Any,
    env: Env,
    meta_params: PyTree,
    task_params: PyTree,
    tasks: PyTree,
    keys: Key,
    num_episodes: int = 30,
    margin: float = 0.0,
) -> tuple[PyTree, Verdict]:
    """What was fine-tuned, `task_params` [N, ...] -> (the same where it is kept, else the global policy; why).

    `keys` [N] are of the exam, which no fine-tuning has seen.
    """
    start = begin_tasks(agent, meta_params, keys)
    put = (tasks, keys, num_episodes)
    after, before = (lives.examine(agent, env, meta_params, x, *put).returns for x in (task_params, start))
    verdict = judge(np.asarray(after), np.asarray(before), margin)
    return select(verdict.keep, task_params, start), verdict


def select(keep: np.ndarray, task_params: PyTree, start: PyTree) -> PyTree:
    """Task by task; keep [N], both trees [N, ...]."""

    def choose(ours: Any, its: Any) -> Any:
        return jnp.where(jnp.asarray(keep).reshape(-1, *(1,) * (ours.ndim - 1)), ours, its)

    return jax.tree.map(choose, task_params, start)


def _reason(keep: bool, mean: float, low: float, high: float, margin: float) -> str:
    found = f"{mean:+.4g} a return, 95% interval {low:+.4g} to {high:+.4g}"
    if keep:
        return f"kept: better by {found}, all above the margin {margin:g}"
    if high <= margin:
        return f"discarded: {found}, none of it above the margin {margin:g}"
    return f"discarded: {found}, which is not all above the margin {margin:g}"
