"""Grid navigation: find a hidden goal in a small room, and go back to it in every later episode.

    start in the corner (0, 0);   goal: any cell but the start and its three neighbours, 21 in a 5×5 room
    actions: stay, up, right, down, left; a wall stops the agent
    reward: 1 in every step that ends in the goal, else -0.1; an episode goes on for all of its 15 steps

With the goal known an episode is worth 16 - d - 0.1 (d - 1) at distance d, on average 11.071. The
Bayes-optimal agent earns 4.000, 15.071, 26.143 and 37.214 in its first one to four episodes: it visits 14 cells
in the first episode, and the other 7, which lie on a shortest path, in the second.

Source: Zintgraf et al. 2020, "VariBAD: a very good method for Bayes-adaptive deep RL via meta-learning" (arXiv
1910.08348), and its code.
Differs from the paper: nothing known.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, BLUE, GREEN, LIGHT, WHITE, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

MOVES = ("stay", "up", "right", "down", "left")


@dataclasses.dataclass(frozen=True)
class GridNavigation:
    """A hidden goal in a room; the agent sees its own cell (x, y). A task is the goal's cell, [2]."""

    size: int = 5
    """Cells along a side."""
    episode_length: int = 15

    def __post_init__(self) -> None:
        require(
            self,
            size=(self.size >= 3, "at least 3"),
            episode_length=(self.episode_length >= 1, "at least 1"),
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
        """All cells that may be the goal, [n, 2]."""
        return np.array([cell for cell in cells(self.size) if cell.max() > 1], np.float32)

    def sample_task(self, key: Key) -> Array:
        return jax.random.choice(key, jnp.asarray(self.goals()))

    def reset(self, task: Array, key: Key) -> tuple[Array, Array]:
        cell = jnp.zeros(2, jnp.float32)
        return cell, cell

    def step(self, task: Array, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        cell = moved(state, action, self.size)
        at_goal = (cell == task).all()
        reward = jnp.where(at_goal, 1.0, -0.1)
        return cell, Outcome(cell, reward, jnp.zeros((), bool), at_goal)

    def render(self, task: Array, state: np.ndarray) -> np.ndarray:
        picture = room(self.size)
        fill(picture, task, GREEN)
        picture.disc((float(state[0]), float(state[1])), 0.36, BLUE)
        return picture.pixels

    def describe(self, task: Array) -> str:
        return f"goal at ({int(task[0])}, {int(task[1])})"

    def action_labels(self, task: Array) -> list[str]:
        return list(MOVES)


# What the families of square rooms share.


def cells(size: int) -> np.ndarray:
    """All cells (x, y) of a room, [size², 2]."""
    return np.stack(np.divmod(np.arange(size * size), size), axis=1)


def moved(cell: Array, action: Array, size: int) -> Array:
    """The cell [2], as floats, after one of `MOVES`; a wall stops the agent."""
    up, right, down, left = (jnp.asarray(action == i, cell.dtype) for i in (1, 2, 3, 4))
    return jnp.clip(cell + jnp.stack([right - left, up - down]), 0, size - 1)


def room(size: int) -> Picture:
    """An empty room with its walls and the borders of its cells."""
    low, high = -0.5, size - 0.5
    wall = 0.03 * size
    picture = Picture((low - wall, low - wall), (high + wall, high + wall))
    picture.rectangle((low - wall, low - wall), (high + wall, high + wall), BLACK)
    picture.rectangle((low, low), (high, high), LIGHT)
    for cell in cells(size):
        fill(picture, cell, WHITE)
    return picture


def fill(picture: Picture, cell: np.ndarray | Array, colour: tuple[int, int, int]) -> None:
    """Colour a cell, and leave its border."""
    x, y = float(cell[0]), float(cell[1])
    picture.rectangle((x - 0.46, y - 0.46), (x + 0.46, y + 0.46), colour)
