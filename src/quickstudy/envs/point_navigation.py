"""MAML's 2D navigation: a point starts at the origin and moves to a hidden goal; episodes of 100 steps.

    place ← place + clip(action, ±0.1);   reward = −|place − goal|, at the new place
    an episode ends by itself when both |x − goal_x| and |y − goal_y| are below 0.01

Goal known: every axis walks straight at the goal, 0.1 a step. With the goal uniform in [−½, ½]² the return is

    −Σ_{k=1..4} E|(|goal| − 0.1 k)⁺| = −0.2 − 0.4 (√2 + asinh 1) / 3 = −0.50608

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.3; dynamics, reward and end as in the authors' code
(cbfinn/maml_rl, `point_env_randgoal.py`).

Differs from the authors' code:
- Actions are in units of length, in ±0.1. rllab's `normalize` maps the policy's [−1, 1] onto them.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLUE, GREEN, GREY, LIGHT, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


@dataclasses.dataclass(frozen=True)
class PointNavigation:
    """MAML's 2D navigation to a hidden goal; reward minus the distance. A task is the goal, [2]."""

    goal_range: float = 0.5
    """Goals are uniform in the square ± this."""
    max_move: float = 0.1
    """The farthest move of a step, along each axis."""
    goal_tolerance: float = 0.01
    """An episode ends, a success, closer to the goal than this along both axes; 0: it never does."""
    max_steps: int = 100

    def __post_init__(self) -> None:
        require(
            self,
            goal_range=(self.goal_range > 0, "above 0"),
            max_move=(self.max_move > 0, "above 0"),
            goal_tolerance=(self.goal_tolerance >= 0, "0 or more"),
            max_steps=(self.max_steps >= 1, "at least 1"),
        )

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (2,), np.float32)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-self.max_move, self.max_move, (2,), np.float32)

    def sample_task(self, key: Key) -> Array:
        return jax.random.uniform(key, (2,), minval=-self.goal_range, maxval=self.goal_range)

    def reset(self, task: Array, key: Key) -> tuple[Array, Array]:
        place = jnp.zeros(2)
        return place, place

    def step(self, task: Array, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        place = state + jnp.clip(action, -self.max_move, self.max_move)
        x, y = place - task
        arrived = jnp.maximum(jnp.abs(x), jnp.abs(y)) < self.goal_tolerance
        return place, Outcome(place, -jnp.sqrt(x * x + y * y), arrived, arrived)

    def describe(self, task: Array) -> str:
        return f"goal at ({task[0]:.2f}, {task[1]:.2f})"

    def render(self, task: Array, state: Array) -> np.ndarray:
        edge, goals = 2.0 * self.goal_range, self.goal_range
        picture = Picture((-edge, -edge), (edge, edge))
        picture.rectangle((-goals, -goals), (goals, goals), LIGHT)
        picture.disc((0.0, 0.0), 0.03 * edge, GREY)
        picture.disc((float(task[0]), float(task[1])), 0.06 * edge, GREEN)
        x, y = np.clip(state, -0.95 * edge, 0.95 * edge)
        picture.disc((x, y), 0.05 * edge, BLUE)
        return picture.pixels
