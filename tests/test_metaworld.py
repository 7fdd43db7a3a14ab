"""Meta-World: the splits are disjoint, a share of solved goals is reported as that share, episodes repeat."""

import dataclasses
import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs import metaworld_in
from quickstudy.envs.metaworld_in import (
    NUM_ENVIRONMENTS,
    NUM_GOALS,
    MetaWorld,
    goal_of,
    success_by_goal,
    success_of,
)
from quickstudy.errors import InputError
from quickstudy.nets.distributions import Normal
from quickstudy.references.random_agent import Random
from quickstudy.rollout import sample_tasks
from quickstudy.types import Output, TimeStep, Transition, TrialShape
from tests.runs import ROOT

REACH = MetaWorld(time_limit=100)


def needs_metaworld():
    return pytest.importorskip("metaworld")


def goals(env):
    return {tuple(goal_of(env, task).place) for task in np.asarray(env.all_tasks())}


@pytest.mark.parametrize("environment", ["reach-v3", "push-v3"])
def test_train_and_test_goals_of_ml1_are_disjoint(environment):
    needs_metaworld()
    train, test = (goals(MetaWorld(environment=environment, split=split)) for split in ("train", "test"))
    assert len(train) == len(test) == NUM_GOALS
    assert not train & test
    assert (
        train
        == goals(MetaWorld(environment=environment))
        != goals(MetaWorld(environment=environment, goal_seed=5))
    )


def test_train_and_test_environments_of_the_others_are_disjoint():
    metaworld = needs_metaworld()
    for name in ("ML10", "ML25", "ML45"):
        classes = getattr(metaworld.env_dict, f"{name}_V3")
        ours = {"train": set(classes["train"]), "test": set(classes["test"]) - set(classes["train"])}
        assert all(len(ours[split]) == NUM_ENVIRONMENTS[name, split] for split in ours)
        # The package's own ML25 tests on an environment that it trains on.
        assert set(classes["train"]) & set(classes["test"]) == ({"basketball-v3"} if name == "ML25" else set())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ML10", "ML25"])
def test_the_tasks_of_a_split_are_all_goals_of_its_environments(name):
    needs_metaworld()
    named = {}
    for split in ("train", "test"):
        env = MetaWorld(name, split=split)
        tasks = [goal_of(env, task).environment for task in np.asarray(env.all_tasks())]
        named[split] = set(tasks)
        assert len(named[split]) == NUM_ENVIRONMENTS[name, split]
        assert all(tasks.count(one) == NUM_GOALS for one in named[split])
    assert not named["train"] & named["test"]


def test_sampled_tasks_are_of_the_split():
    keys = jax.random.split(jax.random.key(0), 2000)
    train, test = (
        set(np.asarray(sample_tasks(MetaWorld("ML10", split=split), keys)).tolist())
        for split in ("train", "test")
    )
    assert max(train) < 500 <= min(test)
    assert len(train) > 450
    assert len(test) == 250


@dataclasses.dataclass(frozen=True)
class Reacher(Random):
    """Moves the hand to the goal that it is shown if the goal lies left of `solve_below`, else up and away.

    After `leave_after` steps it goes away in any case.
    """

    solve_below: float = 0.0
    leave_after: int = 1000

    def init_memory(self, meta_params, task_params):
        return jnp.zeros(())

    def step(self, meta_params, task_params, memory, timestep: TimeStep, key):
        hand, goal = timestep.observation[:3], timestep.observation[-3:]
        goes = (goal[0] < self.solve_below) & (memory < self.leave_after)
        away = jnp.asarray([0.0, -1.0, 1.0])
        move = jnp.where(goes, jnp.clip(10 * (goal - hand), -1, 1), away)
        policy = Normal(jnp.append(move, 0.0), jnp.full(4, -10.0))
        return Output(policy, jnp.zeros(()), {}), memory + 1


def test_an_agent_that_solves_a_quarter_of_the_goals_is_reported_as_a_quarter():
    needs_metaworld()
    env = dataclasses.replace(REACH, goal_visible=True, split="test")
    tasks = env.all_tasks()[:16]
    sideways = sorted(goal_of(env, task).place[-3] for task in np.asarray(tasks))
    below = (sideways[3] + sideways[4]) / 2
    for agent, at_end in ((Reacher(solve_below=below), 0.25), (Reacher(below, leave_after=60), 0.0)):
        success = success_by_goal(agent, env, TrialShape(num_episodes=1), (), tasks, jax.random.key(0))
        assert success.any_time.shape == (16, 1)
        assert success.any_time.mean() == 0.25
        assert success.at_end.mean() == at_end


def test_success_at_any_time_and_at_the_end_by_hand():
    success = jnp.asarray([[[0, 1, 0, 0, 0, 1]], [[0, 0, 0, 0, 0, 0]]], bool)
    first = jnp.asarray([[[1, 0, 0, 1, 0, 0]]] * 2, bool)
    last = jnp.asarray([[[0, 0, 1, 0, 0, 1]]] * 2, bool)
    blank = jnp.zeros((2, 1, 6))
    steps = TimeStep(blank, blank, blank, first)
    never = jnp.zeros_like(last)
    transitions = Transition(steps, blank, blank, blank, last, never, success, never, blank, blank, blank, {})
    shares = success_of(transitions, 2)
    np.testing.assert_array_equal(shares.any_time, [[1, 1], [0, 0]])
    np.testing.assert_array_equal(shares.at_end, [[0, 1], [0, 0]])


def test_the_goal_is_hidden_and_episodes_equal_a_new_object_s():
    needs_metaworld()
    env = dataclasses.replace(REACH, time_limit=15, environment="push-v3")
    actions = np.random.default_rng(0).uniform(-1, 1, (15, 4)).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 3)
    tasks = jnp.asarray([0, 1, 0], jnp.int32)

    @jax.jit
    def live():
        states, first = jax.vmap(env.reset)(tasks, keys)
        body = lambda states, action: jax.vmap(env.step, (0, 0, None, 0))(tasks, states, action, keys)  # noqa: E731
        return first, jax.lax.scan(body, states, actions)[1]

    jax.block_until_ready(live())
    first, outcomes = live()
    assert not first[:, -3:].any()
    for row, task in enumerate((0, 1, 0)):
        simulator = metaworld_in._MetaWorldSimulator(env)
        plain = simulator.make(task)
        np.testing.assert_array_equal(first[row], simulator.begin(plain, task, 0).astype(np.float32))
        for t, action in enumerate(actions):
            observation, reward, *_ = plain.step(action)
            np.testing.assert_array_equal(outcomes.observation[t, row], observation.astype(np.float32))
            assert outcomes.reward[t, row] == np.float32(reward)


@pytest.mark.parametrize(
    "wrong",
    [{"benchmark": "ML5"}, {"split": "both"}, {"goal_seed": -1}, {"time_limit": 501}, {"time_limit": 0}],
)
def test_what_is_wrong_is_said(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        MetaWorld(**wrong)


def test_an_unknown_environment_is_said_with_the_nearest():
    needs_metaworld()
    with pytest.raises(InputError, match="reach-v3"):
        goal_of(MetaWorld(environment="reech-v3"), 0)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "metaworld", None)
    with pytest.raises(InputError, match=r"quickstudy\[metaworld\]"):
        goal_of(MetaWorld(goal_seed=99), 0)


@pytest.mark.slow
def test_the_page_s_example_runs(capsys):
    needs_metaworld()
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "bridges.md").read_text(), re.DOTALL)
    assert code
    exec(code[1], {})
    any_time, at_end = map(float, capsys.readouterr().out.split())
    assert 0 <= at_end <= any_time <= 1
