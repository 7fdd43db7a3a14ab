"""What an episode is worth to somebody who knows the task: a ceiling that no learner need reach.

    bandits            the best arm's mean
    tabular-mdp        max_a Q_0(s_0, a), by value iteration
    two-step           the filter of `two_step_exact` from a known beginning; the swaps stay hidden
    grid-navigation    T + 1 - d - 0.1 (d - 1) at distance d, -0.1 T where d > T
    dark-room          T + 1 - max(d, 1), 0 where d > T
    key-to-door        1 if max(d(start, key), 1) ≤ T, and 1 if that and max(d(key, door), 1) together are
    point-navigation   both axes straight at the goal: at no step can any other walk be nearer
    semi-circle        the same

Every function gives the expected undiscounted return of one episode of a task, which is the same in each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from quickstudy.envs.bandit import Bandit
from quickstudy.envs.dark_room import DarkRoom
from quickstudy.envs.dependent_bandit import DependentBandit
from quickstudy.envs.gaussian_bandit import GaussianBandit
from quickstudy.envs.grid_navigation import GridNavigation, cells
from quickstudy.envs.key_to_door import KeyToDoor, Places
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.envs.semi_circle import SemiCircle
from quickstudy.envs.tabular_mdp import Process, TabularMDP
from quickstudy.envs.two_step import TwoStep
from quickstudy.references import grid_exact, two_step_exact
from quickstudy.references.value_iteration import action_values
from quickstudy.types import Array, PyTree


def task_known_value(env: Any) -> Callable[[PyTree], Array] | None:
    """The function from a task to what an episode is worth with it known, []; None where there is none."""
    # A subclass may pay otherwise: what is exact of a family holds of no other.
    value = VALUES.get(type(env))
    too_long = type(env) is TwoStep and env.num_choices > two_step_exact.MAX_CHOICES
    return None if value is None or too_long else lambda task: value(env, task)


def _best_arm(env: Any, task: Array) -> Array:
    return task.max()


def _tabular_mdp(env: TabularMDP, task: Process) -> Array:
    # Every episode begins in state 0.
    return action_values(task.rewards, task.transitions, env.episode_length)[0, 0].max()


def _two_step(env: TwoStep, task: Array) -> Array:
    return jnp.where(task == 1, *two_step_exact.episode_values(env)[[-1, 0]])


def _grid_navigation(env: GridNavigation, task: Array) -> Array:
    # From the corner (0, 0).
    by_distance = grid_exact.known_goal_value(np.arange(2 * env.size - 1), env.episode_length)
    values = jnp.asarray(by_distance, jnp.float32)
    return values[task.sum().astype(jnp.int32)]


def _dark_room(env: DarkRoom, task: Array) -> Array:
    start = env.size // 2 if env.start == "centre" else 0
    return jnp.maximum(env.episode_length + 1 - _steps_between(jnp.full(2, start), task), 0.0)


def _key_to_door(env: KeyToDoor, task: Places) -> Array:
    starts = jnp.asarray(cells(env.size)) if env.random_start else jnp.full((1, 2), env.size // 2)
    to_key = _steps_between(starts, task.key)
    to_door = to_key + _steps_between(task.key, task.door)
    within = (to_key <= env.episode_length).astype(jnp.float32) + (to_door <= env.episode_length)
    return within.mean()


def _steps_between(cell: Array, other: Array) -> Array:
    """Moves from cell [..., 2] until one ends in the other; from a cell to itself it takes one, too."""
    return jnp.maximum(jnp.abs(cell - other).sum(-1), 1.0)


def _point_navigation(env: PointNavigation, task: Array) -> Array:
    offset = _straight_walk(env, task)
    arrived = offset.max(-1) < env.goal_tolerance
    # The step that arrives still costs its distance; behind it the episode is over.
    over = jnp.cumsum(arrived) - arrived > 0
    return -jnp.where(over, 0.0, jnp.sqrt((offset**2).sum(-1))).sum()


def _semi_circle(env: SemiCircle, task: Array) -> Array:
    distance = jnp.sqrt((_straight_walk(env, task) ** 2).sum(-1))
    near = distance <= env.goal_radius
    pay = {"sparse": (1.0 - distance) * near, "indicator": near.astype(jnp.float32), "dense": -distance}
    return pay[env.reward].sum()


def _straight_walk(env: PointNavigation | SemiCircle, goal: Array) -> Array:
    """How far the goal is along each axis after each step from the origin, [T, 2]."""
    steps = jnp.arange(1, env.max_steps + 1)[:, None]
    return jnp.maximum(jnp.abs(goal) - env.max_move * steps, 0.0)


VALUES: dict[type, Callable[[Any, Any], Array]] = {
    Bandit: _best_arm,
    GaussianBandit: _best_arm,
    DependentBandit: _best_arm,
    TabularMDP: _tabular_mdp,
    TwoStep: _two_step,
    GridNavigation: _grid_navigation,
    DarkRoom: _dark_room,
    KeyToDoor: _key_to_door,
    PointNavigation: _point_navigation,
    SemiCircle: _semi_circle,
}
