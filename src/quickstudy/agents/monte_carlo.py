"""Monte Carlo control: the mean of what was earned after each choice, by whole episodes.

    G_t = r_t + γ G_{t+1};   Q(s_t, a_t) ← Q(s_t, a_t) + α (G_t - Q(s_t, a_t)),   at the end of an episode

Source: Sutton and Barto 2018, "Reinforcement learning", sections 5.3 and 5.4, on-policy control.
Differs from the paper:
- α falls more slowly than 1/n (`agents.tables`), so that returns of better policies outweigh those of earlier
  ones; `rate_decay=1` is the mean.
- An episode counts only if it both begins and ends within the phase. Let a life's steps between adaptations be
  a multiple of the time limit; where episodes end before it, long ones are lost more often than short ones.
- Behind a cut comes, with the horizon "discounted", the policy's mean value in the table; a return that goes on
  for ever is never whole.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from quickstudy.agents.blank import Blank
from quickstudy.agents.tables import Learned, ModelFree, Steps, expected_value
from quickstudy.errors import wrong
from quickstudy.types import Array, Key, Transition

Visits = Literal["first", "every"]


@dataclasses.dataclass(frozen=True)
class MonteCarlo(ModelFree):
    """Monte Carlo control (Sutton and Barto 2018): a table, moved towards the returns of whole episodes."""

    visits: Visits = "first"
    """Which of an episode's visits of a state and action count; with the horizon finite there is but one."""

    def adapt(self, meta_params: Blank, task_params: Learned, transitions: Transition, key: Key) -> Learned:
        num_steps, longest = transitions.reward.shape[1], meta_params.env.max_steps
        if num_steps < longest:
            raise wrong("num_steps", num_steps, f"at least {longest}, a whole episode, for Monte Carlo control")
        steps = self.steps(meta_params, transitions)
        over = transitions.terminated | transitions.truncated
        behind = jnp.where(steps.ends, 0.0, self._expected(meta_params, task_params, steps))
        returns = jax.vmap(self._returns)(transitions.reward, behind, over)
        counts = jax.vmap(whole)(transitions) & steps.mask
        if self.visits == "first" and self.horizon == "discounted":
            first = transitions.timestep.first
            counts &= jax.vmap(lambda steps, first: first_visits(steps, first, task_params.values))(
                steps, first
            )
        return self.learn(task_params, (steps._replace(mask=counts), returns), lambda _, known: known[1])

    def _expected(self, meta_params: Blank, learned: Learned, steps: Steps) -> Array:
        """The policy's value [S, T] of what follows each step."""
        epsilon = self.epsilon_after(meta_params, learned.num_adapts)
        behind = learned.values[steps.next_row, steps.next_state]
        return jax.vmap(jax.vmap(lambda values: expected_value(values, epsilon)))(behind)

    def _returns(self, reward: Array, value_behind: Array, over: Array) -> Array:
        """G [T] of one stream; the value behind each step that ends an episode."""

        def body(after: Array, step: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            reward, value_behind, over = step
            now = reward + self.discount * jnp.where(over, value_behind, after)
            return now, now

        return jax.lax.scan(body, jnp.zeros(()), (reward, value_behind, over), reverse=True)[1]


def whole(stream: Transition) -> Array:
    """Whether the episode of each step [T] both begins and ends within the stream."""
    over = stream.terminated | stream.truncated
    return (jnp.cumsum(stream.timestep.first) > 0) & (jax.lax.cumsum(over.astype(jnp.int32), reverse=True) > 0)


def first_visits(steps: Steps, first: Array, values: Array) -> Array:
    """Whether each step [T] of one stream is its episode's first of that entry of the table."""

    def body(last: Array, step: tuple[Steps, Array]) -> tuple[Array, Array]:
        """`last` is the episode in which each entry was visited last."""
        now, episode = step
        entry = now.row, now.state, now.action
        return last.at[entry].set(episode), last[entry] != episode

    return jax.lax.scan(body, jnp.full(values.shape, -1), (steps, jnp.cumsum(first)))[1]
