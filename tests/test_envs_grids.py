"""Rooms against exact planners, closed forms, and walks done by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.dark_room import DarkRoom
from quickstudy.envs.drawing import BLACK, BLUE, GREEN, WHITE
from quickstudy.envs.grid_navigation import GridNavigation, cells, moved
from quickstudy.envs.key_to_door import KeyToDoor, Places, Walk
from quickstudy.errors import InputError
from quickstudy.references.random_agent import Random
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import TrialShape

KEY = jax.random.key(0)
STAY, UP, RIGHT, DOWN, LEFT = range(5)


def walk(env, tasks, actions):
    """(states, outcomes) [n, T] of the actions [T] or [n, T] in every task [n], with no reset."""
    n = jax.tree.leaves(tasks)[0].shape[0]
    actions = np.broadcast_to(actions, (n, np.shape(actions)[-1]))

    def one(task, actions):
        def step(state, action):
            state, outcome = env.step(task, state, action, KEY)
            return state, (state, outcome)

        return jax.lax.scan(step, env.reset(task, KEY)[0], actions)[1]

    return jax.device_get(jax.jit(jax.vmap(one))(tasks, jnp.asarray(actions, jnp.int32)))


def solve(env, tasks, states, index, choose):
    """The value [n, states] of an episode by backward induction; `choose` makes one of the actions' values."""
    actions = jnp.arange(env.action_space.n)

    def steps(task):
        over_actions = jax.vmap(lambda state, a: env.step(task, state, a, KEY), in_axes=(None, 0))
        return jax.vmap(lambda state: over_actions(state, actions))(states)

    behind, outcome = jax.device_get(jax.jit(jax.vmap(steps))(tasks))
    behind, value = index(behind), np.zeros(outcome.reward.shape[:2])
    for _ in range(env.max_steps):
        after = np.take_along_axis(value, behind.reshape(len(value), -1), 1).reshape(behind.shape)
        value = choose(outcome.reward.astype(np.float64) + ~outcome.terminated * after, axis=2)
    return value


def room_values(env, tasks, choose):
    """Of an episode in each task."""
    size = env.size
    value = solve(
        env,
        jnp.asarray(tasks),
        jnp.asarray(cells(size), jnp.float32),
        lambda cell: (cell[..., 0] * size + cell[..., 1]).astype(int),
        choose,
    )
    x, y = np.asarray(env.reset(jnp.asarray(tasks[0]), KEY)[1], int)
    return value[:, x * size + y]


def test_walls_stop_and_moves_move():
    place = jnp.array([0.0, 4.0])
    after = [moved(place, jnp.int32(action), 5).tolist() for action in (STAY, UP, RIGHT, DOWN, LEFT)]
    assert after == [[0, 4], [0, 4], [1, 4], [0, 3], [0, 4]]
    place = jnp.array([4.0, 0.0])
    after = [moved(place, jnp.int32(action), 5).tolist() for action in (STAY, UP, RIGHT, DOWN, LEFT)]
    assert after == [[4, 0], [4, 1], [4, 0], [4, 0], [3, 0]]


def test_grid_navigation_pays_in_the_goal_and_goes_on():
    env = GridNavigation()
    # Past the goal (2, 0) and back, and a bump into the lower wall, which leaves the agent in the goal.
    states, outcome = walk(env, jnp.array([[2.0, 0.0]]), [RIGHT, RIGHT, RIGHT, LEFT, DOWN, STAY, UP])
    assert states[0].tolist() == [[1, 0], [2, 0], [3, 0], [2, 0], [2, 0], [2, 0], [2, 1]]
    assert outcome.reward[0] == pytest.approx([-0.1, 1, -0.1, 1, 1, 1, -0.1])
    assert outcome.success[0].tolist() == [False, True, False, True, True, True, False]
    assert not outcome.terminated.any()


def test_grid_navigation_has_21_goals_worth_11_071():
    env = GridNavigation()
    goals = env.goals()
    assert len(goals) == 21
    assert not {(0, 0), (0, 1), (1, 0), (1, 1)} & set(map(tuple, goals))
    distance = goals.sum(1)
    values = room_values(env, goals, np.max)
    assert values == pytest.approx(16 - distance - 0.1 * (distance - 1), abs=1e-5)
    assert values.mean() == pytest.approx(11.071, abs=5e-4)
    drawn = np.asarray(sample_tasks(env, jax.random.split(KEY, 2000)))
    assert set(map(tuple, drawn)) == set(map(tuple, goals))


def test_grid_navigation_bayes_optimal():
    """A policy that attains 4.000, 15.071, 26.143 and 37.214, which none exceeds: a step, from the second on,
    finds at most one new goal, which gives 4.000; and no later episode is worth more than with the goal known.
    """
    env = GridNavigation()
    goals = jnp.asarray(env.goals())
    # 14 goals in 15 steps, all but those on the lower and the right wall; and those, by a shortest path.
    search = np.array([*[UP] * 4, RIGHT, *[DOWN] * 2, RIGHT, DOWN, RIGHT, *[UP] * 2, LEFT, UP, RIGHT])
    rest = np.array([*[RIGHT] * 4, *[UP] * 4, *[STAY] * 7])

    def returns(path):
        """Follow the path, and stay in the goal once it is found."""
        found = walk(env, goals, path)[1].success.cumsum(1) > 0
        before = np.concatenate([np.zeros((21, 1), bool), found[:, :-1]], 1)
        return walk(env, goals, np.where(before, STAY, path))[1].reward.sum(1), found[:, -1]

    first, found = returns(search)
    assert found.sum() == 14
    second, found_then = returns(rest)
    assert (found | found_then).all()
    known = room_values(env, env.goals(), np.max)
    episodes = np.array([first.mean(), np.where(found, known, second).mean(), known.mean(), known.mean()])
    assert episodes.cumsum() == pytest.approx([4.000, 15.071, 26.143, 37.214], abs=5e-4)
    assert (14 * 16.1 - 1.1 * sum(range(2, 16)) - 7 * 1.5) / 21 == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("fields", "expected", "in_papers"),
    [
        ({}, 101 - 9 - 1 / 100, 91.99),
        ({"size": 9, "episode_length": 20, "start": "centre"}, 21 - 40 / 9 - 1 / 81, 16.54),
    ],
)
def test_dark_room_with_the_goal_known(fields, expected, in_papers):
    splits = [DarkRoom(**fields, split=split) for split in ("train", "test")]
    values = np.concatenate([room_values(env, env.goals(), np.max) for env in splits])
    assert values.mean() == pytest.approx(expected, abs=1e-5)
    assert values.mean() == pytest.approx(in_papers, abs=5e-3)
    if not fields:
        assert [v.mean() for v in np.split(values, [80])] == pytest.approx([92.2625, 90.9])


def test_dark_room_pays_only_in_the_goal():
    states, outcome = walk(DarkRoom(size=3, start="centre"), jnp.array([[2.0, 2.0]]), [RIGHT, UP, UP, DOWN, UP])
    assert states[0].tolist() == [[2, 1], [2, 2], [2, 2], [2, 1], [2, 2]]
    assert outcome.reward[0].tolist() == [0, 1, 1, 0, 1]
    assert not outcome.terminated.any()
    assert np.asarray(DarkRoom().reset(jnp.zeros(2), KEY)[1]).tolist() == [0, 0]
    assert np.asarray(DarkRoom(size=9, start="centre").reset(jnp.zeros(2), KEY)[1]).tolist() == [4, 4]


def test_dark_room_holds_out_the_goals_of_dpt():
    # As its collect_data.py does: all goals in rows, shuffled in place.
    goals = np.array([(j, i) for j in range(10) for i in range(10)])
    np.random.RandomState(seed=0).shuffle(goals)
    train, test = (set(map(tuple, DarkRoom(split=split).goals())) for split in ("train", "test"))
    assert test == set(map(tuple, goals[80:]))
    assert train == set(map(tuple, goals[:80]))
    drawn = np.asarray(sample_tasks(DarkRoom(split="test"), jax.random.split(KEY, 2000)))
    assert set(map(tuple, drawn)) == test


def test_key_to_door_by_hand():
    env = KeyToDoor(size=3)
    tasks = Places(jnp.array([[1.0, 2.0], [0.0, 0.0]]), jnp.array([[2.0, 1.0], [0.0, 0.0]]))
    # The door without the key pays nothing, the key pays once, the door ends the episode.
    states, outcome = walk(env, tasks, [RIGHT, LEFT, UP, DOWN, UP, RIGHT, DOWN])
    assert states.cell[0].tolist() == [[2, 1], [1, 1], [1, 2], [1, 1], [1, 2], [2, 2], [2, 1]]
    assert states.has_key[0].tolist() == [False, False, True, True, True, True, True]
    assert outcome.reward[0].tolist() == [0, 0, 1, 0, 0, 0, 1]
    assert outcome.terminated[0].tolist() == outcome.success[0].tolist() == [*[False] * 6, True]
    # Key and door in one cell: one step each.
    _, outcome = walk(env, tasks, [LEFT, DOWN, STAY])
    assert outcome.reward[1].tolist() == [0, 1, 1]
    assert outcome.terminated[1].tolist() == [False, False, True]


def test_key_to_door_is_worth_2_when_known():
    env = KeyToDoor()
    tasks = sample_tasks(env, jax.random.split(KEY, 50))
    grid = jnp.tile(jnp.asarray(cells(9), jnp.float32), (2, 1))
    values = solve(
        env,
        tasks,
        Walk(grid, jnp.repeat(jnp.array([False, True]), 81)),
        lambda state: (state.cell @ [9, 1]).astype(int) + 81 * state.has_key,
        np.max,
    )
    assert (values[:, 4 * 9 + 4] == 2).all()
    assert np.asarray(env.reset(jax.tree.map(lambda x: x[0], tasks), KEY)[1]).tolist() == [4, 4]


def test_pictures_show_agent_goal_and_walls():
    picture = GridNavigation().render(jnp.array([3.0, 1.0]), np.array([1.0, 4.0]))
    cell = len(picture) / 5.3  # with the walls
    centre = {(x, y): tuple(picture[int((4.65 - y) * cell), int((x + 0.65) * cell)]) for x, y in cells(5)}
    assert centre.pop((1, 4)) == BLUE
    assert centre.pop((3, 1)) == GREEN
    assert set(centre.values()) == {WHITE}
    assert {tuple(picture[0, 0]), tuple(picture[-1, -1])} == {BLACK}


def test_key_to_door_splits_all_pairs():
    train, test = ({pair.tobytes() for pair in KeyToDoor(split=split).pairs()} for split in ("train", "test"))
    assert (len(train), len(test), len(train | test)) == (5248, 1313, 6561)


def test_key_to_door_random_start_is_any_cell():
    env = KeyToDoor(random_start=True)
    task = env.sample_task(KEY)
    places = jax.vmap(lambda key: env.reset(task, key)[1])(jax.random.split(KEY, 4000))
    assert len(set(map(tuple, np.asarray(places)))) == 81


def test_the_door_and_the_time_limit_end_episodes():
    env, trial = KeyToDoor(size=2, episode_length=20), TrialShape(num_episodes=8)
    keys = jax.random.split(KEY, 32)
    phases = collect(Random(), env, trial, Random().init(env, trial, KEY), sample_tasks(env, keys), keys).phases
    opened = np.asarray(phases.terminated)[..., :-1]
    cut = np.asarray(phases.truncated)[..., :-1]
    assert opened.any()
    assert cut.any()
    first = np.asarray(phases.timestep.first)[..., 1:]
    assert (first == (opened | cut)).all()
    assert (np.asarray(phases.timestep.observation)[..., 1:, :][first] == 1).all()


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        (GridNavigation, {"size": 2}),
        (GridNavigation, {"episode_length": 0}),
        (DarkRoom, {"start": "door"}),
        (DarkRoom, {"split": "all"}),
        (KeyToDoor, {"size": 1}),
    ],
)
def test_fields_out_of_range_are_refused(family, fields):
    with pytest.raises(InputError, match=f"{family.__name__}.{next(iter(fields))}"):
        family(**fields)
