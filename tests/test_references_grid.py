"""Grid navigation: the Bayes-optimal walk against a dynamic programme over all beliefs, and as it is lived."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.bandit import Bandit
from quickstudy.envs.grid_navigation import GridNavigation
from quickstudy.errors import InputError
from quickstudy.references import optimum
from quickstudy.references.grid_bayes import GridBayes
from quickstudy.references.grid_exact import bayes_optimal_returns, bayes_optimal_walks
from quickstudy.rollout import collect, replay
from quickstudy.types import TrialShape
from tests.probes import DiscreteProbe

KEY = jax.random.key(0)
MOVED = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))


def optimal_value(size: int, num_steps: int, num_episodes: int) -> float:
    """The Bayes-optimal return of a whole trial, by induction over the cell and the set of possible goals.

    `value[x, y]` holds for every set of goals that are still possible, as bits, the sum over them of what is
    earned from here on; nothing is shared with the module but the rules of the game.
    """
    cells = [(x, y) for x in range(size) for y in range(size)]
    goals = [cell for cell in cells if max(cell) > 1]
    sets = np.arange(2 ** len(goals), dtype=np.int32)
    possible = np.sum([(sets >> i) & 1 for i in range(len(goals))], axis=0, dtype=np.float32)
    reach = [sum(goal) for goal in goals]
    known = [num_steps + 1 - d - 0.1 * (d - 1) if d <= num_steps else -0.1 * num_steps for d in reach]

    start = np.zeros(len(sets), np.float32)
    for episodes_left in range(num_episodes):
        value = dict.fromkeys(cells, start)
        for steps_left in range(1, num_steps + 1):
            entered = {}
            for cell in cells:
                if cell in goals:
                    i = goals.index(cell)
                    # Found here: 1 in this step and all that follow, then the goal known.
                    has, rest = (sets >> i) & 1, sets & ~np.int32(1 << i)
                    found = has * np.float32(steps_left + episodes_left * known[i])
                    entered[cell] = found - np.float32(0.1) * (possible - has) + value[cell][rest]
                else:
                    entered[cell] = value[cell] - np.float32(0.1) * possible
            value = {(x, y): _best(entered, x, y, size) for x, y in cells}
        start = value[0, 0]
    return float(start[-1]) / len(goals)


def _best(entered: dict, x: int, y: int, size: int) -> np.ndarray:
    best = entered[x, y]
    for dx, dy in MOVED[1:]:
        best = np.maximum(best, entered[min(max(x + dx, 0), size - 1), min(max(y + dy, 0), size - 1)])
    return best


@pytest.mark.parametrize("num_episodes", [1, 2, 3, 4])
def test_cumulative_values_of_the_paper(num_episodes: int):
    exact = optimum(GridNavigation(), TrialShape(0, 1, num_episodes))
    assert exact is not None
    assert exact.shape == (num_episodes,)
    assert exact.sum() == pytest.approx([4.000, 15.071, 26.143, 37.214][num_episodes - 1], abs=5e-4)


@pytest.mark.parametrize(
    ("size", "num_steps", "num_episodes"),
    [(3, 3, 1), (3, 3, 2), (3, 4, 2), (3, 4, 3), (3, 8, 2), (3, 1, 2), (4, 5, 1), (4, 9, 2), (4, 15, 2)],
)
def test_the_bound_is_the_optimum_over_all_beliefs(size: int, num_steps: int, num_episodes: int):
    exact = bayes_optimal_returns(GridNavigation(size, num_steps), num_episodes)
    assert exact is not None
    assert exact.sum() == pytest.approx(optimal_value(size, num_steps, num_episodes), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("num_episodes", [1, 2])
def test_the_bound_is_the_optimum_of_the_5x5_room(num_episodes: int):
    exact = bayes_optimal_returns(GridNavigation(), num_episodes)
    assert exact is not None
    assert exact.sum() == pytest.approx(optimal_value(5, 15, num_episodes), abs=1e-3)


def test_where_the_bound_is_not_reached_nothing_is_claimed():
    env, trial = GridNavigation(6), TrialShape(0, 1, 2)
    assert optimum(env, trial) is None
    assert optimum(env, TrialShape(0, 1, 1)) is not None
    with pytest.raises(InputError, match="env: got GridNavigation"):
        GridBayes().init(env, trial, KEY)
    # With more steps than cells even a longer trial of a larger room is solved.
    assert optimum(GridNavigation(6, 40), trial) is not None


def test_the_optimum_is_that_of_one_stream_of_the_family_itself():
    assert optimum(GridNavigation(), TrialShape(1, 2, 2)) is None
    assert optimum(GridNavigation(), TrialShape(0, 2, 2)) is None


def test_the_walks_enter_every_goal_in_time():
    walks = bayes_optimal_walks(GridNavigation(), 4)
    assert walks is not None

    def cells(actions: tuple[int, ...]) -> list[tuple[int, int]]:
        path = [(0, 0)]
        for action in actions:
            (x, y), (dx, dy) = path[-1], MOVED[action]
            path.append((x + dx, y + dy))
        return path[1:]

    first, second = cells(walks.first), cells(walks.second)
    goals = {(int(x), int(y)) for x, y in GridNavigation().goals()}
    assert len(goals.intersection(first[1:])) == 14
    for goal in goals.difference(first):
        assert second.index(goal) + 1 == sum(goal)


@functools.cache
def trials_in_every_task(env: GridNavigation):
    agent, trial = GridBayes(), TrialShape(0, 1, 3)
    room = agent.init(env, trial, KEY)
    tasks = jnp.asarray(env.goals())
    run = jax.jit(lambda tasks, keys: collect(agent, env, trial, room, tasks, keys))
    return agent, room, run(tasks, jax.random.split(KEY, len(tasks)))


@pytest.mark.parametrize(("size", "num_steps"), [(5, 15), (4, 9)])
def test_the_agent_earns_the_optimum_in_the_mean_over_all_tasks(size: int, num_steps: int):
    env = GridNavigation(size, num_steps)
    _, _, trials = trials_in_every_task(env)
    returns = np.asarray(trials.phases.reward[:, 0, 0], np.float64).reshape(-1, 3, num_steps).sum(2)
    exact = optimum(env, TrialShape(0, 1, 3))
    assert exact is not None
    np.testing.assert_allclose(returns.mean(0), exact, atol=1e-5)


def test_replay_says_what_was_said():
    agent, room, trials = trials_in_every_task(GridNavigation())
    said = jax.jit(functools.partial(replay, agent))(room, trials).policy.log_prob(trials.phases.action)
    np.testing.assert_array_equal(said, 0.0)


@pytest.mark.parametrize("env", [DiscreteProbe(), Bandit(5)], ids=repr)
def test_another_family_is_refused(env):
    with pytest.raises(InputError, match="expected grid-navigation"):
        GridBayes().init(env, TrialShape(), KEY)
