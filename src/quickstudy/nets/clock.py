"""How far a stream is in its trial and in its episode, and what is left of both: what an agent may be fed."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from quickstudy.nets import resets
from quickstudy.types import Array


class Clock(NamedTuple):
    """Steps before the one that comes, int32; [] in the step form, [T] in the sequence form."""

    in_trial: Array
    in_episode: Array

    def at(self, first: Array) -> Clock:
        """At the time step that comes, where `first` says that it opens an episode."""
        return Clock(self.in_trial, jnp.where(first, 0, self.in_episode))

    def later(self) -> Clock:
        """One step on."""
        return Clock(self.in_trial + 1, self.in_episode + 1)

    def through(self, first: Array) -> Clock:
        """At each of the T time steps that come; first [T]."""
        num_steps = len(first)
        in_trial = resets.ages(self.in_trial, None, num_steps)
        return Clock(in_trial, resets.ages(self.in_episode, first, num_steps))


def begin() -> Clock:
    zero = jnp.zeros((), jnp.int32)
    return Clock(zero, zero)


def with_left(fed: Array, clock: Clock, trial_steps: int | None, episode_steps: int | None) -> Array:
    """`fed` [F] and behind it the shares left of trial and episode; of neither where its length is None."""
    lengths = ((clock.in_trial, trial_steps), (clock.in_episode, episode_steps))
    left = [1 - passed / length for passed, length in lengths if length is not None]
    # A trial longer than that of the training has nothing left, not less.
    return jnp.append(fed, jnp.maximum(jnp.stack(left), 0.0)) if left else fed
