"""The references against cases done by hand, brute force, and Table 1 of Duan et al. 2016."""

from __future__ import annotations

import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.bandit import Bandit
from quickstudy.errors import InputError
from quickstudy.references import bandit_exact
from quickstudy.references.bandit_learners import (
    UCB1,
    Counts,
    EpsilonGreedy,
    Gittins,
    Greedy,
    OptimisticThompson,
    Thompson,
)
from quickstudy.references.gittins import MAX_HORIZON, gittins_indices, position
from quickstudy.references.random_agent import Random, Uniform
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import Output, TimeStep, TrialShape

LEARNERS = [Thompson(), OptimisticThompson(), UCB1(), Greedy(), EpsilonGreedy(), Gittins()]
KEY = jax.random.key(0)


# The exact optimum.


def brute_force(num_arms: int, num_pulls: int) -> float:
    """The optimal value by recursion over the arms' counts in order, nothing shared with the module."""

    @functools.cache
    def value(state: tuple[tuple[int, int], ...], left: int) -> float:
        if left == 0:
            return 0.0
        return max(pull(state, arm, left) for arm in range(num_arms))

    def pull(state: tuple[tuple[int, int], ...], arm: int, left: int) -> float:
        s, f = state[arm]
        p = (s + 1) / (s + f + 2)
        won = (*state[:arm], (s + 1, f), *state[arm + 1 :])
        lost = (*state[:arm], (s, f + 1), *state[arm + 1 :])
        return p * (1 + value(won, left - 1)) + (1 - p) * value(lost, left - 1)

    return value(((0, 0),) * num_arms, num_pulls)


def test_optimum_of_one_arm_is_half_of_the_pulls():
    np.testing.assert_allclose(bandit_exact.bayes_optimal_rewards(1, 7), 0.5)


def test_optimum_of_one_pull_is_half():
    np.testing.assert_allclose(bandit_exact.bayes_optimal_rewards(6, 1), [0.5])


def test_optimum_of_two_arms_and_two_pulls_by_hand():
    # After a success (1/2) stay: 2/3. After a failure go to the untouched arm: 1/2.
    np.testing.assert_allclose(bandit_exact.bayes_optimal_rewards(2, 2), [1 / 2, 1 / 2 * 2 / 3 + 1 / 2 * 1 / 2])


@pytest.mark.parametrize(("num_arms", "num_pulls"), [(2, 5), (3, 4), (2, 8), (4, 4)])
def test_optimum_equals_brute_force(num_arms: int, num_pulls: int):
    exact = bandit_exact.bayes_optimal_rewards(num_arms, num_pulls)
    assert exact.shape == (num_pulls,)
    assert exact.sum() == pytest.approx(brute_force(num_arms, num_pulls), abs=1e-12)


@pytest.mark.parametrize(
    ("num_arms", "num_pulls", "limit"), [(5, 10, 6.660), (10, 10, 6.714), (50, 10, 6.714), (2, 100, 64.918)]
)
def test_optimum_is_the_published_limit(num_arms: int, num_pulls: int, limit: float):
    assert bandit_exact.bayes_optimal_rewards(num_arms, num_pulls).sum() == pytest.approx(limit, abs=5e-4)


def test_states_are_counted_as_they_are_enumerated():
    # One arm: t + 1 states after t pulls. Two arms, after two pulls: 3 with one arm touched and 3 with both.
    assert bandit_exact.num_states(1, 5) == 15
    assert bandit_exact.num_states(2, 3) == 1 + 2 + 6
    assert bandit_exact.num_states(50, 10) == bandit_exact.num_states(9, 10)


def test_optimum_beyond_the_limit_is_refused():
    assert bandit_exact.is_feasible(2, 100)
    assert not bandit_exact.is_feasible(5, 100)
    assert not bandit_exact.is_feasible(5, 10**9)
    with pytest.raises(InputError, match="5 arms and 100 pulls"):
        bandit_exact.bayes_optimal_rewards(5, 100)


# The indices.


def index_by_bisection(left: int, successes: int, failures: int) -> float:
    def worth_a_pull(rate: float) -> bool:
        @functools.cache
        def value(m: int, s: int, f: int) -> float:
            return max(m * rate, pull(m, s, f)) if m else 0.0

        def pull(m: int, s: int, f: int) -> float:
            p = (s + 1) / (s + f + 2)
            return p * (1 + value(m - 1, s + 1, f)) + (1 - p) * value(m - 1, s, f + 1)

        return pull(left, successes, failures) > left * rate

    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if worth_a_pull(middle) else (low, middle)
    return low


def index(horizon: int, left: int, successes: int, failures: int) -> float:
    pulls = successes + failures
    return float(gittins_indices(horizon)[position(horizon - left, pulls, successes)])


@pytest.mark.parametrize(("successes", "failures"), [(0, 0), (3, 1), (0, 7), (9, 0)])
def test_index_of_the_last_pull_is_the_posterior_mean(successes: int, failures: int):
    mean = (successes + 1) / (successes + failures + 2)
    assert index(10, 1, successes, failures) == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize(("successes", "failures"), [(0, 0), (3, 1), (0, 7), (8, 0)])
def test_index_of_two_pulls_is_the_closed_form(successes: int, failures: int):
    # Continue after a success alone: p - λ + p (p' - λ) = 0.
    p = (successes + 1) / (successes + failures + 2)
    after = (successes + 2) / (successes + failures + 3)
    assert index(10, 2, successes, failures) == pytest.approx(p * (1 + after) / (1 + p), abs=1e-5)


@pytest.mark.parametrize(
    ("horizon", "left", "successes", "failures"),
    [(10, 10, 0, 0), (10, 4, 3, 2), (30, 30, 0, 0), (30, 20, 10, 0), (30, 15, 0, 14), (100, 100, 0, 0)],
)
def test_index_equals_bisection(horizon: int, left: int, successes: int, failures: int):
    by_bisection = index_by_bisection(left, successes, failures)
    assert index(horizon, left, successes, failures) == pytest.approx(by_bisection, abs=1e-4)


def test_index_does_not_depend_on_the_horizon_but_on_the_pulls_left():
    assert index(10, 5, 2, 1) == index(40, 5, 2, 1)
    assert index(40, 5, 2, 1) < index(40, 20, 2, 1)


def test_indices_fill_the_table():
    table = gittins_indices(6)
    assert table.shape == (position(6, 0, 0),) == (56,)
    assert ((table > 0) & (table < 1)).all()


@pytest.mark.parametrize("horizon", [0, MAX_HORIZON + 1])
def test_a_horizon_out_of_range_is_refused(horizon: int):
    with pytest.raises(InputError, match="horizon"):
        gittins_indices(horizon)


# One step of a learner.


def speak(agent: Any, successes: list[float], failures: list[float], horizon: int = 20) -> Output:
    """What the agent says after the pulls counted, in a trial of `horizon` pulls."""
    meta_params = agent.init(Bandit(len(successes)), TrialShape(0, 1, horizon), KEY)
    memory = Counts(jnp.array(successes), jnp.array(failures), jnp.int32(sum(successes) + sum(failures)))
    # The first step of a trial absorbs nothing; a later one is shown an arm that does not exist.
    return agent.step(meta_params, (), memory, timestep(len(successes), 0.0), KEY)[0]


def timestep(action: int, reward: float) -> TimeStep:
    return TimeStep(jnp.int32(0), jnp.int32(action), jnp.float32(reward), jnp.array(True))


def probabilities(output: Output) -> np.ndarray:
    return np.asarray(jax.nn.softmax(output.policy.logits))


@pytest.mark.parametrize("agent", [*LEARNERS[:4], Gittins()], ids=repr)
def test_a_choice_is_certain(agent: Any):
    policy = speak(agent, [9.0, 0.0, 0.0], [0.0, 3.0, 4.0]).policy
    chosen = policy.mode()
    assert policy.log_prob(chosen) == 0.0
    assert policy.entropy() == 0.0
    assert policy.kl(policy) == 0.0
    assert np.isfinite(policy.log_prob((chosen + 1) % 3))


@pytest.mark.parametrize("agent", [UCB1(), Greedy(), EpsilonGreedy(), Gittins()], ids=repr)
def test_the_first_pull_is_any_arm(agent: Any):
    np.testing.assert_allclose(probabilities(speak(agent, [0.0] * 4, [0.0] * 4)), 0.25, rtol=1e-6)


def test_greedy_is_uniform_over_ties_or_takes_the_first():
    counts = [0.0, 1.0, 0.0], [0.0, 1.0, 1.0]  # means 1/2, 2/4, 1/3
    np.testing.assert_allclose(probabilities(speak(Greedy(), *counts)), [0.5, 0.5, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(probabilities(speak(Greedy(first_of_ties=True), *counts)), [1.0, 0.0, 0.0])


def test_epsilon_greedy_mixes_in_every_arm():
    output = speak(EpsilonGreedy(epsilon=0.3), [2.0, 0.0, 0.0], [0.0, 1.0, 1.0])
    np.testing.assert_allclose(probabilities(output), [0.8, 0.1, 0.1], rtol=1e-5)
    output = speak(EpsilonGreedy(epsilon=0.3), [0.0, 1.0, 0.0], [0.0, 1.0, 1.0])
    np.testing.assert_allclose(probabilities(output), [0.45, 0.45, 0.1], rtol=1e-5)


@pytest.mark.parametrize(("exploration", "arm"), [(0.48, 0), (0.53, 1)])
def test_ucb1_by_hand(exploration: float, arm: int):
    # t = 10; means 7/10 and 2/4; bonuses c sqrt(2 log 10 / 10) = .679c and c sqrt(2 log 10 / 4) = 1.073c:
    # the second arm is ahead where .394c > .2, that is c > .508.
    output = speak(UCB1(exploration), [6.0, 1.0], [2.0, 1.0])
    assert int(output.policy.mode()) == arm


@pytest.mark.parametrize(("horizon", "arm"), [(100, 1), (13, 1), (12, 0), (3, 0)])
def test_gittins_explores_until_the_last_pull(horizon: int, arm: int):
    # After 11 pulls of the first arm: means .538 and .5; indices with two pulls left .550 and .556.
    output = speak(Gittins(), [6.0, 0.0], [5.0, 0.0], horizon)
    assert int(output.policy.mode()) == arm


def test_optimism_never_lowers_a_sample():
    # The second arm's mean is above all that the first arm's posterior is likely to give.
    agent = OptimisticThompson()
    meta_params = agent.init(Bandit(2), TrialShape(0, 1, 10), KEY)
    counts = Counts(jnp.array([500.0, 1.0]), jnp.array([500.0, 0.0]), jnp.int32(1001))
    keys = jax.random.split(KEY, 200)
    chosen = jax.vmap(lambda key: agent.choose(meta_params, counts, key))(keys)
    assert (chosen[:, 1] == 1.0).all()
    plain = jax.vmap(lambda key: Thompson().choose(meta_params, counts, key))(keys)
    assert 0.6 < float(plain[:, 1].mean()) < 0.9  # P(x > 1/2) is 3/4


def test_counts_begin_with_the_second_step_and_rewards_are_clipped():
    agent = Greedy()
    meta_params = agent.init(Bandit(2), TrialShape(0, 1, 10), KEY)
    memory = agent.init_memory(meta_params, ())
    for action, reward in [(0, 0.0), (1, 1.0), (1, -3.0), (0, 0.25), (0, 7.0)]:
        memory = agent.step(meta_params, (), memory, timestep(action, reward), KEY)[1]
    np.testing.assert_allclose(memory.successes, [1.25, 1.0])
    np.testing.assert_allclose(memory.failures, [0.75, 1.0])
    assert memory.num_steps == 5


@pytest.mark.parametrize(("cls", "field"), [(UCB1, "exploration"), (EpsilonGreedy, "epsilon")])
def test_a_field_out_of_range_is_refused(cls: Any, field: str):
    with pytest.raises(InputError, match=field):
        cls(**{field: -0.1})


# The random agent, and spaces.


class Spaces:
    """All of an environment that `init` looks at."""

    max_steps = 1

    def __init__(self, action_space: gymnasium.spaces.Space):
        self.action_space = action_space


def random_policy(space: gymnasium.spaces.Space) -> Any:
    agent = Random()
    meta_params = agent.init(Spaces(space), TrialShape(), KEY)
    return agent.step(meta_params, (), (), timestep(0, 0.0), KEY)[0].policy


def test_random_is_uniform_in_a_box():
    policy = random_policy(gymnasium.spaces.Box(np.array([-1, 0], np.float32), np.array([1, 4], np.float32)))
    samples = jax.vmap(policy.sample)(jax.random.split(KEY, 20_000))
    np.testing.assert_allclose(samples.mean(0), [0.0, 2.0], atol=0.04)
    np.testing.assert_allclose(samples.std(0), np.array([2.0, 4.0]) / np.sqrt(12), rtol=0.02)
    np.testing.assert_allclose(jax.vmap(policy.log_prob)(samples), -np.log(8.0), rtol=1e-6)
    np.testing.assert_allclose(policy.mode(), [0.0, 2.0])
    assert policy.log_prob(jnp.array([0.0, 5.0])) == -jnp.inf
    assert policy.entropy() == pytest.approx(np.log(8.0))


def test_uniform_divergence():
    narrow, wide = Uniform(jnp.zeros(2), jnp.ones(2)), Uniform(-jnp.ones(2), jnp.ones(2))
    assert narrow.kl(wide) == pytest.approx(2 * np.log(2.0))
    assert wide.kl(narrow) == jnp.inf
    assert wide.kl(wide) == 0.0


def test_random_is_standard_normal_without_bounds():
    policy = random_policy(gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32))
    assert policy.entropy() == pytest.approx(1.5 * np.log(2 * np.pi * np.e))


@pytest.mark.parametrize("agent", [Random(), *LEARNERS], ids=repr)
def test_a_space_that_an_agent_cannot_act_on_is_refused(agent: Any):
    with pytest.raises(InputError, match="action_space"):
        agent.init(Spaces(gymnasium.spaces.MultiBinary(2)), TrialShape(), KEY)


# Whole trials.


def trials_of(agent: Any, num_arms: int, num_pulls: int, num_tasks: int) -> Any:
    env, trial = Bandit(num_arms), TrialShape(0, 1, num_pulls)
    k_init, k_tasks, k_trials = jax.random.split(jax.random.key(1), 3)
    meta_params = agent.init(env, trial, k_init)

    @jax.jit
    def run(meta_params: Any) -> Any:
        tasks = sample_tasks(env, jax.random.split(k_tasks, num_tasks))
        return collect(agent, env, trial, meta_params, tasks, jax.random.split(k_trials, num_tasks))

    return meta_params, run(meta_params)


@functools.cache
def mean_total(agent: Any, num_arms: int, num_pulls: int, num_tasks: int) -> tuple[float, float]:
    """-> (mean, its standard error)"""
    totals = np.asarray(trials_of(agent, num_arms, num_pulls, num_tasks)[1].phases.reward.sum((1, 2, 3)))
    return float(totals.mean()), float(totals.std() / np.sqrt(num_tasks))


@pytest.mark.parametrize("agent", [Random(), Thompson(), EpsilonGreedy(), Gittins()], ids=repr)
def test_replay_says_what_was_said(agent: Any):
    meta_params, trials = trials_of(agent, 3, 12, 8)
    said = jax.jit(functools.partial(replay, agent))(meta_params, trials)
    log_prob = said.policy.log_prob(trials.phases.action)
    np.testing.assert_allclose(log_prob, trials.phases.log_prob, atol=1e-6)
    assert (trials.phases.log_prob > -10.0).all()


def test_a_batch_equals_a_loop():
    agent, env, trial = EpsilonGreedy(0.5), Bandit(3), TrialShape(0, 1, 8)
    meta_params = agent.init(env, trial, KEY)
    keys = jax.random.split(KEY, 4)
    tasks = sample_tasks(env, keys)
    run = jax.jit(functools.partial(collect, agent, env, trial, meta_params))
    together = run(tasks, keys).phases.action
    alone = [run(tasks[i : i + 1], keys[i : i + 1]).phases.action for i in range(4)]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_gittins_is_nearly_optimal_at_10_pulls():
    mean, error = mean_total(Gittins(), 5, 10, 450_000)
    assert error < 0.0034  # the margin is three standard errors
    assert mean == pytest.approx(6.660, abs=0.01)


# Table 1 of Duan et al. 2016, by [n, k]: means of 1000 instances. Ties go to the first arm there, and ε is
# tuned, to 0 at ten pulls. Its "optimistic" row is another rule: see `bandit_learners`.
PUBLISHED: dict[tuple[int, int], dict[Any, float]] = {
    (10, 5): {Random(): 5.0, Thompson(): 5.7, UCB1(): 6.7, EpsilonGreedy(0.0, True): 6.6, Greedy(True): 6.6},
    (10, 10): {Random(): 5.0, Thompson(): 5.5, UCB1(): 6.7, EpsilonGreedy(0.0, True): 6.6, Greedy(True): 6.6},
    (10, 50): {Random(): 5.1, Thompson(): 5.2, UCB1(): 6.6, EpsilonGreedy(0.0, True): 6.5, Greedy(True): 6.5},
    (100, 5): {
        Random(): 49.9,
        Thompson(): 74.7,
        UCB1(): 78.0,
        EpsilonGreedy(0.1, True): 75.4,
        Greedy(True): 74.8,
    },
    (100, 10): {
        Random(): 49.9,
        Thompson(): 76.7,
        UCB1(): 82.4,
        EpsilonGreedy(0.1, True): 77.4,
        Greedy(True): 77.1,
    },
    (100, 50): {
        Random(): 49.8,
        Thompson(): 64.5,
        UCB1(): 84.3,
        EpsilonGreedy(0.1, True): 78.3,
        Greedy(True): 78.0,
    },
}


@pytest.mark.parametrize(("agent", "published"), PUBLISHED[10, 5].items(), ids=repr)
def test_published_rows_at_10_pulls_of_5_arms(agent: Any, published: float):
    mean, error = mean_total(agent, 5, 10, 20_000)
    assert error < 0.018
    assert mean == pytest.approx(published, abs=2 * 0.06 + 0.05)  # two standard errors, and the rounding


def test_optimism_helps_but_less_than_the_published_row():
    (optimistic, _), (plain, _) = (
        mean_total(agent, 5, 10, 20_000) for agent in (OptimisticThompson(), Thompson())
    )
    assert 0.05 < optimistic - plain < 0.25
    assert optimistic < 6.5 - 0.4


@pytest.mark.slow
@pytest.mark.parametrize("cell", PUBLISHED)
def test_published_rows(cell: tuple[int, int]):
    num_pulls, num_arms = cell
    for agent, published in PUBLISHED[cell].items():
        mean, error = mean_total(agent, num_arms, num_pulls, 2000)
        # Three errors of the difference: the paper's 1000 instances have sqrt(2) times the error of our 2000.
        assert mean == pytest.approx(published, abs=3 * np.sqrt(3) * error + 0.05), agent


@pytest.mark.slow
@pytest.mark.parametrize(("num_arms", "limit"), [(5, 78.65), (10, 83.74), (50, 85.54)])
def test_gittins_reaches_its_limit_at_100_pulls(num_arms: int, limit: float):
    mean, error = mean_total(Gittins(), num_arms, 100, 10_000)
    assert mean == pytest.approx(limit, abs=3 * error)
