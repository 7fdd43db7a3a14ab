"""Tabular processes, the two-step task and the T-maze against exact planners, closed forms, steps by hand."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.t_maze import TMaze
from quickstudy.envs.tabular_mdp import Process, TabularMDP
from quickstudy.envs.two_step import Stage, TwoStep
from quickstudy.errors import InputError
from quickstudy.rollout import sample_tasks

KEY = jax.random.key(0)


def many_steps(env, task, state, action, num_keys=20_000):
    """What one step leads to under many keys."""
    step = jax.jit(jax.vmap(lambda key: env.step(task, state, action, key)))
    return jax.device_get(step(jax.random.split(KEY, num_keys)))


# Tabular processes.


@pytest.fixture(scope="module")
def processes():
    return jax.device_get(jax.jit(lambda keys: sample_tasks(TabularMDP(), keys))(jax.random.split(KEY, 8192)))


def test_tabular_mdp_draws_the_distributions_of_the_paper(processes):
    rewards, transitions = processes
    assert rewards.shape == (8192, 10, 5)
    # 400,000 means; and as many rows, the variance of whose elements is (1/S)(1 - 1/S)/(S + 1).
    assert rewards.mean() == pytest.approx(1, abs=6e-3)
    assert rewards.std() == pytest.approx(1, abs=6e-3)
    assert transitions.min() >= 0
    assert transitions.sum(-1) == pytest.approx(1, abs=1e-5)
    assert transitions.mean((0, 1, 2)) == pytest.approx(0.1, abs=6e-4)
    assert transitions.var() == pytest.approx(0.1 * 0.9 / 11, rel=5e-3)


def test_tabular_mdp_oracle(processes):
    """With the process known an episode is worth 21.830 (s.e. 0.002, 950,000 processes), by value iteration."""
    rewards, transitions = processes
    value = np.zeros((len(rewards), 10), np.float32)
    for _ in range(TabularMDP().max_steps):
        after = (transitions.reshape(-1, 50, 10) @ value[:, :, None]).reshape(-1, 10, 5)
        value = (rewards + after).max(-1)
    at_start = value[:, 0].astype(np.float64)
    error = at_start.std() / np.sqrt(len(at_start))
    assert error < 0.04
    assert at_start.mean() == pytest.approx(21.830, abs=4 * error)


def test_tabular_mdp_steps():
    env = TabularMDP(num_states=3, num_actions=2)
    rewards = jnp.array([[0.0, 5.0], [1.0, 2.0], [3.0, 4.0]])
    row = jnp.array([0.5, 0.0, 0.5])
    transitions = jnp.tile(row, (3, 2, 1)).at[1, 1].set(jnp.array([0.2, 0.3, 0.5]))
    task = Process(rewards, transitions)
    assert int(env.reset(task, KEY)[0]) == 0
    state, outcome = many_steps(env, task, jnp.int32(1), jnp.int32(1))
    assert state.dtype == np.int32
    assert (outcome.observation == state).all()
    assert np.bincount(state, minlength=3) / len(state) == pytest.approx([0.2, 0.3, 0.5], abs=0.015)
    assert outcome.reward.mean() == pytest.approx(2, abs=0.03)
    assert outcome.reward.std() == pytest.approx(1, abs=0.03)
    # Reward and next state are independent.
    assert abs(np.corrcoef(outcome.reward, state)[0, 1]) < 0.03
    assert not outcome.terminated.any()
    state, outcome = many_steps(TabularMDP(3, 2, reward_std=0.0), task, jnp.int32(2), jnp.int32(0), 500)
    assert set(state) == {0, 2}
    assert (outcome.reward == 3).all()


# The two-step task.


def bayes_optimal_two_step(num_choices, common=0.8, high=0.9, swap=0.025):
    """By backward induction over the belief that place 1 is the good one, on a grid."""
    belief = np.linspace(0, 1, 20_001)
    value = np.zeros_like(belief)

    def after(posterior):
        return np.interp(posterior * (1 - swap) + (1 - posterior) * swap, belief, value)

    for _ in range(num_choices):
        choices = []
        for to_first in (common, 1 - common):
            total = 0.0
            for place, reach in ((1, to_first), (2, 1 - to_first)):
                if_good, if_other = (high, 1 - high) if place == 1 else (1 - high, high)
                pays = belief * if_good + (1 - belief) * if_other
                won = after(belief * if_good / pays)
                lost = after(belief * (1 - if_good) / (1 - pays))
                total = total + reach * (pays * (1 + won) + (1 - pays) * lost)
            choices.append(total)
        value = np.maximum(*choices)
    return value[len(belief) // 2]


def test_two_step_bayes_optimal():
    """The induction gives 70.586, and its policy earns that in the environment."""
    exact = bayes_optimal_two_step(100)
    assert exact == pytest.approx(70.59, abs=5e-3)
    env = TwoStep()

    @jax.jit
    @jax.vmap
    def episode(key):
        k_task, k_reset, k_steps = jax.random.split(key, 3)
        task = env.sample_task(k_task)

        def step(carry, key):
            state, place, belief = carry
            state, outcome = env.step(task, state, (belief < 0.5).astype(jnp.int32), key)
            pays = jnp.where((place == 1) == (outcome.reward > 0), 0.9, 0.1)
            posterior = pays * belief / (pays * belief + (1 - pays) * (1 - belief))
            told = posterior * 0.975 + (1 - posterior) * 0.025
            return (state, outcome.observation, jnp.where(place > 0, told, belief)), outcome.reward

        carry = (*env.reset(task, k_reset), jnp.float32(0.5))
        return jax.lax.scan(step, carry, jax.random.split(k_steps, env.max_steps))[1].sum()

    returns = np.asarray(episode(jax.random.split(KEY, 4096)), np.float64)
    assert returns.mean() == pytest.approx(exact, abs=4 * returns.std() / 64)
    assert returns.std() / 64 < 0.15


def test_two_step_steps():
    env = TwoStep()
    task = jnp.int32(2)
    state, observation = env.reset(task, KEY)
    assert (int(observation), int(state.good)) == (0, 2)
    for action, share in ((0, 0.8), (1, 0.2)):
        after, outcome = many_steps(env, task, state, jnp.int32(action))
        assert (outcome.observation == 1).mean() == pytest.approx(share, abs=0.012)
        assert set(outcome.observation) == {1, 2}
        assert (outcome.reward == 0).all()
        assert (after.good == 2).all()
    for place, action, pays in ((2, 0, 0.9), (2, 1, 0.9), (1, 0, 0.1)):
        second = Stage(jnp.int32(place), jnp.int32(2))
        after, outcome = many_steps(env, task, second, jnp.int32(action))
        assert outcome.reward.mean() == pytest.approx(pays, abs=0.01)
        assert (outcome.observation == 0).all()
        assert (after.good == 1).mean() == pytest.approx(0.025, abs=0.005)
        swapped = after.good == 1
        assert outcome.reward[swapped].mean() == pytest.approx(pays, abs=0.07)
        assert not outcome.terminated.any()


# The T-maze.


def walk(env, sides, actions):
    """(states, outcomes) [n, T] of the actions [T] or [n, T] for every side [n]."""

    def one(side, actions):
        def step(state, action):
            state, outcome = env.step(side, state, action, KEY)
            return state, (state, outcome)

        return jax.lax.scan(step, env.reset(side, KEY)[0], actions)[1]

    actions = jnp.broadcast_to(jnp.asarray(actions, jnp.int32), (len(sides), np.shape(actions)[-1]))
    return jax.device_get(jax.jit(jax.vmap(one))(sides, actions))


def test_t_maze_by_hand():
    env, tasks = TMaze(memory_length=3), jnp.array([1, -1], jnp.int32)
    first = [np.asarray(env.reset(task, KEY)[1]).tolist() for task in tasks]
    assert first == [[0, 1], [0, -1]]
    right, up, left, down = range(4)

    _, outcome = walk(env, tasks, [right, right, right, up])
    assert outcome.observation[0].tolist() == [[0, 0], [0, 0], [1, 0], [1, 1]]
    assert outcome.reward.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    assert outcome.success.tolist() == [[False] * 3 + [True], [False] * 4]
    assert outcome.terminated.all(0).tolist() == [False, False, False, True]

    # A wall of the corridor, and the start again: late from the first step on, and the cue does not return.
    _, outcome = walk(env, tasks, [up, right, left, down])
    assert outcome.observation[0].tolist() == [[0, 0]] * 4
    assert outcome.reward[0] == pytest.approx([-1 / 3, -1 / 3, -1 / 3, 0])

    # In an arm: no way but back.
    states, _ = walk(TMaze(memory_length=1), tasks, [right, up, right, left, up, down, down, down])
    assert states.x[0].tolist() == [1] * 8
    assert states.y[0].tolist() == [0, 1, 1, 1, 1, 0, -1, -1]


@pytest.mark.parametrize("length", [1, 2, 4])
def test_t_maze_random_and_best_returns_over_all_walks(length):
    env = TMaze(memory_length=length)
    walks = np.array(list(itertools.product(range(4), repeat=length + 1)))
    returns = walk(env, jnp.ones(len(walks), jnp.int32), walks)[1].reward.sum(1)
    assert returns.max() == 1
    closed_form = 4.0 ** -(length + 1) - 1 + (1 - 4.0**-length) / (3 * length)
    assert returns.mean() == pytest.approx(closed_form, abs=1e-5)
    without_penalty = walk(TMaze(length, penalty=0.0), jnp.ones(len(walks), jnp.int32), walks)[1].reward.sum(1)
    assert without_penalty.mean() == pytest.approx(4.0 ** -(length + 1), abs=1e-6)


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        (TabularMDP, {"num_states": 0}),
        (TabularMDP, {"reward_std": -1.0}),
        (TwoStep, {"num_choices": 0}),
        (TwoStep, {"swap_probability": 1.5}),
        (TMaze, {"memory_length": 0}),
        (TMaze, {"penalty": -1.0}),
    ],
)
def test_fields_out_of_range_are_refused(family, fields):
    with pytest.raises(InputError, match=f"{family.__name__}.{next(iter(fields))}"):
        family(**fields)
