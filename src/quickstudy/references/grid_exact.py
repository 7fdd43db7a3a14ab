"""The Bayes-optimal walk of grid navigation, where it reaches a bound that no agent exceeds.

    bound     first episode: a new cell that may be the goal in every step from the 2nd, none being nearer
              later ones: the goal known, 1 at every step from the d-th and -0.1 before, at distance d
    walk      first episode: such a walk, found by a search in depth, that leaves out
              only cells of one shortest path, each farther from the start than the one before
              second episode: that path;   after the find, in any episode: a shortest path, and stay

A goal that is found in step t of the first episode earns T + 1 - t there, less 0.1 (t - 1), so the sooner each
is entered the better, and only one can be entered in a step. In the second episode each cell that is left is
entered when it would be if it were known to be the goal. So where both walks exist they are optimal for any
number of episodes at once. In the 5×5 room of 15 steps they do: 4.000, then 11.071 an episode. Where they do
not (5×5 and 14 steps, 6×6 and 15), the optimum of more than one episode is not known here.

Source: the setting of Zintgraf et al. 2020 (arXiv 1910.08348); the bound is this library's own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from quickstudy.envs.grid_navigation import MOVES, GridNavigation

Cell = tuple[int, int]

MOST_CELLS_TRIED = 50_000
"""By the search, in 0.3 s; the 5×5 room takes fewer than 1,000."""

PAY, COST = 1.0, -0.1


class Walks(NamedTuple):
    """The actions of the first and the second episode while the goal is not found, [T] each."""

    first: tuple[int, ...]
    second: tuple[int, ...]


def known_goal_value(distance: np.ndarray, num_steps: int) -> np.ndarray:
    """What an episode of `num_steps` is worth with the goal known at `distance` ≥ 1, [...]."""
    return np.where(
        distance <= num_steps,
        PAY * (num_steps + 1 - distance) + COST * (distance - 1),
        COST * num_steps,
    )


def bayes_optimal_returns(env: GridNavigation, num_episodes: int) -> np.ndarray | None:
    """The expected return of each episode [E]; None where no walk that reaches the bound was found."""
    if bayes_optimal_walks(env, num_episodes) is None:
        return None
    num_goals = len(env.goals())
    # What is first entered in step t is worth what a known goal at distance t is; the others are not found.
    entered = np.full(num_goals, env.max_steps + 1)
    in_time = np.arange(2, env.max_steps + 1)[:num_goals]
    entered[: len(in_time)] = in_time
    first = known_goal_value(entered, env.max_steps).mean()
    later = known_goal_value(env.goals().sum(1), env.max_steps).mean()
    return np.array([first] + [later] * (num_episodes - 1))


@functools.lru_cache(maxsize=8)
def bayes_optimal_walks(env: GridNavigation, num_episodes: int) -> Walks | None:
    """The walks that reach the bound over `num_episodes`; None where the search finds none."""
    size, num_steps = env.size, env.max_steps
    goals = {(int(x), int(y)) for x, y in env.goals()}
    cells = _new_cells(size, goals, min(num_steps - 1, len(goals)), num_episodes > 1, num_steps)
    if cells is None:
        return None
    left = sorted(goals.difference(cells), key=sum) if num_episodes > 1 else []
    within_reach = [cell for cell in left if sum(cell) <= num_steps]
    return Walks(_actions([(0, 0), *cells], num_steps), _actions([(0, 0), *within_reach], num_steps))


def _new_cells(size: int, goals: set[Cell], length: int, leave_path: bool, num_steps: int) -> list[Cell] | None:
    """(0, 1), then `length` different goals, each next to the one before; those left out lie on one path."""
    walk: list[Cell] = [(0, 1)]
    branches = [_neighbours((0, 1), goals, walk)]
    for _ in range(MOST_CELLS_TRIED):
        if len(walk) == length + 1 and (not leave_path or _on_one_path(goals.difference(walk), num_steps)):
            return walk
        cell = next(branches[-1], None) if len(walk) <= length else None
        if cell is not None:
            walk.append(cell)
            branches.append(_neighbours(cell, goals, walk))
            continue
        walk.pop()
        branches.pop()
        if not walk:
            return None
    return None


def _neighbours(cell: Cell, goals: set[Cell], walk: list[Cell]) -> Iterator[Cell]:
    """The goals next to a cell that the walk has not entered, those with the fewest ways on first."""

    def free(cell: Cell) -> list[Cell]:
        x, y = cell
        return [c for c in ((x + 1, y), (x, y + 1), (x - 1, y), (x, y - 1)) if c in goals and c not in walk]

    return iter(sorted(free(cell), key=lambda c: len(free(c))))


def _on_one_path(cells: set[Cell], num_steps: int) -> bool:
    """Whether one shortest path from the start passes all of the cells that can be reached in an episode."""
    ordered = sorted((cell for cell in cells if sum(cell) <= num_steps), key=sum)
    return all(
        nearer != farther and nearer[0] <= farther[0] and nearer[1] <= farther[1]
        for nearer, farther in itertools.pairwise(ordered)
    )


def _actions(cells: list[Cell], num_steps: int) -> tuple[int, ...]:
    """The moves through the cells, sideways before up or down between two of them; then stay."""
    right, left, up, down, stay = (MOVES.index(m) for m in ("right", "left", "up", "down", "stay"))
    actions: list[int] = []
    for (x, y), (next_x, next_y) in itertools.pairwise(cells):
        actions += [right if next_x > x else left] * abs(next_x - x)
        actions += [up if next_y > y else down] * abs(next_y - y)
    return tuple((actions + [stay] * num_steps)[:num_steps])
