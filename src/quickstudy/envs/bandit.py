"""Bernoulli bandits: k arms that pay 1 with probabilities p ~ U(0,1); an episode is one pull.

Source: Duan et al. 2016 (arXiv 1611.02779), section 3.1.
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
class Bandit:
    """Bernoulli bandits, p ~ U(0,1); an episode is one pull. A task is the arms' probabilities, [k]."""

    num_arms: int = 5
    """k"""

    def __post_init__(self) -> None:
        require(self, num_arms=(1 <= self.num_arms <= 10_000, "between 1 and 10,000"))

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
        probability = jnp.where(jnp.arange(self.num_arms) == action, task, 0.0).sum()
        reward = (jax.random.uniform(key) < probability).astype(jnp.float32)
        return (), Outcome(jnp.zeros((), jnp.int32), reward, jnp.ones((), bool))

    def describe(self, task: Array) -> str:
        return f"{self.num_arms} arms, the best pays with probability {np.max(task):.2f}"

    def action_labels(self, task: Array) -> list[str]:
        return [f"p = {p:.2f}" for p in np.asarray(task)]
