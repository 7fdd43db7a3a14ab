"""References of two-step, dependent and Gaussian bandits, and what a known task is worth in every family."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.bandit import Bandit
from quickstudy.envs.dark_room import DarkRoom
from quickstudy.envs.dependent_bandit import BETTER_ARM, DependentBandit
from quickstudy.envs.gaussian_bandit import GaussianBandit
from quickstudy.envs.grid_navigation import GridNavigation
from quickstudy.envs.key_to_door import KeyToDoor, Places
from quickstudy.envs.pendulum import Pendulum
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.envs.semi_circle import SemiCircle
from quickstudy.envs.tabular_mdp import TabularMDP
from quickstudy.envs.two_step import TwoStep
from quickstudy.errors import InputError
from quickstudy.evaluation import evaluate, measure
from quickstudy.references import CLASSICAL, dependent_exact, optimum, reference_agents, two_step_exact
from quickstudy.references.gaussian_learners import Arms, GaussianThompson, GaussianUCB, Sums
from quickstudy.references.random_agent import Random
from quickstudy.references.task_known import task_known_value
from quickstudy.references.two_step_bayes import TwoStepBayes
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TimeStep, TrialShape
from tests.probes import DiscreteProbe

KEY = jax.random.key(0)


def episodes_of(agent: Any, env: Any, num_episodes: int, num_tasks: int) -> np.ndarray:
    """The returns [num_tasks, E]."""
    trial = TrialShape(0, 1, num_episodes)
    return measure(agent, env, trial, agent.init(env, trial, KEY), num_tasks, KEY).episodes


def exact_of(env: Any, num_episodes: int) -> np.ndarray:
    """The optimum of each episode in one stream, where there is one."""
    exact = optimum(env, TrialShape(0, 1, num_episodes))
    assert exact is not None
    return exact


# The two-step task.


def best_of_all_histories(env: TwoStep, num_episodes: int) -> list[float]:
    """Each episode's Bayes-optimal return, by a sum over all that may be told, without any grid.

    Weights are of (the task, the good place now); what is told does not depend on the choice.
    """
    h, c, s = env.high_probability, env.common_probability, env.swap_probability
    told = np.array([[1 - h, h], [h, 1 - h]])  # [z, place]: the chance of z, by the good place
    swap = np.array([[1 - s, s], [s, 1 - s]])
    returns = [0.0] * num_episodes

    def go(weights: np.ndarray, choice: int) -> None:
        episode, in_episode = divmod(choice, env.num_choices)
        if episode == num_episodes:
            return
        if in_episode == 0:
            weights = np.diag(weights.sum(1))
        places = np.array([[h, 1 - h], [1 - h, h]]) @ weights.sum(0)
        returns[episode] += max(c * places + (1 - c) * places[::-1])
        for z in (0, 1):
            go(weights * told[z][None, :] @ swap, choice + 1)

    go(np.eye(2) / 2, 0)
    return returns


@pytest.mark.parametrize(
    "env",
    [
        TwoStep(3),
        TwoStep(4, 0.7, 0.8, 0.2),
        TwoStep(2, 0.3, 0.9, 0.1),
        TwoStep(3, 0.8, 0.2),
        TwoStep(3, 1.0, 1.0, 0.0),
    ],
    ids=repr,
)
def test_two_step_optimum_equals_the_sum_over_all_histories(env: TwoStep):
    np.testing.assert_allclose(exact_of(env, 3), best_of_all_histories(env, 3), atol=1e-4)


def test_two_step_optimum_of_100_choices():
    exact = exact_of(TwoStep(), 3)
    assert exact[0] == pytest.approx(70.5855, abs=1e-4)
    # Each episode tells more of the place that is good at first, and knowing it is worth 70.919.
    known = task_known_value(TwoStep())
    assert known is not None
    assert exact[0] < exact[1] < exact[2] < float(known(jnp.int32(1))) == pytest.approx(70.9190, abs=1e-3)
    assert float(known(jnp.int32(2))) == pytest.approx(float(known(jnp.int32(1))), abs=1e-4)
    assert optimum(TwoStep(), TrialShape(1, 20, 1)) is None
    assert optimum(TwoStep(two_step_exact.MAX_CHOICES + 1), TrialShape(0, 1, 1)) is None


def test_two_step_bayes_earns_the_optimum():
    env = TwoStep(10)
    exact = exact_of(env, 3)
    returns = episodes_of(TwoStepBayes(), env, 3, 8192)
    error = returns.std(0) / np.sqrt(len(returns))
    assert (error < 0.03).all()
    assert (np.abs(returns.mean(0) - exact) < 4 * error).all()
    # The second episode begins with what the first told of the task.
    assert (returns[:, 1] - returns[:, 0]).mean() > 0.15


def test_two_step_bayes_replays_and_refuses_other_families():
    agent, env, trial = TwoStepBayes(), TwoStep(5), TrialShape(0, 1, 2)
    rules, keys = agent.init(env, trial, KEY), jax.random.split(KEY, 4)
    trials = jax.jit(lambda: collect(agent, env, trial, rules, sample_tasks(env, keys), keys))()
    said = jax.jit(functools.partial(replay, agent))(rules, trials).policy.log_prob(trials.phases.action)
    np.testing.assert_allclose(said, trials.phases.log_prob, atol=1e-6)
    with pytest.raises(InputError, match="expected two-step"):
        agent.init(DiscreteProbe(), trial, KEY)


# Dependent arms.


def best_pulls(better: list[float], num_pulls: int) -> list[float]:
    """The Bayes-optimal reward of each pull by recursion; `better` are values of q that are as likely."""
    rewards = [0.0] * num_pulls

    @functools.cache
    def value(votes: tuple[int, int], left: int) -> float:
        chances = [q ** votes[0] * (1 - q) ** votes[1] for q in better]
        mean = sum(q * w for q, w in zip(better, chances, strict=True)) / sum(chances)
        if left == 0:
            return 0.0
        won, lost = (votes[0] + 1, votes[1]), (votes[0], votes[1] + 1)
        first = mean * (1 + value(won, left - 1)) + (1 - mean) * value(lost, left - 1)
        second = (1 - mean) * (1 + value(lost, left - 1)) + mean * value(won, left - 1)
        return max(first, second)

    for n in range(1, num_pulls + 1):
        rewards[n - 1] = value((0, 0), n) - sum(rewards[: n - 1])
    return rewards


@pytest.mark.parametrize("difficulty", BETTER_ARM)
def test_dependent_optimum_equals_recursion(difficulty: Any):
    p = BETTER_ARM[difficulty]
    exact = exact_of(DependentBandit(difficulty), 7)
    np.testing.assert_allclose(exact, best_pulls([p, 1 - p], 7), atol=1e-12)


def test_dependent_optimum_of_a_uniform_task_equals_recursion():
    fine = list((np.arange(4000) + 0.5) / 4000)
    exact = exact_of(DependentBandit(), 5)
    np.testing.assert_allclose(exact, best_pulls(fine, 5), atol=1e-6)


@pytest.mark.parametrize(("difficulty", "regret"), [("easy", 0.6250), ("medium", 1.0000), ("hard", 2.3121)])
def test_dependent_regret_of_100_pulls(difficulty: Any, regret: float):
    exact = exact_of(DependentBandit(difficulty), 100)
    assert 100 * BETTER_ARM[difficulty] - exact.sum() == pytest.approx(regret, abs=5e-5)
    too_long = TrialShape(0, 1, dependent_exact.MAX_PULLS + 1)
    assert optimum(DependentBandit(difficulty), too_long) is None


# Gaussian arms.


def test_gaussian_ucb_by_hand():
    agent, arms = GaussianUCB(), Arms(3, 0.3)
    # Means 0.5 and 0.2; bounds 0.5 + c/2 and 0.2 + c: equal at c = 0.6. The third arm was never pulled.
    sums = Sums(jnp.array([4.0, 1.0, 0.0]), jnp.array([2.0, 0.2, 0.0]), jnp.array(True))
    assert jnp.argmax(agent.scores(arms, sums, KEY)) == 2
    pulled = sums._replace(pulls=jnp.array([4.0, 1.0, 100.0]))
    assert jnp.argmax(GaussianUCB(0.55).scores(arms, pulled, KEY)) == 0
    assert jnp.argmax(GaussianUCB(0.65).scores(arms, pulled, KEY)) == 1


def test_gaussian_thompson_draws_the_posterior():
    arms = Arms(2, 0.5)
    sums = Sums(jnp.array([0.0, 6.0]), jnp.array([0.0, 4.5]), jnp.array(True))
    draws = jax.vmap(lambda key: GaussianThompson().scores(arms, sums, key))(jax.random.split(KEY, 20_000))
    # Precisions 12 and 12 + 6·4 = 36; means 1/2 and (6 + 18)/36 = 2/3.
    np.testing.assert_allclose(draws.mean(0), [1 / 2, 2 / 3], atol=0.008)
    np.testing.assert_allclose(draws.std(0), [12**-0.5, 1 / 6], rtol=0.02)


@pytest.mark.parametrize("agent", [GaussianThompson(), GaussianUCB()], ids=repr)
def test_gaussian_learners_count_from_the_second_step_and_replay(agent: Any):
    env, trial = GaussianBandit(3), TrialShape(0, 1, 6)
    arms = agent.init(env, trial, KEY)
    memory = agent.init_memory(arms, ())
    for action, reward in ((0, 0.0), (1, 0.5), (1, -0.25), (2, 4.0)):
        seen = TimeStep(jnp.int32(0), jnp.int32(action), jnp.float32(reward), jnp.array(True))
        memory = agent.step(arms, (), memory, seen, KEY)[1]
    np.testing.assert_allclose(memory.pulls, [0, 2, 1])
    np.testing.assert_allclose(memory.rewards, [0, 0.25, 4])
    keys = jax.random.split(KEY, 4)
    trials = jax.jit(lambda: collect(agent, env, trial, arms, sample_tasks(env, keys), keys))()
    said = jax.jit(functools.partial(replay, agent))(arms, trials).policy.log_prob(trials.phases.action)
    np.testing.assert_allclose(said, trials.phases.log_prob, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "regret"), [(GaussianThompson(), 9.21), (GaussianUCB(), 10.05)], ids=repr)
def test_gaussian_regret_of_500_pulls_is_the_published_one(agent: Any, regret: float):
    env, num_tasks = GaussianBandit(), 2000
    trial = TrialShape(0, 1, 500)
    arms = agent.init(env, trial, KEY)

    @jax.jit
    def lost(keys: jax.Array) -> jax.Array:
        tasks = sample_tasks(env, keys)
        actions = collect(agent, env, trial, arms, tasks, keys).phases.action[:, 0, 0]
        return (tasks.max(1, keepdims=True) - jnp.take_along_axis(tasks, actions, 1)).sum(1)

    regrets = np.asarray(lost(jax.random.split(KEY, num_tasks)), np.float64)
    # The paper's own error with 200 bandits is three times ours.
    assert regrets.mean() == pytest.approx(regret, abs=3 * np.sqrt(11) * regrets.std() / np.sqrt(num_tasks))


# The task known.


def known(env: Any, task: Any) -> float:
    value = task_known_value(env)
    assert value is not None
    return float(value(task))


def point(x: float, y: float) -> jax.Array:
    return jnp.array([x, y], jnp.float32)


@pytest.mark.parametrize(
    ("env", "task", "value"),
    [
        (Bandit(3), [0.2, 0.7, 0.1], 0.7),
        (GaussianBandit(2), [0.2, 0.7], 0.7),
        (DependentBandit(), [0.25, 0.75], 0.75),
        (GridNavigation(), [4, 4], 8 - 0.7),
        (GridNavigation(5, 7), [4, 4], -0.7),
        (DarkRoom(), [0, 0], 100),
        (DarkRoom(), [3, 4], 94),
        (DarkRoom(9, 20, "centre"), [4, 3], 20),
        (DarkRoom(9, 6, "centre"), [0, 0], 0),
        # Two steps of 0.1 along x, which leave 0.1 and 0; y is reached in the first.
        (PointNavigation(), [0.2, 0.05], -0.1),
        (PointNavigation(goal_tolerance=0.0, max_steps=1), [0.3, -0.5], -math.hypot(0.2, 0.4)),
        # The 8th step is within 0.009 of the goal along both axes, and the last one.
        (
            PointNavigation(max_steps=9, goal_range=2.0),
            [0.809, 0.0],
            -0.009 - sum(0.809 - 0.1 * k for k in range(1, 8)),
        ),
        (SemiCircle(max_steps=12, reward="indicator"), [1, 0], 5),
        (SemiCircle(max_steps=12), [1, 0], 0.8 + 0.9 + 3),
        (SemiCircle(max_steps=2, reward="dense"), [0, 1], -0.9 - 0.8),
    ],
)
def test_a_known_task_by_hand(env: Any, task: list[float], value: float):
    assert known(env, jnp.array(task, jnp.float32)) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    ("key", "door", "length", "value"),
    [
        ((4, 4), (4, 4), 2, 2),
        ((4, 4), (4, 4), 1, 1),
        ((0, 0), (8, 8), 24, 2),
        ((0, 0), (8, 8), 23, 1),
        ((0, 0), (4, 4), 7, 0),
    ],
)
def test_a_known_key_and_door_by_hand(key: tuple, door: tuple, length: int, value: float):
    assert known(KeyToDoor(9, length), Places(point(*key), point(*door))) == value


def test_a_known_key_from_any_cell():
    # In a 2×2 room within one step: all cells but the opposite corner; the door then takes a second one.
    places = Places(point(0, 0), point(0, 1))
    assert known(KeyToDoor(2, 1, random_start=True), places) == 0.75
    assert known(KeyToDoor(2, 2, random_start=True), places) == 1 + 0.75


@pytest.mark.parametrize(
    ("env", "value", "margin"),
    [
        (GridNavigation(), 11.071, 5e-4),
        (DarkRoom(split="train"), 92.2625, 5e-3),
        (DarkRoom(split="test"), 90.90, 5e-3),
    ],
)
def test_a_known_goal_over_all_goals(env: Any, value: float, margin: float):
    values = [known(env, jnp.asarray(goal)) for goal in env.goals()]
    assert np.mean(values) == pytest.approx(value, abs=margin)


def test_a_known_point_in_the_mean():
    env = PointNavigation(goal_tolerance=0.0)
    value = task_known_value(env)
    assert value is not None
    values = jax.vmap(value)(sample_tasks(env, jax.random.split(KEY, 20_000)))
    assert values.mean() == pytest.approx(-0.50608, abs=4 * float(values.std()) / np.sqrt(20_000))


def test_where_no_value_is_known_there_is_none():
    assert task_known_value(Pendulum()) is None
    assert task_known_value(TwoStep(two_step_exact.MAX_CHOICES + 1)) is None


# What an evaluation draws.


def test_every_classical_learner_can_act_in_its_family():
    for family in CLASSICAL:
        env, trial = family(), TrialShape(0, 1, 2)
        _, observation = env.reset(env.sample_task(KEY), KEY)
        action = jnp.zeros(env.action_space.shape, jnp.int32)
        begin = TimeStep(observation, action, jnp.zeros(()), jnp.array(True))
        for name, agent in reference_agents(env, trial).items():
            meta_params = agent.init(env, trial, KEY)
            task_params = agent.init_task(meta_params, KEY)
            memory = agent.init_memory(meta_params, task_params)
            policy = agent.step(meta_params, task_params, memory, begin, KEY)[0].policy
            chosen = policy.sample(KEY)
            assert int(chosen) in range(env.action_space.n), name
            assert np.isfinite(policy.log_prob(chosen)), name


def test_references_remember_through_phases_of_one_stream():
    """Ten phases of one pull are ten pulls, to who learns in memory and to the optimum."""
    env, trial = Bandit(), TrialShape(9, 1, 1)
    exact = optimum(env, trial)
    assert exact is not None
    assert exact.sum() == pytest.approx(6.660, abs=1e-3)
    evaluation = evaluate(Random(), env, trial, num_tasks=4000)
    references = evaluation["references"]
    assert len(references["gittins"]["episodes"]) == len(evaluation["episodes"]) == 10
    assert references["gittins"]["low"] < 6.660 < references["gittins"]["high"]
    assert references["random"]["high"] < 5.2


def test_references_that_remember_are_left_out_where_streams_are_adapted_to():
    assert list(reference_agents(Bandit(), TrialShape(1, 20, 1))) == ["random"]
    assert "gittins" in reference_agents(Bandit(), TrialShape(0, 20, 1))


def test_a_large_table_is_not_learned():
    assert list(reference_agents(TabularMDP(100), TrialShape())) == ["random"]
    assert "bayes-planner" in reference_agents(TabularMDP(20), TrialShape())


@pytest.mark.parametrize("trial", [TrialShape(0, 1, 3), TrialShape(2, 2, 2)])
def test_the_task_known_line(trial: TrialShape):
    env = DarkRoom(3, 4)
    entry = evaluate(Random(), env, trial, num_tasks=60)["references"]["task-known"]
    num_episodes = (trial.num_adapts + 1) * trial.num_episodes
    assert not entry["exact"]
    assert len(entry["episodes"]) == num_episodes
    # The family's test split has two goals: the line is the mean over those that were drawn.
    values = sorted(known(env, jnp.asarray(goal)) for goal in DarkRoom(3, 4, split="test").goals())
    assert (
        values[0] * num_episodes <= entry["low"] <= entry["mean"] <= entry["high"] <= values[-1] * num_episodes
    )
    assert entry["mean"] == pytest.approx(num_episodes * entry["episodes"][0]["mean"])


def test_the_task_known_line_is_of_the_same_tasks():
    """With one arm and no noise everybody earns what is known."""
    lines = evaluate(Random(), GaussianBandit(1, reward_std=0.0), TrialShape(0, 1, 2), num_tasks=50)[
        "references"
    ]
    for bound in ("mean", "low", "high"):
        assert lines["task-known"][bound] == pytest.approx(lines["random"][bound], rel=1e-6)
