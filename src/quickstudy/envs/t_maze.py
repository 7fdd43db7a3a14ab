"""The T-maze: a cue at the first step tells which way to turn at the end of a long corridor.

                                    +1          time 0: (0, the goal's side)
    start ─ ─ ─ ─ L steps ─ ─ ─ junction        then (0, 0) in the corridor,
                                    -1          and (1, y) at the junction and in its arms

    reward at time L + 1, when the episode ends: 1 if the agent is in the goal's arm
    reward at times t = 1 … L: -1/L if the agent is late, x < t

It is the passive T-maze of Ni et al.: the cue is where the agent starts, and what is observed of the corridor
is the same everywhere. It tests memory over L steps alone: the penalty makes going right easy to
learn. Whoever never turns by the cue earns at most 0.5 in the mean, who remembers it 1; a random agent earns
exactly 4^-(L+1) - 1 + (1 - 4^-L) / (3 L).

Source: Ni et al. 2023, "When do transformers shine in RL? Decoupling memory from credit assignment" (arXiv
2307.03864), and its code; after Bakker 2001, "Reinforcement learning with long short-term memory".
Differs from the paper:
- The goal's side is the task, and so the same in all episodes of a trial; a trial of one episode is the paper's
  task.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLACK, BLUE, GREEN, LIGHT, ORANGE, WHITE, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


class Place(NamedTuple):
    """The state, int32."""

    x: Array
    """0 at the start, L at the junction."""
    y: Array
    """0 in the corridor, ±1 in the arms."""
    time: Array


@dataclasses.dataclass(frozen=True)
class TMaze:
    """The passive T-maze: remember a cue for L steps. A task is the goal's side, -1 or 1."""

    memory_length: int = 10
    """L: the steps from the cue to the turn that needs it; up to 1500 in the paper."""
    penalty: float = 1.0
    """What an agent that never moves loses in an episode; 0 in Bakker's maze."""

    def __post_init__(self) -> None:
        require(
            self,
            memory_length=(self.memory_length >= 1, "at least 1"),
            penalty=(self.penalty >= 0.0, "0 or more"),
        )

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (2,), np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(4)

    @property
    def max_steps(self) -> int:
        return self.memory_length + 1

    def sample_task(self, key: Key) -> Array:
        return 2 * jax.random.bernoulli(key).astype(jnp.int32) - 1

    def reset(self, task: Array, key: Key) -> tuple[Place, Array]:
        zero = jnp.zeros((), jnp.int32)
        return Place(zero, zero, zero), jnp.stack([zero, task]).astype(jnp.float32)

    def step(self, task: Array, state: Place, action: Array, key: Key) -> tuple[Place, Outcome]:
        L = self.memory_length
        right, up, left, down = (action == i for i in range(4))
        in_corridor = state.y == 0
        dx = jnp.where(in_corridor, right.astype(jnp.int32) - left, 0)
        dy = jnp.where(state.x == L, up.astype(jnp.int32) - down, 0)
        x, y = jnp.clip(state.x + dx, 0, L), jnp.clip(state.y + dy, -1, 1)

        time = state.time + 1
        end = time > L
        success = end & (y == task)
        late = ~end & (x < time)
        reward = jnp.where(success, 1.0, 0.0) - jnp.where(late, self.penalty / L, 0.0)
        observation = jnp.stack([(x == L).astype(jnp.int32), y]).astype(jnp.float32)
        return Place(x, y, time), Outcome(observation, reward, end, success)

    def render(self, task: Array, state: Place) -> np.ndarray:
        """The goal's arm green, the agent a disc, orange while it sees the cue."""
        # A long corridor is drawn as one of twelve cells, along which the agent's place is scaled.
        cells = min(self.memory_length, 12)
        picture = Picture((-1.0, -2.0), (cells + 1.0, 2.0), height=64)
        picture.rectangle((-1.0, -2.0), (cells + 1.0, 2.0), BLACK)
        picture.rectangle((-0.5, -0.5), (cells + 0.5, 0.5), WHITE)
        picture.rectangle((-0.5, -0.5), (0.5, 0.5), LIGHT)
        picture.rectangle((cells - 0.5, -1.5), (cells + 0.5, 1.5), WHITE)
        low = 0.5 if int(task) > 0 else -1.5
        picture.rectangle((cells - 0.5, low), (cells + 0.5, low + 1.0), GREEN)
        x = int(state.x) * cells / self.memory_length
        picture.disc((x, float(state.y)), 0.36, ORANGE if int(state.time) == 0 else BLUE)
        return picture.pixels

    def describe(self, task: Array) -> str:
        return f"the goal is {'up' if int(task) > 0 else 'down'}, {self.memory_length} steps after the cue"

    def action_labels(self, task: Array) -> list[str]:
        return ["right", "up", "left", "down"]
