"""Dark key-to-door: find a hidden key, then a hidden door; the agent sees only where it is.

    actions: stay, up, right, down, left; a wall stops the agent
    reward: 1 once, when the agent steps on the key; then 1 once, when it steps on the door, which ends the
    episode; else 0

Source: Laskin et al. 2022, "In-context reinforcement learning with algorithm distillation" (AD, arXiv
2210.14215). Its constants: 9×9 cells, 50 steps, 81 × 81 = 6561 tasks.
Differs from the paper:
- The episode ends at the door, where all reward is earned; public re-implementations differ in that, and the
  return of an episode does not.
- The start is the centre, or with `random_start` any cell; AD's code is not public, and re-implementations have
  the centre, the corner, and any cell.
- Where key and door share a cell, the door opens one step after the key is found.
- Tasks are split 80% to 20% by the rule of `dark-room`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.dark_room import members
from quickstudy.envs.drawing import BLACK, BLUE, GREEN, ORANGE
from quickstudy.envs.grid_navigation import MOVES, cells, fill, moved, room
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


class Places(NamedTuple):
    """A task."""

    key: Array
    """The key's cell, [2]."""
    door: Array
    """The door's cell, [2]."""


class Walk(NamedTuple):
    """The state."""

    cell: Array
    """[2]"""
    has_key: Array
    """bool"""


@dataclasses.dataclass(frozen=True)
class KeyToDoor:
    """A hidden key pays once, then a hidden door once; the agent sees its own cell. A task is both cells."""

    size: int = 9
    """Cells along a side."""
    episode_length: int = 50
    random_start: bool = False
    """Each episode begins in any cell, else in the centre."""
    split: Literal["train", "test"] = "train"
    """80% and 20% of all pairs of key and door."""

    def __post_init__(self) -> None:
        require(
            self,
            size=(self.size >= 2, "at least 2"),
            episode_length=(self.episode_length >= 1, "at least 1"),
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

    def pairs(self) -> np.ndarray:
        """All tasks of the split, [n, 2, 2]: the cells of key and door."""
        grid = cells(self.size).astype(np.float32)
        key, door = np.divmod(members(self.size**4, self.split), self.size**2)
        return np.stack([grid[key], grid[door]], axis=1)

    def sample_task(self, key: Key) -> Places:
        pair = jax.random.choice(key, jnp.asarray(self.pairs()))
        return Places(pair[0], pair[1])

    def reset(self, task: Places, key: Key) -> tuple[Walk, Array]:
        if self.random_start:
            cell = jax.random.randint(key, (2,), 0, self.size).astype(jnp.float32)
        else:
            cell = jnp.full(2, self.size // 2, jnp.float32)
        return Walk(cell, jnp.zeros((), bool)), cell

    def step(self, task: Places, state: Walk, action: Array, key: Key) -> tuple[Walk, Outcome]:
        cell = moved(state.cell, action, self.size)
        at_key, at_door = (cell == task.key).all(), (cell == task.door).all()
        finds, opens = at_key & ~state.has_key, at_door & state.has_key
        reward = (finds | opens).astype(jnp.float32)
        return Walk(cell, state.has_key | at_key), Outcome(cell, reward, opens, opens)

    def render(self, task: Places, state: Walk) -> np.ndarray:
        """The door green, the key an orange disc that the agent then carries."""
        picture = room(self.size)
        fill(picture, task.door, GREEN)
        x, y = float(task.door[0]), float(task.door[1])
        picture.disc((x + 0.25, y), 0.1, BLACK)
        agent = float(state.cell[0]), float(state.cell[1])
        if not state.has_key:
            picture.disc((float(task.key[0]), float(task.key[1])), 0.36, ORANGE)
        picture.disc(agent, 0.36, BLUE)
        if state.has_key:
            picture.disc(agent, 0.18, ORANGE)
        return picture.pixels

    def describe(self, task: Places) -> str:
        key, door = ((int(cell[0]), int(cell[1])) for cell in task)
        return f"key at {key}, door at {door}"

    def action_labels(self, task: Places) -> list[str]:
        return list(MOVES)
