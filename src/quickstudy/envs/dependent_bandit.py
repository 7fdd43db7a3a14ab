"""Two arms that depend on each other: one pays 1 with probability q, the other with 1 - q.

    uniform  q ~ U(0,1)
    easy     q is 0.1 or 0.9, as likely
    medium   q is 0.25 or 0.75
    hard     q is 0.4 or 0.6

A failure of one arm says as much as a success of the other, so every pull teaches the same, and the
Bayes-optimal agent pulls the arm that it takes for the better one. Its exact regret after 100 pulls:
easy 0.625, medium 1.000, hard 2.312.

Source: Wang et al. 2016, "Learning to reinforcement learn" (arXiv 1611.05763), section 3.1.2.
Differs from the paper:
- An episode is one pull; the paper's episode of 100 pulls is `TrialShape(num_episodes=100)`.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome

BETTER_ARM = {"easy": 0.9, "medium": 0.75, "hard": 0.6}
"""The greater of q and 1 - q."""


@dataclasses.dataclass(frozen=True)
class DependentBandit:
    """Two arms that pay with probabilities q and 1 - q; an episode is one pull. A task is both of them, [2]."""

    difficulty: Literal["uniform", "easy", "medium", "hard"] = "uniform"
    """From which q is drawn."""

    def __post_init__(self) -> None:
        known = ("uniform", *BETTER_ARM)
        require(self, difficulty=(self.difficulty in known, f"one of {', '.join(known)}"))

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(1)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    @property
    def max_steps(self) -> int:
        return 1

    def sample_task(self, key: Key) -> Array:
        u = jax.random.uniform(key)
        if self.difficulty == "uniform":
            q = u
        else:
            better = BETTER_ARM[self.difficulty]
            q = jnp.where(u < 0.5, better, 1.0 - better)
        return jnp.stack([q, 1.0 - q])

    def reset(self, task: Array, key: Key) -> tuple[tuple[()], Array]:
        return (), jnp.zeros((), jnp.int32)

    def step(self, task: Array, state: tuple[()], action: Array, key: Key) -> tuple[tuple[()], Outcome]:
        probability = jnp.where(action == 0, task[0], task[1])
        reward = (jax.random.uniform(key) < probability).astype(jnp.float32)
        return (), Outcome(jnp.zeros((), jnp.int32), reward, jnp.ones((), bool))

    def describe(self, task: Array) -> str:
        return f"2 arms that pay with probabilities {float(task[0]):.2f} and {float(task[1]):.2f}"

    def action_labels(self, task: Array) -> list[str]:
        return [f"p = {p:.2f}" for p in np.asarray(task)]
