"""Random tabular Markov decision processes: everything but their size is drawn.

    r(s, a) ~ N(1, 1);   P(· | s, a) ~ Dirichlet(1, …, 1);   s_0 = 0
    reward ~ N(r(s, a), 1);   s' ~ P(· | s, a)

A random agent earns 1 a step; with the process known the optimum is 21.830 an episode on average
(s.e. 0.002, 950,000 processes; 2048 alone leave an error of 0.05).

Source: Duan et al. 2016, "RL²: fast reinforcement learning via slow reinforcement learning" (arXiv
1611.02779), section 3.2.
Differs from the paper: nothing known.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLUE, GREY, ORANGE, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


class Process(NamedTuple):
    """A task."""

    rewards: Array
    """[S, A], the means."""
    transitions: Array
    """[S, A, S], the probabilities of each next state."""


@dataclasses.dataclass(frozen=True)
class TabularMDP:
    """Random tabular MDPs: mean rewards ~ N(1,1), transitions ~ Dirichlet(1). The state is observed."""

    num_states: int = 10
    """S"""
    num_actions: int = 5
    """A"""
    episode_length: int = 10
    reward_mean: float = 1.0
    """Of r(s, a) over states, actions and tasks."""
    reward_mean_std: float = 1.0
    """Of r(s, a) over states, actions and tasks."""
    reward_std: float = 1.0
    """Of the noise around r(s, a)."""

    def __post_init__(self) -> None:
        require(
            self,
            num_states=(self.num_states >= 1, "at least 1"),
            num_actions=(self.num_actions >= 1, "at least 1"),
            episode_length=(self.episode_length >= 1, "at least 1"),
            reward_mean_std=(self.reward_mean_std >= 0.0, "0 or more"),
            reward_std=(self.reward_std >= 0.0, "0 or more"),
        )

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.num_states)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self.num_actions)

    @property
    def max_steps(self) -> int:
        return self.episode_length

    def sample_task(self, key: Key) -> Process:
        k_rewards, k_transitions = jax.random.split(key)
        S, A = self.num_states, self.num_actions
        rewards = self.reward_mean + self.reward_mean_std * jax.random.normal(k_rewards, (S, A))
        # Dirichlet(1, …, 1) is a vector of exponentials over their sum; cheaper than gamma variates.
        weights = jax.random.exponential(k_transitions, (S, A, S))
        return Process(rewards, weights / weights.sum(-1, keepdims=True))

    def reset(self, task: Process, key: Key) -> tuple[Array, Array]:
        state = jnp.zeros((), jnp.int32)
        return state, state

    def step(self, task: Process, state: Array, action: Array, key: Key) -> tuple[Array, Outcome]:
        k_noise, k_next = jax.random.split(key)
        # One row of S × A is gathered: a mask over all of them takes three times as long on a CPU.
        reward = task.rewards[state, action] + self.reward_std * jax.random.normal(k_noise)
        passed = jax.random.uniform(k_next) >= jnp.cumsum(task.transitions[state, action])
        # Rounding may leave the last sum below 1.
        state = jnp.minimum(passed.sum(dtype=jnp.int32), self.num_states - 1)
        return state, Outcome(state, reward, jnp.zeros((), bool))

    def render(self, task: Process, state: np.ndarray) -> np.ndarray:
        """A column for each state, the present one framed; a row for each action, blue where it pays."""
        S, A = self.num_states, self.num_actions
        picture = Picture((-0.3, -0.3), (S + 0.3, A + 0.3))
        picture.rectangle((-0.3, -0.3), (S + 0.3, A + 0.3), GREY)
        picture.rectangle((int(state) - 0.2, -0.2), (int(state) + 1.2, A + 0.2), ORANGE)
        rewards = np.asarray(task.rewards)
        share = (rewards - rewards.min()) / max(float(np.ptp(rewards)), 1e-6)
        for s in range(S):
            for a in range(A):
                red, green, blue = (round(250 + (c - 250) * float(share[s, a])) for c in BLUE)
                picture.rectangle((s + 0.06, a + 0.06), (s + 0.94, a + 0.94), (red, green, blue))
        return picture.pixels

    def describe(self, task: Process) -> str:
        best = np.asarray(task.rewards).max(1)
        return f"{self.num_states} states, whose best actions pay {best.min():.2f} to {best.max():.2f}"
