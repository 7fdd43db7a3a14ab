"""Gaussian bandits: k arms whose rewards are normal, means ~ U(0,1), one noise; an episode is one pull.

    task ~ U(0,1)^k;   reward ~ N(task[a], 0.3²)

Source: Lee et al. 2023, "Supervised pretraining can learn in-context reinforcement learning" (DPT, arXiv
2306.14892), and its code.
Differs from the paper:
- Rewards are noisy in evaluation, too; the published regrets sum the differences of the means, which a task
  holds.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


@dataclasses.dataclass(frozen=True)
class GaussianBandit:
    """Gaussian bandits, means ~ U(0,1); an episode is one pull. A task is the arms' means, [k]."""

    num_arms: int = 5
    """k"""
    reward_std: float = 0.3
    """Of the noise, the same for every arm."""

    def __post_init__(self) -> None:
        require(
            self,
            num_arms=(self.num_arms >= 1, "at least 1"),
            reward_std=(self.reward_std >= 0.0, "0 or more"),
        )

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(1)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.num_arms)

    @property
    def max_steps(self) -> int:
        return 1

    def sample_task(self, key: Key) -> Array:
        return jax.random.uniform(key, (self.num_arms,))

    def reset(self, task: Array, key: Key) -> tuple[tuple[()], Array]:
        return (), jnp.zeros((), jnp.int32)

    def step(self, task: Array, state: tuple[()], action: Array, key: Key) -> tuple[tuple[()], Outcome]:
        # The arm is picked by a mask: a gather over a batch is slow on a CPU.
        mean = jnp.where(jnp.arange(self.num_arms) == action, task, 0.0).sum()
        reward = mean + self.reward_std * jax.random.normal(key)
        return (), Outcome(jnp.zeros((), jnp.int32), reward, jnp.ones((), bool))

    def describe(self, task: Array) -> str:
        return f"{self.num_arms} arms, the best pays {np.max(task):.2f} ± {self.reward_std:g}"

    def action_labels(self, task: Array) -> list[str]:
        return [f"mean {mean:.2f}" for mean in np.asarray(task)]
