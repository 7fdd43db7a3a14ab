"""XLand-MiniGrid: rule sets are different, solvable as encoded, and split without a common member."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.check_env import check_env
from quickstudy.envs import xland_in
from quickstudy.envs.xland_in import GOAL_IDS, RULE_IDS, XLand, rulesets
from quickstudy.errors import InputError
from quickstudy.rollout import sample_tasks

FAMILIES = [
    XLand(num_rulesets=300),
    XLand(chain_depth=1, num_distractor_rules=1, num_rulesets=300),
    XLand(chain_depth=2, num_rulesets=300),
]
each_family = pytest.mark.parametrize("env", FAMILIES, ids=lambda env: f"depth{env.chain_depth}")


def needs_xland():
    return pytest.importorskip("xminigrid")


@each_family
def test_train_and_test_rule_sets_are_disjoint_and_all_different(env):
    table, num_train = rulesets(env)
    rows = [
        (tuple(goal), tuple(sorted(map(tuple, rules))))
        for goal, rules in zip(table.goal, table.rules, strict=True)
    ]
    assert len(set(rows)) == env.num_rulesets
    assert num_train == 240
    assert not set(rows[:num_train]) & set(rows[num_train:])


def test_sampled_tasks_are_of_the_split():
    keys = jax.random.split(jax.random.key(0), 500)
    sets = []
    for split in ("train", "test"):
        tasks = sample_tasks(XLand(num_rulesets=300, split=split), keys)
        sets.append({tuple(goal) for goal in np.asarray(tasks.goal)})
    assert len(sets[0]) > 100
    assert not sets[0] & sets[1]


@each_family
def test_every_goal_can_be_made_from_what_lies_in_the_grid(env):
    """Rules that fire as often as there are tiles for them reach the goal's tiles."""
    for goal, rules, tiles in zip(*rulesets(env)[0], strict=True):
        there = {tuple(tile) for tile in tiles}
        for _ in range(4):
            for rule in rules:
                inputs, product = rule[1:5].reshape(2, 2), rule[5:7]
                if rule[0] != RULE_IDS["together"]:
                    inputs, product = rule[1:3].reshape(1, 2), rule[3:5]
                if all(tuple(tile) in there for tile in inputs):
                    there.add(tuple(product))
        wanted = goal[1:].reshape(2, 2)[: 2 if goal[0] == GOAL_IDS["together"] else 1]
        assert all(tuple(tile) in there for tile in wanted)


def test_the_encodings_are_the_package_s():
    names = ("constants", "goals", "rules")
    constants, goals, rules = (pytest.importorskip(f"xminigrid.core.{name}") for name in names)
    a, b, c = (jnp.asarray(x, jnp.uint8) for x in ((3, 1), (7, 2), (5, 9)))
    for name, goal, rule in (
        ("hold", goals.AgentHoldGoal(a), rules.AgentHoldRule(a, c)),
        ("near", goals.AgentNearGoal(a), rules.AgentNearRule(a, c)),
        ("together", goals.TileNearGoal(a, b), rules.TileNearRule(a, b, c)),
    ):
        tiles = [3, 1, 7, 2] if name == "together" else [3, 1]
        expected = xland_in._padded((GOAL_IDS[name], *tiles), xland_in.GOAL_SIZE)
        np.testing.assert_array_equal(goal.encode(), expected)
        expected = xland_in._padded((RULE_IDS[name], *tiles, 5, 9), xland_in.RULE_SIZE)
        np.testing.assert_array_equal(rule.encode(), expected)
    tiles = constants.Tiles
    assert (tiles.BALL, tiles.SQUARE, tiles.PYRAMID, tiles.GOAL, tiles.KEY) == (3, 4, 5, 6, 7)
    assert (constants.NUM_TILES, constants.NUM_COLORS) == (xland_in.NUM_TILES, xland_in.NUM_COLOURS)


def test_equal_to_the_package_step_by_step():
    xminigrid = needs_xland()
    types = pytest.importorskip("xminigrid.types")
    env, key = FAMILIES[1], jax.random.key(0)
    task = env.sample_task(key)
    theirs, params = xminigrid.make(env.id)
    params = params.replace(ruleset=types.RuleSet(*task))
    their_step, step = jax.jit(theirs.step), jax.jit(env.step)
    timestep = theirs.reset(params, jax.random.key_data(key))
    state, observation = env.reset(task, key)
    for t in range(50):
        view = observation.reshape(5, 5, 25)
        np.testing.assert_array_equal(view[..., :13].argmax(-1), timestep.observation[..., 0])
        np.testing.assert_array_equal(view[..., 13:].argmax(-1), timestep.observation[..., 1])
        action = jax.random.randint(jax.random.fold_in(key, t), (), 0, 6)
        timestep = their_step(params, timestep, action)
        state, outcome = step(task, state, action, key)
        observation = outcome.observation
        assert float(outcome.reward) == float(timestep.reward)
        assert bool(outcome.terminated) == bool(timestep.discount == 0)
    assert env.max_steps == 3 * 9 * 9


@pytest.mark.slow
@each_family
def test_check_env_finds_nothing(env):
    needs_xland()
    assert check_env(env) == []


def test_a_task_is_described():
    env = FAMILIES[0]
    task = xland_in.RuleSets(np.asarray([4, 3, 1, 7, 2]), np.zeros((1, 7)), np.zeros((5, 2)))
    assert env.describe(task) == "together red ball and green key, 0 rules"


@pytest.mark.parametrize(
    "wrong", [{"chain_depth": 4}, {"num_rulesets": 1}, {"test_share": 1.0}, {"split": "all"}]
)
def test_what_is_wrong_is_said(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        XLand(**wrong)


def test_more_rule_sets_than_there_are_is_said():
    with pytest.raises(InputError, match="only 10"):
        rulesets(XLand(num_rulesets=1100))


def test_a_missing_package_is_one_line(monkeypatch):
    xland_in._made.cache_clear()
    monkeypatch.setitem(sys.modules, "xminigrid", None)
    with pytest.raises(InputError, match=r"quickstudy\[xland\]"):
        _ = XLand().max_steps


def test_a_picture_shows_every_cell():
    needs_xland()
    env = FAMILIES[0]
    key = jax.random.key(0)
    task = env.sample_task(key)
    state, _ = env.reset(task, key)
    picture = env.render(jax.device_get(task), jax.device_get(state))
    assert picture.dtype == np.uint8
    assert picture.shape == (16 * state.grid.shape[0], 16 * state.grid.shape[1], 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4
