"""What value-based learners remember: the last steps of every stream of a task, for learning again from them.

    rows [S, L]:    streams side by side, in the order of time, the oldest overwritten
    a sample:       n steps of one stream from a row on, drawn uniformly; at a border they end after m < n
    R = Σ_{k<m} γ^k r_k;   the target is R + γ^m V(o_m), or R behind a real end

A life's streams go on from adaptation to adaptation, and so do the n steps. An episode that was cut by its time
limit, and the newest row, are borders whose value counts. Padding is overwritten by what comes next; what is
left of it, where streams are of different lengths, has weight 0.

Source: the buffer is flashbax's trajectory buffer; Lin 1992, "Self-improving reactive agents"; n-step targets
as in Hessel et al. 2018 (arXiv 1710.02298).
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from flashbax.buffers.trajectory_buffer import TrajectoryBuffer, TrajectoryBufferState, make_trajectory_buffer

from quickstudy.agents.blank import Blank
from quickstudy.errors import wrong
from quickstudy.types import Array, Key, PyTree, Transition


class Rows(NamedTuple):
    """What is kept of a step."""

    observation: PyTree
    action: Array
    reward: Array
    next_observation: PyTree
    terminated: Array
    done: Array
    """Terminated or truncated."""
    mask: Array


class Batch(NamedTuple):
    """What a gradient is taken of; any leading axes."""

    observation: PyTree
    action: Array
    reward: Array
    """R, of up to n steps."""
    discount: Array
    """γ^m, 0 behind a real end."""
    next_observation: PyTree
    """o_m"""
    weight: Array
    """1, or 0 for padding."""

    def mean(self, x: Array) -> Array:
        """Over the steps that count."""
        return (x * self.weight).sum() / jnp.maximum(self.weight.sum(), 1)


@dataclasses.dataclass(frozen=True)
class ReplayBuffer:
    """Pure functions of a buffer for S streams; the buffer itself is flashbax's state."""

    size: int
    """Steps of all streams together, rounded down to whole rows."""
    num_streams: int
    num_steps: int = 1
    """n"""
    discount: float = 0.99

    @property
    def length(self) -> int:
        """L, the steps of one stream."""
        return self.size // self.num_streams

    def init(self, env: Any) -> TrajectoryBufferState:
        if self.length <= self.num_steps:
            raise wrong(
                "buffer_size", self.size, f"more than {self.num_steps * self.num_streams}, n steps a stream"
            )
        observation, action = (_zeros(space) for space in (env.observation_space, env.action_space))
        no, nothing = jnp.zeros((), bool), jnp.zeros(())
        state: Any = self._buffer(1).init(Rows(observation, action, nothing, observation, no, no, no))
        # flashbax's own is weakly typed, and would be another type after the first `add`.
        return state.replace(current_index=jnp.zeros((), jnp.int32))

    def add(self, state: TrajectoryBufferState, transitions: Transition) -> TrajectoryBufferState:
        """With the steps of one phase, [S, T]."""
        num_streams, num_steps = transitions.mask.shape
        if num_streams != self.num_streams or num_steps > self.length:
            expected = f"at least the {num_steps * num_streams} steps of a phase"
            raise wrong("buffer_size", self.size, expected)
        done = transitions.terminated | transitions.truncated
        kept = (transitions.action, transitions.reward, transitions.next_observation, transitions.terminated)
        rows = Rows(transitions.timestep.observation, *kept, done, transitions.mask)
        rows = jax.tree.map(lambda row, kept: row.astype(kept.dtype), rows, state.experience)
        added: Any = self._buffer(1).add(state, rows)
        # What is real comes first in each stream: the next rows are written behind the longest one.
        end = state.current_index + transitions.mask.sum(1).max()
        return added.replace(current_index=end % self.length, is_full=state.is_full | (end >= self.length))

    def sample(self, state: TrajectoryBufferState, key: Key, shape: tuple[int, int]) -> Batch:
        """So many batches of so many, drawn at once; `shape` is [U, B]."""
        rows: Any = self._buffer(shape[0] * shape[1]).sample(state, key).experience
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), self.folded(rows))

    def num_kept(self, state: TrajectoryBufferState) -> Array:
        """Rows, of all streams together."""
        return self.num_streams * jnp.where(state.is_full, self.length, state.current_index)

    def ready(self, state: TrajectoryBufferState, learning_starts: int) -> Array:
        """Whether there are so many rows, or all that there can be, and n of each stream."""
        least = max(learning_starts, self.num_steps * self.num_streams)
        return state.is_full | (self.num_kept(state) >= least)

    def folded(self, rows: Rows) -> Batch:
        """Sequences of n steps [B, n] -> batch [B]."""
        goes_on = jnp.cumprod(~rows.done[:, :-1], axis=1, dtype=jnp.float32)
        counts = jnp.concatenate([jnp.ones_like(rows.reward[:, :1]), goes_on], axis=1)
        last = counts.sum(1).astype(jnp.int32) - 1
        reward = (counts * self.discount ** jnp.arange(self.num_steps) * rows.reward).sum(1)
        at_last = jax.tree.map(
            lambda x: x[jnp.arange(len(last)), last], (rows.next_observation, rows.terminated)
        )
        discount = jnp.where(at_last[1], 0.0, self.discount ** (last + 1.0))
        observation, action = jax.tree.map(lambda x: x[:, 0], (rows.observation, rows.action))
        return Batch(observation, action, reward, discount, at_last[0], rows.mask[:, 0].astype(jnp.float32))

    def _buffer(self, batch_size: int) -> TrajectoryBuffer:
        return make_trajectory_buffer(
            add_batch_size=self.num_streams,
            sample_batch_size=batch_size,
            sample_sequence_length=self.num_steps,
            period=1,
            min_length_time_axis=self.num_steps,
            max_length_time_axis=self.length,
        )


class Remembering(Blank):
    """The `meta_params` of an agent from scratch with a buffer."""

    buffer: ReplayBuffer = eqx.field(static=True)


def _zeros(space: Any) -> Array:
    return jnp.zeros(space.shape or (), jax.dtypes.canonicalize_dtype(space.dtype))
