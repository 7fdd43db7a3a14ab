"""Gaussian and dependent bandits against their distributions and the exact Bayes-optimal regret."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.dependent_bandit import BETTER_ARM, DependentBandit
from quickstudy.envs.gaussian_bandit import GaussianBandit
from quickstudy.errors import InputError
from quickstudy.rollout import sample_tasks

KEY = jax.random.key(0)


def pulls(env, task, arm, num_keys=20_000):
    step = jax.jit(jax.vmap(lambda key: env.step(task, (), jnp.int32(arm), key)[1]))
    outcome = jax.device_get(step(jax.random.split(KEY, num_keys)))
    assert outcome.terminated.all()
    return outcome.reward.astype(np.float64)


def test_gaussian_arms_pay_their_means_with_one_noise():
    env = GaussianBandit()
    tasks = np.asarray(sample_tasks(env, jax.random.split(KEY, 4000)))
    assert tasks.shape == (4000, 5)
    assert tasks.min() >= 0
    assert tasks.max() <= 1
    assert tasks.mean() == pytest.approx(1 / 2, abs=0.01)
    assert tasks.var() == pytest.approx(1 / 12, abs=0.003)
    for arm in (0, 4):
        rewards = pulls(env, jnp.array([0.1, 0.2, 0.3, 0.4, 0.9]), arm)
        assert rewards.mean() == pytest.approx((0.1, 0.9)[arm // 4], abs=0.01)
        assert rewards.std() == pytest.approx(0.3, abs=0.01)
    assert pulls(GaussianBandit(2, 0.0), jnp.array([0.25, 0.75]), 1, 10).tolist() == [0.75] * 10


def regret(better, num_pulls):
    """Bayes-optimal; backward induction over successes of arm 0 and failures of arm 1, less the others."""
    net = np.arange(-num_pulls, num_pulls + 1)
    odds = (better / (1 - better)) ** net.astype(np.float64)
    first_is_better = odds / (1 + odds)
    pays = first_is_better * better + (1 - first_is_better) * (1 - better)
    value = np.zeros(len(net) + 2)  # one place beyond each end, never reached from 0
    for _ in range(num_pulls):
        up, down = value[2:], value[:-2]
        first = pays * (1 + up) + (1 - pays) * down
        second = (1 - pays) * (1 + down) + pays * up
        value = np.pad(np.maximum(first, second), 1)
    return num_pulls * better - value[num_pulls + 1]


@pytest.mark.parametrize(("difficulty", "expected"), [("easy", 0.6250), ("medium", 1.0000), ("hard", 2.3121)])
def test_dependent_bandit_regret_of_100_pulls(difficulty, expected):
    assert regret(BETTER_ARM[difficulty], 100) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(("difficulty", "arms"), [("easy", 0.9), ("medium", 0.75), ("hard", 0.6)])
def test_dependent_arms_are_one_of_two_pairs(difficulty, arms):
    tasks = np.asarray(sample_tasks(DependentBandit(difficulty), jax.random.split(KEY, 4000)), np.float64)
    assert tasks.sum(1) == pytest.approx(1)
    assert tasks.max(1) == pytest.approx(arms)
    assert (tasks[:, 0] > 0.5).mean() == pytest.approx(0.5, abs=0.03)


def test_dependent_arms_pay_q_and_its_complement():
    env = DependentBandit()
    tasks = np.asarray(sample_tasks(env, jax.random.split(KEY, 4000)))
    assert tasks.sum(1) == pytest.approx(1)
    assert tasks[:, 0].var() == pytest.approx(1 / 12, abs=0.006)
    for arm, probability in enumerate((0.3, 0.7)):
        rewards = pulls(env, jnp.array([0.3, 0.7]), arm)
        assert set(rewards) == {0, 1}
        assert rewards.mean() == pytest.approx(probability, abs=0.015)


def test_bayes_optimal_pulls_earn_the_exact_regret():
    """Pull the arm that seems better; its regret in the environment is that of the induction."""
    env = DependentBandit("medium")

    @jax.jit
    @jax.vmap
    def lost(key):
        k_task, k_pulls = jax.random.split(key)
        task = env.sample_task(k_task)

        def pull(net, key):
            k_tie, k_pull = jax.random.split(key)
            arm = jnp.where(net == 0, jax.random.randint(k_tie, (), 0, 2), net < 0).astype(jnp.int32)
            reward = env.step(task, (), arm, k_pull)[1].reward
            return net + jnp.where((arm == 0) == (reward > 0), 1, -1), task.max() - task[arm]

        return jax.lax.scan(pull, jnp.int32(0), jax.random.split(k_pulls, 100))[1].sum()

    regrets = np.asarray(lost(jax.random.split(KEY, 8192)), np.float64)
    assert regrets.mean() == pytest.approx(regret(0.75, 100), abs=4 * regrets.std() / np.sqrt(8192))
    assert regrets.std() / np.sqrt(8192) < 0.03


@pytest.mark.parametrize(
    ("family", "fields"),
    [
        (GaussianBandit, {"num_arms": 0}),
        (GaussianBandit, {"reward_std": -0.1}),
        (DependentBandit, {"difficulty": "harder"}),
    ],
)
def test_fields_out_of_range_are_refused(family, fields):
    with pytest.raises(InputError, match=f"{family.__name__}.{next(iter(fields))}"):
        family(**fields)
