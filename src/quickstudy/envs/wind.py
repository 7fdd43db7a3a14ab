"""Wind: a point must reach a fixed goal and stay there, against a hidden wind that is the task.

    wind ~ U(−0.05, 0.05)²;   place ← place + clip(action, ±0.1) + wind, from the origin; the goal is (0, 1)
    reward = 1 where |place − goal| ≤ 0.2, else 0;   25 steps

Wind known: an axis walks at the goal with 0.1 a step plus or minus its wind, and then cancels the wind.

Source: Dorfman et al. 2021 (BOReL, arXiv 2008.02598), appendix on environments; their published code has no
file for it. Ni et al. 2022 (arXiv 2110.05038), `wind.py` of twni2016/pomdp-baselines, the same with other
constants: `Wind(max_wind=0.08, goal_radius=0.03, max_steps=75)`.

Differs from the papers:
- Ni et al. train on 40 winds and test on 20. Ours are drawn afresh: no test wind is a training wind.
- Actions are in units of length, in ±0.1; the papers' wrappers map the policy's [−1, 1] onto them.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, BLUE, GREEN, GREY, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


@dataclasses.dataclass(frozen=True)
class Wind:
    """A fixed goal to be reached against a hidden wind. A task is the wind, [2]."""

    goal: ClassVar[tuple[float, float]] = (0.0, 1.0)

    max_wind: float = 0.05
    """Winds are uniform in the square ± this."""
    goal_radius: float = 0.2
    max_move: float = 0.1
    """The farthest move of a step of one's own, along each axis."""
    max_steps: int = 25

    def __post_init__(self) -> None:
        require(
            self,
            max_wind=(self.max_wind > 0, "above 0"),
            goal_radius=(self.goal_radius > 0, "above 0"),
            max_move=(self.max_move > 0, "above 0"),
            max_steps=(self.max_steps >= 1, "at least 1"),
        )

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (2,), np.float32)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-self.max_move, self.max_move, (2,), np.float32)

    def sample_task(self, key: Key) -> Array:
        return jax.random.uniform(key, (2,), minval=-self.max_wind, maxval=self.max_wind)

    def reset(self, task: Array, key: Key) -> tuple[Array, Array]:
        place = jnp.zeros(2)
        return place, place

    def step(self, task: Array, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        place = state + jnp.clip(action, -self.max_move, self.max_move) + task
        x, y = place - jnp.asarray(self.goal)
        near = x * x + y * y <= self.goal_radius**2
        return place, Outcome(place, near.astype(jnp.float32), jnp.zeros((), bool), near)

    def describe(self, task: Array) -> str:
        return f"wind ({task[0]:+.3f}, {task[1]:+.3f}) a step"

    def render(self, task: Array, state: Array) -> np.ndarray:
        picture = Picture((-1.0, -0.6), (1.0, 1.4))
        for corner in np.mgrid[-0.8:0.9:0.4, -0.4:1.3:0.4].reshape(2, -1).T:
            tip = corner + np.asarray(task) * (0.25 / self.max_wind)
            picture.line((corner[0], corner[1]), (tip[0], tip[1]), 0.02, GREY)
            picture.disc((tip[0], tip[1]), 0.03, GREY)
        picture.disc((0.0, 0.0), 0.03, BLACK)
        picture.disc(self.goal, self.goal_radius, GREEN)
        x, y = np.clip(state, (-0.94, -0.54), (0.94, 1.34))
        picture.disc((x, y), 0.06, BLUE)
        return picture.pixels
