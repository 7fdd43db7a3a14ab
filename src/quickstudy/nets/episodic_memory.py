"""A bounded record of (key, action, return), filled step by step, whose returns are known when an episode ends.

    at each time step:  the newest entry's action ← a_{t-1}
                        of open entries  R_i ← R_i + w_i r_{t-1},  w_i ← γ w_i
                        if it opens an episode, all that was open is known
                        append (q_t, -, 0), open, with w = 1; the oldest entry goes

`told` and `appended` are the step form; `sequence` says of T steps at once what each of them would find.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from quickstudy.nets.retrieval import Entries
from quickstudy.types import Array

Kept = TypeVar("Kept", bound=Any)


class Record(NamedTuple):
    entries: Entries
    """C of them"""
    open: Array
    """bool [C]: of the episode that is going on."""
    weights: Array
    """[C]: what the next reward counts in an open entry's return."""


def begin(entries: Entries) -> Record:
    """A stream that begins with these entries [C]."""
    return Record(entries, jnp.zeros_like(entries.known), jnp.zeros_like(entries.returns))


def told(record: Record, action: Array, reward: Array, first: Array, discount: float, *, empty: bool) -> Record:
    """What came of the step before: its action [A], its reward, and whether its episode is over.

    With `empty` an episode that begins finds nothing, not even what has just become known.
    """
    entries, is_open = record.entries, record.open
    newest = jnp.where(is_open[-1], action, entries.actions[-1])
    entries = Entries(
        entries.keys,
        entries.actions.at[-1].set(newest),
        entries.returns + record.weights * is_open * reward,
        entries.known & ~first if empty else entries.known | (is_open & first),
    )
    return Record(entries, is_open & ~first, record.weights * discount)


def appended(record: Record, key: Array) -> Record:
    """A step of which only the key [D] is known yet."""
    blank = jax.tree.map(lambda x: jnp.zeros_like(x[0]), record.entries)
    fresh = Record(blank._replace(keys=key), jnp.ones((), bool), jnp.ones_like(record.weights[0]))
    return jax.tree.map(lambda old, new: jnp.concatenate([old[1:], new[None]]), record, fresh)


def sequence(
    record: Record, keys: Array, actions: Array, rewards: Array, first: Array, discount: float, *, empty: bool
) -> tuple[Entries, Array]:
    """Keys [T, D], and what each time step tells of the step before it: actions [T, A], rewards and first [T].

    `empty` is that of `told`.

    -> (entries [C+T] with their whole returns, which of them each step finds, bool [T, C+T])
    """
    past, num_steps = record.entries, len(first)
    # The first time step of the sequence tells of the record's newest entry.
    returns = discounted(rewards, first, discount)
    newest = jnp.where(record.open[-1], actions[0], past.actions[-1])
    old_returns = past.returns + record.weights * record.open * returns[0]
    entries = Entries(
        jnp.concatenate([past.keys, keys]),
        jnp.concatenate([past.actions[:-1], newest[None], actions[1:], jnp.zeros_like(actions[:1])]),
        jnp.concatenate([old_returns, returns[1:], jnp.zeros_like(returns[:1])]),
        jnp.concatenate([past.known, jnp.zeros_like(first)]),
    )
    episode = jnp.cumsum(first)
    opened = jnp.concatenate([jnp.zeros_like(past.known, episode.dtype), episode])
    is_open = jnp.concatenate([record.open, jnp.ones_like(first)])
    kept = jnp.arange(num_steps)[:, None] <= jnp.arange(len(opened))
    if empty:
        return entries, entries.known & (episode == 0)[:, None] & kept
    return entries, (entries.known | (is_open & (opened < episode[:, None]))) & kept


def of_phase(keys: Array, actions: Array, rewards: Array, ends: Array, mask: Array, discount: float) -> Entries:
    """The steps of S streams, [S, T] each, as entries [T × S] in order of time; known where one ended.

    Keys and actions may have any shape.
    """
    returns = jax.vmap(lambda r, e: discounted(r, e, discount))(rewards, ends)
    ended = jax.lax.cummax(ends.astype(jnp.int32), axis=1, reverse=True) > 0
    entries = Entries(keys, actions, returns, mask & ended)
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), entries)


def latest(earlier: Kept, later: Kept, capacity: int) -> Kept:
    """The last of both that are known, as many as there is room for; of any tuple of arrays with a `known`."""
    both = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), earlier, later)
    # The sort is stable: what is known comes last, in its order.
    kept = jnp.argsort(both.known)[-capacity:]
    return jax.tree.map(lambda x: x[kept], both)


def discounted(rewards: Array, ends: Array, discount: float) -> Array:
    """R_t = r_t + discount × R_{t+1}, without the second term where an episode ends; [T]."""

    def body(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, end = step
        now = reward + discount * jnp.where(end, 0.0, later)
        return now, now

    return jax.lax.scan(body, jnp.zeros((), rewards.dtype), (rewards, ends), reverse=True)[1]
