"""The two-step task: an action leads to one of two places, one of which pays more; at times they swap.

    first stage    action a -> place a with probability 0.8, else the other place
    second stage   any action; the good place pays 1 with probability 0.9, the other with 0.1
    then           with probability 0.025 the places swap their probabilities

Which place a reward or its lack speaks for does not depend on the choice, so the Bayes-optimal agent goes
for the place that it takes for the good one; it earns 70.586 in 100 choices, exactly. A random agent
earns 50.

Source: Daw et al. 2011, "Model-based influences on humans' choices and striatal prediction errors" (Neuron
69); as in Wang et al. 2016, "Learning to reinforcement learn" (arXiv 1611.05763), section 3.2.
Wang et al. differ from Daw et al.: the second stage has no choice of its own, the common transition has 0.8
(0.7), and the probabilities of a reward swap where they drifted.
Differs from the paper:
- An episode is a whole block of choices, as a reset would undo the swaps; a trial of one episode is the
  paper's episode, and a further episode begins again with the task's own good place.
- Each choice takes two steps, one in each stage, and nothing stands between choices.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.drawing import BLUE, GREEN, GREY, LIGHT, Picture
from quickstudy.errors import require
from quickstudy.types import Array, Key, Outcome


class Stage(NamedTuple):
    """The state."""

    place: Array
    """0 in the first stage; 1 or 2 in the second."""
    good: Array
    """The place that pays more, 1 or 2."""


@dataclasses.dataclass(frozen=True)
class TwoStep:
    """The two-step task in blocks of choices. A task is the place, 1 or 2, that pays more at first."""

    num_choices: int = 100
    """Of an episode; each takes two steps."""
    common_probability: float = 0.8
    """That a first action leads to its own place."""
    high_probability: float = 0.9
    """Of a reward in the good place; the other pays with the complement."""
    swap_probability: float = 0.025
    """After each choice."""

    def __post_init__(self) -> None:
        require(
            self,
            num_choices=(self.num_choices >= 1, "at least 1"),
            common_probability=(0.0 <= self.common_probability <= 1.0, "between 0 and 1"),
            high_probability=(0.0 <= self.high_probability <= 1.0, "between 0 and 1"),
            swap_probability=(0.0 <= self.swap_probability <= 1.0, "between 0 and 1"),
        )

    @property
    def observation_space(self) -> spaces.Discrete:
        return spaces.Discrete(3)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    @property
    def max_steps(self) -> int:
        return 2 * self.num_choices

    def sample_task(self, key: Key) -> Array:
        return jax.random.randint(key, (), 1, 3, jnp.int32)

    def reset(self, task: Array, key: Key) -> tuple[Stage, Array]:
        place = jnp.zeros((), jnp.int32)
        return Stage(place, task), place

    def step(self, task: Array, state: Stage, action: Array, key: Key) -> tuple[Stage, Outcome]:
        u, u_swap = jax.random.uniform(key, (2,))
        first = state.place == 0

        own, other = 1 + action, 2 - action
        place = jnp.where(first, jnp.where(u < self.common_probability, own, other), 0).astype(jnp.int32)

        probability = jnp.where(state.place == state.good, self.high_probability, 1.0 - self.high_probability)
        reward = (~first & (u < probability)).astype(jnp.float32)
        swap = ~first & (u_swap < self.swap_probability)
        good = jnp.where(swap, 3 - state.good, state.good)
        return Stage(place, good), Outcome(place, reward, jnp.zeros((), bool))

    def render(self, task: Array, state: Stage) -> np.ndarray:
        """The first stage below, the two places above: the good one green, the agent a blue disc."""
        centres = {0: (0.0, 0.0), 1: (-1.0, 1.5), 2: (1.0, 1.5)}
        picture = Picture((-1.7, -0.7), (1.7, 2.2))
        for place in (1, 2):
            picture.line(centres[0], centres[place], 0.08, GREY)
        for place, (x, y) in centres.items():
            picture.rectangle((x - 0.55, y - 0.55), (x + 0.55, y + 0.55), GREY)
            colour = GREEN if place == int(state.good) else LIGHT
            picture.rectangle((x - 0.5, y - 0.5), (x + 0.5, y + 0.5), colour)
        picture.disc(centres[int(state.place)], 0.25, BLUE)
        return picture.pixels

    def describe(self, task: Array) -> str:
        return f"the place of action {int(task) - 1} pays more at first"

    def action_labels(self, task: Array) -> list[str]:
        return ["to place 1", "to place 2"]
