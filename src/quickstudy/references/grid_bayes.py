"""The Bayes-optimal agent of grid navigation: walk as `grid_exact` has planned, and keep to the goal found.

    goal not found    the planned action of this step of the first or second episode
    goal found        a step towards it; stay on it

It earns 4.000 in the first episode of the 5×5 room and 11.071 in every later one, 37.214 in four.

Source: the setting of Zintgraf et al. 2020 (arXiv 1910.08348); the walk is this library's own.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.envs.grid_navigation import MOVES, GridNavigation, moved
from quickstudy.errors import wrong
from quickstudy.references.choice import policy
from quickstudy.references.family import require_family
from quickstudy.references.grid_exact import Walks, bayes_optimal_walks
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Room(eqx.Module):
    """What the agent knows of the room; no array."""

    size: int = eqx.field(static=True)
    walks: Walks = eqx.field(static=True)


class Search(NamedTuple):
    """The memory."""

    cell: Array
    """[2], the last one seen."""
    goal: Array
    """[2], where it was found."""
    found: Array
    """bool"""
    episode: Array
    """From 0; -1 before the first."""
    step: Array
    """Of the episode, from 0."""


@dataclasses.dataclass(frozen=True)
class GridBayes:
    """Exactly Bayes-optimal in grid navigation: no cell is entered twice before the goal is found."""

    meta_learned: ClassVar[bool] = False

    def init(self, env: Any, trial: TrialShape, key: Key) -> Room:
        """Raises `InputError` in any other family, and where the optimal walk is not known."""
        require_family(env, GridNavigation, "grid-navigation")
        walks = bayes_optimal_walks(env, trial.num_episodes)
        if walks is None:
            raise wrong(
                "env", env, "a size and length of episode whose Bayes-optimal walk is known, as 5 and 15"
            )
        return Room(env.size, walks)

    def init_task(self, meta_params: Room, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: Room, task_params: PyTree) -> Search:
        nowhere, zero = jnp.zeros(2), jnp.zeros((), jnp.int32)
        return Search(nowhere, nowhere, jnp.zeros((), bool), zero - 1, zero)

    def step(
        self, meta_params: Room, task_params: PyTree, memory: Search, timestep: TimeStep, key: Key
    ) -> tuple[Output, Search]:
        memory = _absorb(meta_params, memory, timestep)
        walks = jnp.asarray([meta_params.walks.first, meta_params.walks.second])
        planned = walks[jnp.minimum(memory.episode, 1), memory.step]
        action = jnp.where(memory.found, _towards(memory.goal - memory.cell), planned)
        return Output(policy(jax.nn.one_hot(action, len(MOVES))), jnp.zeros(()), {}), memory

    def adapt(self, meta_params: Room, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params


def _absorb(room: Room, memory: Search, timestep: TimeStep) -> Search:
    # Not what is seen but where the last move led: the last cell of an episode is never seen.
    landed = moved(memory.cell, timestep.action, room.size)
    finds = (timestep.reward > 0) & ~memory.found
    return Search(
        cell=timestep.observation,
        goal=jnp.where(finds, landed, memory.goal),
        found=memory.found | finds,
        episode=memory.episode + timestep.first,
        step=jnp.where(timestep.first, 0, memory.step + 1),
    )


def _towards(offset: Array) -> Array:
    """The first action of a shortest path over offset [2]; stay at its end."""
    x, y = offset
    sideways = jnp.where(x > 0, MOVES.index("right"), MOVES.index("left"))
    along = jnp.where(y > 0, MOVES.index("up"), MOVES.index("down"))
    return jnp.where(x != 0, sideways, jnp.where(y != 0, along, MOVES.index("stay")))
