"""The learners of tabular MDPs against plans done by hand, brute force, and Table 2 of Duan et al. 2016."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.tabular_mdp import Process, TabularMDP
from quickstudy.errors import InputError
from quickstudy.evaluation import measure
from quickstudy.references.bayes_planner import BayesPlanner
from quickstudy.references.tabular_learners import (
    BEB,
    OPSRL,
    PSRL,
    UCRL2,
    EpsilonGreedyPlanner,
    GreedyPlanner,
    _sampled_transitions,
)
from quickstudy.references.tabular_learning import Counts, absorb, branch_where, posterior
from quickstudy.references.task_known import task_known_value
from quickstudy.references.value_iteration import action_values, best_mean, optimistic_action_values
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TimeStep, TrialShape

KEY = jax.random.key(0)
LEARNERS = [
    GreedyPlanner(),
    EpsilonGreedyPlanner(),
    PSRL(),
    OPSRL(num_samples=2),
    UCRL2(),
    BEB(),
    BayesPlanner(),
]
SMALL = TabularMDP(3, 2, episode_length=4)
TRIAL = TrialShape(0, 1, 3)

each_learner = pytest.mark.parametrize("agent", LEARNERS, ids=lambda agent: type(agent).__name__)
live = jax.jit(collect, static_argnums=(0, 1, 2))
replayed = jax.jit(replay, static_argnums=0)


# Value iteration.


def process(seed: int = 0, num_states: int = 2, num_actions: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rewards = generator.normal(1.0, 1.0, (num_states, num_actions))
    return rewards, generator.dirichlet(np.ones(num_states), (num_states, num_actions))


def best_of_all_plans(rewards: np.ndarray, transitions: np.ndarray, horizon: int) -> np.ndarray:
    """The value [S] of the best of all deterministic plans, each followed forwards."""
    S, A = rewards.shape
    values = []
    for plan in itertools.product(range(A), repeat=horizon * S):
        actions = np.reshape(plan, (horizon, S))
        chance, value = np.eye(S), np.zeros(S)
        for now in actions:
            value = value + chance @ rewards[np.arange(S), now]
            chance = chance @ transitions[np.arange(S), now]
        values.append(value)
    return np.max(values, axis=0)


def test_value_iteration_equals_the_best_of_all_plans():
    rewards, transitions = process()
    q = action_values(jnp.asarray(rewards), jnp.asarray(transitions), 4)
    assert q.shape == (4, 2, 2)
    np.testing.assert_allclose(q[0].max(-1), best_of_all_plans(rewards, transitions, 4), rtol=1e-5)
    np.testing.assert_allclose(q[3], rewards, rtol=1e-6)
    np.testing.assert_allclose(q[2], rewards + transitions @ rewards.max(1), rtol=1e-5)


def test_the_best_distribution_by_hand():
    transitions, value = jnp.array([0.5, 0.3, 0.2]), jnp.array([1.0, 3.0, 2.0])
    for distance, best in (
        (0.0, [0.5, 0.3, 0.2]),
        (0.4, [0.3, 0.5, 0.2]),
        (1.2, [0.0, 0.9, 0.1]),
        (9.0, [0, 1, 0]),
    ):
        mean = best_mean(transitions, jnp.float32(distance), value)
        assert mean == pytest.approx(np.dot(best, value), abs=1e-6)


def test_the_best_distribution_is_that_of_a_search():
    """Over a fine grid of all distributions of three states within the distance."""
    grid = np.array([(a, b, 200 - a - b) for a in range(201) for b in range(201 - a)]) / 200
    value = np.array([0.3, -1.0, 2.0])
    for row in ([0.1, 0.6, 0.3], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]):
        for distance in (0.1, 0.5, 1.0, 1.9):
            near = grid[np.abs(grid - row).sum(1) <= distance + 1e-9]
            mean = best_mean(jnp.asarray(row), jnp.float32(distance), jnp.asarray(value))
            assert mean == pytest.approx((near @ value).max(), abs=1e-5)


def test_optimism_without_width_is_value_iteration():
    rewards, transitions = map(jnp.asarray, process(num_states=4, num_actions=3))
    plain = action_values(rewards, transitions, 5)
    np.testing.assert_allclose(
        optimistic_action_values(rewards, transitions, jnp.zeros((4, 3)), 5), plain, rtol=1e-5
    )
    wide = optimistic_action_values(rewards, transitions, jnp.full((4, 3), 2.0), 5)
    np.testing.assert_allclose(wide[0], rewards + 4 * rewards.max(), rtol=1e-5)


# What a learner counts, and what it makes of it.


def timestep(observation: int, action: int, reward: float, first: bool) -> TimeStep:
    return TimeStep(jnp.int32(observation), jnp.int32(action), jnp.float32(reward), jnp.array(first))


def counted(steps: list[tuple[int, int, float, bool]]) -> Counts:
    zero = jnp.zeros((3, 2))
    counts, state = Counts(zero, zero, jnp.zeros((3, 2, 3)), jnp.int32(0)), jnp.int32(0)
    for step in steps:
        seen = timestep(*step)
        counts, state = absorb(counts, state, seen), seen.observation
    return counts


def test_counts_by_hand():
    # From 0 by action 1 to 2, by action 0 to 2 again, and an episode's last step from 2, whose end is not seen.
    counts = counted([(0, 0, 0.0, True), (2, 1, 1.5, False), (2, 0, -1.0, False), (0, 0, 4.0, True)])
    assert counts.visits.tolist() == [[0, 1], [0, 0], [2, 0]]
    assert counts.rewards.tolist() == [[0, 1.5], [0, 0], [3.0, 0]]
    assert counts.num_steps == 4
    moves = np.zeros((3, 2, 3))
    moves[0, 1, 2] = moves[2, 0, 2] = 1
    np.testing.assert_array_equal(counts.moves, moves)


def test_posterior_by_hand():
    env = TabularMDP(3, 2, reward_mean=2.0, reward_mean_std=0.5, reward_std=2.0)
    counts = counted([(0, 0, 0.0, True), (2, 1, 1.0, False), (2, 0, -1.0, False), (0, 0, 4.0, True)])
    believed = posterior(GreedyPlanner().init(env, TRIAL, KEY), counts)
    # Prior precision 4, noise precision 1/4: one visit (8 + 1/4)/4.25, two visits with sum 3 (8 + 3/4)/4.5.
    np.testing.assert_allclose(believed.reward_mean, [[2, 8.25 / 4.25], [2, 2], [8.75 / 4.5, 2]], rtol=1e-6)
    assert believed.reward_std[2, 0] == pytest.approx(4.5**-0.5)
    np.testing.assert_allclose(believed.transitions[2, 0], [0.25, 0.25, 0.5])
    np.testing.assert_allclose(believed.transitions[1, 1], 1 / 3, rtol=1e-6)
    other = GreedyPlanner(prior_mean=0.0, prior_std=1.0, prior_moves=0.5).init(env, TRIAL, KEY)
    assert posterior(other, counts).reward_mean[1, 1] == 0
    np.testing.assert_allclose(posterior(other, counts).transitions[2, 0], [0.2, 0.2, 0.6], rtol=1e-6)


def plan_of(agent: Any, counts: Counts, env: TabularMDP = SMALL) -> np.ndarray:
    return np.asarray(agent.plan(agent.init(env, TRIAL, KEY), counts, KEY))


SEEN = [(0, 0, 0.0, True), (2, 1, 1.5, False), (1, 0, -1.0, False), (0, 1, 4.0, True), (1, 0, 2.0, False)]


def test_each_plan_is_value_iteration_on_what_the_learner_believes():
    counts = counted(SEEN)
    tables = GreedyPlanner().init(SMALL, TRIAL, KEY)
    mean = posterior(tables, counts)

    def values(bonus: Any = 0.0) -> np.ndarray:
        return np.asarray(action_values(mean.reward_mean + bonus, mean.transitions, 4))

    np.testing.assert_allclose(plan_of(GreedyPlanner(), counts), values(), rtol=1e-6)
    np.testing.assert_allclose(plan_of(EpsilonGreedyPlanner(), counts), values(), rtol=1e-6)
    np.testing.assert_allclose(plan_of(BEB(bonus=3.0), counts), values(3.0 / (1 + counts.visits)), rtol=1e-6)
    # Five steps seen, the present one among them: 8 of 12 are left.
    bonus = 2.0 * np.sqrt(8 / 12) / np.sqrt(1 + counts.visits)
    np.testing.assert_allclose(plan_of(BayesPlanner(bonus=2.0), counts), values(bonus), rtol=1e-5)
    np.testing.assert_allclose(plan_of(UCRL2(scale=0.0), counts), values(), rtol=1e-5)


def test_ucrl2_widths_by_hand():
    counts = counted(SEEN)
    mean = posterior(GreedyPlanner().init(SMALL, TRIAL, KEY), counts)
    # The last step of an episode: the mean reward and its width alone; S = 3, A = 2, t = 5, δ = 0.1.
    width = 0.5 * np.sqrt(3.5 * np.log(2 * 3 * 2 * 5 / 0.1) / np.maximum(counts.visits, 1))
    plan = plan_of(UCRL2(scale=0.5, failure_probability=0.1), counts)
    np.testing.assert_allclose(plan[3], mean.reward_mean + width, rtol=1e-5)
    distance = 0.5 * np.sqrt(14 * 3 * np.log(2 * 2 * 5 / 0.1) / np.maximum(counts.moves.sum(-1), 1))
    before = mean.reward_mean + width + best_mean(mean.transitions, distance, plan[3].max(-1))
    np.testing.assert_allclose(plan[2], before, rtol=1e-5)


def test_posterior_samples_have_the_posterior_moments():
    """At the last step of an episode PSRL's values are the sampled mean rewards."""
    counts = counted(SEEN)
    tables = PSRL().init(SMALL, TRIAL, KEY)
    mean = posterior(tables, counts)
    keys = jax.random.split(KEY, 2000)
    drawn = jax.jit(jax.vmap(lambda key: PSRL().plan(tables, counts, key)))(keys)
    np.testing.assert_allclose(drawn[:, 3].mean(0), mean.reward_mean, atol=0.1)
    np.testing.assert_allclose(drawn[:, 3].std(0), mean.reward_std, rtol=0.08)
    optimistic = jax.jit(jax.vmap(lambda key: OPSRL(num_samples=4).plan(tables, counts, key)))(keys)
    # The mean of the highest of four normal variates is 1.0294 standard deviations.
    np.testing.assert_allclose(optimistic[:, 3].mean(0), mean.reward_mean + 1.0294 * mean.reward_std, atol=0.1)


@pytest.mark.parametrize("prior_moves", [1.0, 0.5])
def test_sampled_transitions_have_the_moments_of_the_dirichlet(prior_moves: float):
    steps = [(0, 0, 0.0, True), *[(0, 1, 0.0, False)] * 4, (2, 1, 0.0, False), (1, 0, 0.0, False)]
    tables = PSRL(prior_moves=prior_moves).init(SMALL, TRIAL, KEY)
    believed = posterior(tables, counted(steps))
    draw = jax.jit(jax.vmap(lambda key: _sampled_transitions(tables, believed, key)))
    drawn = np.asarray(draw(jax.random.split(KEY, 20_000)), np.float64)
    mean, total = np.asarray(believed.transitions), np.asarray(believed.moves.sum(-1, keepdims=True))
    assert total[0, 1, 0] == 5 + 3 * prior_moves
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.012)
    np.testing.assert_allclose(drawn.std(0), np.sqrt(mean * (1 - mean) / (total + 1)), atol=0.008)
    np.testing.assert_allclose(drawn.sum(-1), 1, rtol=1e-5)


def test_the_first_choice_is_any_action_and_epsilon_mixes():
    """All actions tie before anything was seen; afterwards the better one is chosen."""
    agent = EpsilonGreedyPlanner(epsilon=0.2)
    tables = agent.init(SMALL, TRIAL, KEY)
    output, memory = agent.step(tables, (), agent.init_memory(tables, ()), timestep(0, 0, 0.0, True), KEY)
    np.testing.assert_allclose(jax.nn.softmax(output.policy.logits), 0.5, rtol=1e-6)
    for _ in range(3):
        output, memory = agent.step(tables, (), memory, timestep(0, 1, 5.0, False), KEY)
    # The plan is that of the episode's first step, whatever was seen since.
    np.testing.assert_allclose(jax.nn.softmax(output.policy.logits), 0.5, rtol=1e-6)
    output, memory = agent.step(tables, (), memory, timestep(0, 1, 5.0, True), KEY)
    np.testing.assert_allclose(jax.nn.softmax(output.policy.logits), [0.1, 0.9], rtol=1e-5)


def test_the_planner_plans_at_every_step():
    agent = BayesPlanner(bonus=0.0)
    tables = agent.init(SMALL, TRIAL, KEY)
    _, memory = agent.step(tables, (), agent.init_memory(tables, ()), timestep(0, 0, 0.0, True), KEY)
    output, _ = agent.step(tables, (), memory, timestep(0, 1, 5.0, False), KEY)
    assert jax.nn.softmax(output.policy.logits).tolist() == [0, 1]


def test_nothing_is_made_where_none_is_needed():
    """In a batch `make` runs once for all, or not at all; where it is not needed the old value stays."""
    calls: list[int] = []

    def choose(needed: jax.Array, old: jax.Array) -> jax.Array:
        def make() -> jax.Array:
            jax.debug.callback(lambda: calls.append(1))
            return old + 1.0

        return branch_where(needed, make, old)

    run = jax.jit(jax.vmap(jax.vmap(choose)))
    old = jnp.arange(6.0).reshape(2, 3)
    needed = jnp.array([[True, False, False], [False, False, True]])
    np.testing.assert_array_equal(run(needed, old), [[1, 1, 2], [3, 4, 6]])
    jax.effects_barrier()
    made = len(calls)
    assert made > 0
    np.testing.assert_array_equal(run(jnp.zeros((2, 3), bool), old), old)
    jax.effects_barrier()
    assert len(calls) == made


# Whole trials.


@functools.cache
def trials_of(agent: Any) -> Any:
    keys = jax.random.split(KEY, 6)
    tables = agent.init(SMALL, TRIAL, KEY)
    return tables, live(agent, SMALL, TRIAL, tables, sample_tasks(SMALL, keys), keys)


@pytest.mark.parametrize("agent", [EpsilonGreedyPlanner(), PSRL(), BayesPlanner()], ids=repr)
def test_replay_says_what_was_said(agent: Any):
    tables, trials = trials_of(agent)
    said = replayed(agent, tables, trials).policy.log_prob(trials.phases.action)
    np.testing.assert_allclose(said, trials.phases.log_prob, atol=1e-5)
    assert (trials.phases.log_prob > -10.0).all()


@pytest.mark.parametrize("agent", [PSRL(), BayesPlanner()], ids=repr)
def test_a_batch_equals_a_loop(agent: Any):
    tables, trials = trials_of(agent)
    for i in range(2):
        task = jax.tree.map(lambda x, i=i: x[i : i + 1], trials.task)
        alone = live(agent, SMALL, TRIAL, tables, task, trials.key[i : i + 1]).phases
        np.testing.assert_array_equal(alone.action, trials.phases.action[i : i + 1])
        np.testing.assert_allclose(alone.reward, trials.phases.reward[i : i + 1], rtol=1e-6)


class Spaces:
    """All of an environment that `init` looks at."""

    max_steps = 1

    def __init__(self, observation_space: gymnasium.spaces.Space, action_space: gymnasium.spaces.Space):
        self.observation_space, self.action_space = observation_space, action_space


@each_learner
def test_spaces_that_are_not_counted_are_refused(agent: Any):
    table, box = gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-1.0, 1.0, (2,))
    with pytest.raises(InputError, match="observation_space: got Box"):
        agent.init(Spaces(box, table), TRIAL, KEY)
    with pytest.raises(InputError, match="action_space: got Box"):
        agent.init(Spaces(table, box), TRIAL, KEY)
    with pytest.raises(InputError, match="observation_space: got Discrete"):
        agent.init(Spaces(gymnasium.spaces.Discrete(3, start=1), table), TRIAL, KEY)


@pytest.mark.parametrize(
    ("cls", "field", "value"),
    [
        (PSRL, "prior_std", -1.0),
        (GreedyPlanner, "prior_moves", 0.0),
        (OPSRL, "num_samples", 0),
        (UCRL2, "scale", -1.0),
        (UCRL2, "failure_probability", 0.0),
        (BEB, "bonus", -1.0),
        (BayesPlanner, "bonus", -1.0),
        (EpsilonGreedyPlanner, "epsilon", 1.5),
    ],
)
def test_a_field_out_of_range_is_refused(cls: Any, field: str, value: float):
    with pytest.raises(InputError, match=f"{cls.__name__}.{field}"):
        cls(**{field: value})


# Table 2 of Duan et al. 2016.


@functools.cache
def total(agent: Any, num_episodes: int = 10, num_tasks: int = 512) -> tuple[float, float]:
    """-> (mean over the trial, its standard error) in the paper's setting."""
    env, trial = TabularMDP(), TrialShape(0, 1, num_episodes)
    totals = measure(agent, env, trial, agent.init(env, trial, KEY), num_tasks, KEY).total
    return float(totals.mean()), float(totals.std() / np.sqrt(num_tasks))


def test_the_planner_earns_more_than_any_published_row():
    mean, error = total(BayesPlanner())
    assert error < 1.3
    assert mean == pytest.approx(163.2, abs=3 * error)
    assert mean - 3 * error > 150.2


@pytest.mark.slow
def test_the_published_greedy_row_had_another_prior():
    """Mean 0 with hardly any weight; by the true prior the same rule earns 19 more."""
    published, error = total(GreedyPlanner(prior_mean=0.0, prior_std=100.0, prior_moves=1e-4))
    assert published == pytest.approx(134.8, abs=3 * np.hypot(error, 0.9))
    assert 13 < total(GreedyPlanner())[0] - published < 26


def test_the_process_known_is_worth_what_the_family_says():
    tasks = sample_tasks(TabularMDP(), jax.random.split(KEY, 2048))
    value = task_known_value(TabularMDP())
    assert value is not None
    values = np.asarray(jax.jit(jax.vmap(value))(tasks))
    assert values.mean() == pytest.approx(21.830, abs=4 * values.std() / np.sqrt(2048))
    rewards, transitions = process(3, 2, 2)
    small = TabularMDP(2, 2, episode_length=3)
    known = task_known_value(small)
    assert known is not None
    exact = best_of_all_plans(rewards, transitions, 3)[0]
    assert known(Process(jnp.asarray(rewards), jnp.asarray(transitions))) == pytest.approx(exact, rel=1e-5)
