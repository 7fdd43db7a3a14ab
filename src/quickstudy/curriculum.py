"""A curriculum over the length of the trial: short trials first, longer ones once these are mastered.

    stage i has trials of lengths[i] episodes, the last stage those of the experiment
    a stage ends when   return - random ≥ close · (reference - random)   on validation tasks,
    or when it has had its share of the updates: latest / number of early stages, at whatever update that is

A long trial hides a learner's first successes in the noise of hundreds of later rewards: with 100 pulls of a
bandit's arms RL² stays at random, where it learns within seconds with 10.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from quickstudy.errors import require


class Goal(NamedTuple):
    """What a mean return is shown and judged against."""

    random: float
    reference: float | None
    """The best possible, where it is known, else the best of the classical learners; None without either."""
    exact: bool
    """The reference is the best possible."""


@dataclasses.dataclass(frozen=True)
class Curriculum:
    """Short trials first."""

    lengths: tuple[int, ...] = ()
    """Episodes of a trial in each early stage; none: all trials have their full length."""
    close: float = 0.9
    """The share of the way from a random agent to the reference at which a stage ends."""
    latest: float = 0.5
    """By this share of the updates trials have their full length, however far the agent is."""

    def __post_init__(self) -> None:
        growing = all(a < b for a, b in zip((0, *self.lengths), self.lengths, strict=False))
        require(
            self,
            lengths=(growing, "growing numbers of episodes from 1"),
            close=(0 < self.close <= 1, "above 0, at most 1"),
            latest=(0 < self.latest <= 1, "above 0, at most 1"),
        )

    def most_updates(self, num_updates: int, num_early: int) -> int:
        """Of one of so many early stages."""
        return int(num_updates * self.latest / num_early)

    def is_mastered(self, mean_return: float, goal: Goal) -> bool:
        """Whether what is earned on validation tasks is close to the reference."""
        if goal.reference is None:
            return False
        return mean_return - goal.random >= self.close * (goal.reference - goal.random)
