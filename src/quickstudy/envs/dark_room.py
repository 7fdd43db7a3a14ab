"""Dark room: the agent sees where it is, but not the goal, and is paid only for being there.

    actions: stay, up, right, down, left; a wall stops the agent
    reward: 1 in every step that ends in the goal, else 0; an episode goes on for all of its steps

Two settings are in use. With the goal known, and over all goals, an episode is worth

    DPT   10×10, 100 steps, from the corner   91.99   DarkRoom()
    AD    9×9, 20 steps, from the centre      16.54   DarkRoom(size=9, episode_length=20, start="centre")

as at distance d it is T + 1 - max(d, 1).

Source: Lee et al. 2023, "Supervised pretraining can learn in-context reinforcement learning" (DPT, arXiv
2306.14892), and its code; Laskin et al. 2022, "In-context reinforcement learning with algorithm
distillation" (AD, arXiv 2210.14215).
Differs from the papers:
- The goals of the test split are DPT's own (20 of 100, its permutation). The other sizes are split by the same
  rule, as AD's code is not public.
- DPT evaluates on its 20 test goals, which lie farther off: with the goal known they are worth 90.90, and those
  of training 92.26.
- AD's "Dark Room Hard" (17×17, paid once) is not among the settings.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLUE, GREEN
from quickstudy.envs.grid_navigation import MOVES, cells, fill, moved, room
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

TRAIN_SHARE = 0.8
"""Of the tasks, as in DPT."""


@dataclasses.dataclass(frozen=True)
class DarkRoom:
    """A hidden goal that pays while the agent is on it; it sees its own cell. A task is the goal's cell."""

    size: int = 10
    """Cells along a side; 9 in AD."""
    episode_length: int = 100
    """20 in AD."""
    start: Literal["corner", "centre"] = "corner"
    """(0, 0), or the middle as in AD."""
    split: Literal["train", "test"] = "train"
    """80% and 20% of all goals."""

    def __post_init__(self) -> None:
        require(
            self,
            size=(self.size >= 2, "at least 2"),
            episode_length=(self.episode_length >= 1, "at least 1"),
            start=(self.start in ("corner", "centre"), "corner or centre"),
            split=(self.split in ("train", "test"), "train or test"),
        )

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0.0, self.size - 1.0, (2,), np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(len(MOVES))

    @property
    def max_steps(self) -> int:
        return self.episode_length

    def goals(self) -> np.ndarray:
        """All goals of the split, [n, 2]."""
        return cells(self.size)[members(self.size**2, self.split)].astype(np.float32)

    def sample_task(self, key: Key) -> Array:
        return jax.random.choice(key, jnp.asarray(self.goals()))

    def reset(self, task: Array, key: Key) -> tuple[Array, Array]:
        cell = jnp.full(2, self.size // 2 if self.start == "centre" else 0, jnp.float32)
        return cell, cell

    def step(self, task: Array, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        cell = moved(state, action, self.size)
        at_goal = (cell == task).all()
        return cell, Outcome(cell, at_goal.astype(jnp.float32), jnp.zeros((), bool), at_goal)

    def render(self, task: Array, state: np.ndarray) -> np.ndarray:
        picture = room(self.size)
        fill(picture, task, GREEN)
        picture.disc((float(state[0]), float(state[1])), 0.36, BLUE)
        return picture.pixels

    def describe(self, task: Array) -> str:
        return f"goal at ({int(task[0])}, {int(task[1])})"

    def action_labels(self, task: Array) -> list[str]:
        return list(MOVES)


def members(num_tasks: int, split: str) -> np.ndarray:
    """The indices of a split's tasks: DPT's permutation, its first 80% for training."""
    # NumPy promises that this generator never changes, and DPT's goals come from it.
    order = np.random.RandomState(0).permutation(num_tasks)
    num_train = int(TRAIN_SHARE * num_tasks)
    return order[:num_train] if split == "train" else order[num_train:]
