"""Sparse 2D navigation: the goal is hidden on a half circle, and only a place near it pays.

    goal = (cos φ, sin φ), φ ~ U(0, π);   place ← place + clip(action, ±0.1), from the origin
    reward = 1 − |place − goal| where |place − goal| ≤ 0.2, else 0

Goal known: both axes walk straight at the goal, so step k leaves the point (|cos φ| − 0.1 k)⁺, (sin φ − 0.1 k)⁺
short of it; a goal at 45° pays 0.849 at step 6, 0.990 at step 7 and 1 at every step from the 8th.

Source: Rakelly et al. 2019 (PEARL, arXiv 1903.08254), `SparsePointEnv` of katerakelly/oyster; goals and length
as in the code of Zintgraf et al. 2020 (VariBAD, arXiv 1910.08348) and 2021 (HyperX, arXiv 2010.01062), which
has the same class with fresh goals U(0, π) and 100 steps, three episodes a trial.

The settings of other papers:
- PEARL: `max_steps=20`. Dense reward: `reward="dense"`.
- Dorfman et al. 2021 (BOReL, arXiv 2008.02598) and Ni et al. 2022 (arXiv 2110.05038): `max_steps=60,
  reward="indicator"`, two episodes a trial.

Differs from the papers:
- PEARL holds out 20 of 100 goals at equal angles. Ours are drawn afresh: no test goal is a training goal.
- BOReL's offline data starts anywhere near the circle. Ours always starts at the origin.
- Actions are in units of length, in ±0.1; the papers' wrappers map the policy's [−1, 1] onto them.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLUE, GREEN, GREY, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


@dataclasses.dataclass(frozen=True)
class SemiCircle:
    """A goal hidden on a half circle, seen only by a reward near it. A task is the goal, [2]."""

    reward: Literal["sparse", "indicator", "dense"] = "sparse"
    """Within `goal_radius` of the goal: 1 minus the distance (sparse), or 1 (indicator); elsewhere 0.
    Dense: minus the distance, everywhere."""
    goal_radius: float = 0.2
    max_move: float = 0.1
    """The farthest move of a step, along each axis."""
    max_steps: int = 100

    def __post_init__(self) -> None:
        rewards = ("sparse", "indicator", "dense")
        require(
            self,
            reward=(self.reward in rewards, f"one of {', '.join(rewards)}"),
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
        angle = jax.random.uniform(key, maxval=jnp.pi)
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def reset(self, task: Array, key: Key) -> tuple[Array, Array]:
        place = jnp.zeros(2)
        return place, place

    def step(self, task: Array, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        place = state + jnp.clip(action, -self.max_move, self.max_move)
        x, y = place - task
        distance = jnp.sqrt(x * x + y * y)
        near = distance <= self.goal_radius
        pay = {"sparse": (1 - distance) * near, "indicator": near.astype(jnp.float32), "dense": -distance}
        return place, Outcome(place, pay[self.reward], jnp.zeros((), bool), near)

    def describe(self, task: Array) -> str:
        return f"goal at {np.degrees(np.arctan2(task[1], task[0])):.0f}°"

    def render(self, task: Array, state: Array) -> np.ndarray:
        picture = Picture((-1.4, -0.5), (1.4, 1.4))
        angles = np.linspace(0, np.pi, 25)
        arc = list(zip(np.cos(angles), np.sin(angles), strict=True))
        picture.disc((float(task[0]), float(task[1])), self.goal_radius, GREEN)
        for start, end in itertools.pairwise(arc):
            picture.line(start, end, 0.02, GREY)
        picture.disc((0.0, 0.0), 0.03, GREY)
        x, y = np.clip(state, (-1.34, -0.44), (1.34, 1.34))
        picture.disc((x, y), 0.06, BLUE)
        return picture.pixels
