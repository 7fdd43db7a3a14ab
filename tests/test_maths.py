"""Distributions, statistics and the recurrent cell against closed forms and hand-computed numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy.maths.statistics import interquartile_mean, mean_interval, share_interval, standard_error
from quickstudy.nets.distributions import Categorical, Normal
from quickstudy.nets.recurrent import GRU
from quickstudy.nets.spaces import PolicyHead


def test_categorical_by_hand():
    half_quarters = Categorical(jnp.log(jnp.array([0.5, 0.25, 0.25])))
    np.testing.assert_allclose(half_quarters.log_prob(jnp.array([0, 2])), np.log([0.5, 0.25]), rtol=1e-6)
    np.testing.assert_allclose(half_quarters.entropy(), 1.5 * np.log(2), rtol=1e-6)
    uniform = Categorical(jnp.zeros(3))
    np.testing.assert_allclose(half_quarters.kl(uniform), np.log(3) - 1.5 * np.log(2), rtol=1e-5)
    assert int(half_quarters.mode()) == 0


def test_normal_by_hand():
    narrow = Normal(jnp.array([1.0, 0.0]), jnp.log(jnp.array([0.5, 1.0])))
    expected = -0.5 * (4 + 0) - np.log(0.5) - np.log(2 * np.pi)
    np.testing.assert_allclose(narrow.log_prob(jnp.array([0.0, 0.0])), expected, rtol=1e-6)
    np.testing.assert_allclose(narrow.entropy(), np.log(0.5) + np.log(2 * np.pi * np.e), rtol=1e-6)
    standard = Normal(jnp.zeros(2), jnp.zeros(2))
    np.testing.assert_allclose(narrow.kl(standard), np.log(2) + (0.25 + 1) / 2 - 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    "policies",
    [
        (Categorical(jnp.array([0.3, -1.0, 2.0])), Categorical(jnp.array([1.0, 0.0, 0.5]))),
        (
            Normal(jnp.array([0.3, -1.0]), jnp.array([-0.5, 0.2])),
            Normal(jnp.array([0.0, -0.5]), jnp.array([0.1, 0.0])),
        ),
    ],
    ids=["categorical", "normal"],
)
def test_entropy_and_kl_are_expectations_of_log_prob(policies):
    one, other = policies
    samples = jax.vmap(one.sample)(jax.random.split(jax.random.key(0), 200_000))
    np.testing.assert_allclose(one.entropy(), -one.log_prob(samples).mean(), atol=0.01)
    np.testing.assert_allclose(
        one.kl(other), (one.log_prob(samples) - other.log_prob(samples)).mean(), atol=0.01
    )


def test_a_certain_policy_has_no_entropy_and_no_nan():
    certain = Categorical(jnp.array([0.0, -jnp.inf]))
    assert float(certain.entropy()) == 0
    assert float(certain.kl(Categorical(jnp.zeros(2)))) == pytest.approx(np.log(2))
    assert np.isfinite(jax.grad(lambda x: Categorical(x).entropy())(jnp.array([50.0, -50.0]))).all()


def test_the_first_policy_spreads_over_the_bounds():
    """Actions in [0, 4]: N(2, 2) at zero features; an unbounded dimension starts from N(0, 1)."""
    space = spaces.Box(np.array([0.0, -np.inf]), np.array([4.0, np.inf]), (2,), np.float64)
    policy = PolicyHead(3, space, jax.random.key(0))(jnp.zeros(3))
    np.testing.assert_allclose(policy.mode(), [2.0, 0.0], atol=1e-6)
    samples = jax.vmap(policy.sample)(jax.random.split(jax.random.key(1), 100_000))
    np.testing.assert_allclose(samples.std(axis=0), [2.0, 1.0], rtol=0.02)


def test_gru_by_hand():
    """One unit, weights 1, biases 0, x = 1, h = 0.5: r = z = σ(1.5), n = tanh(1 + 0.5 r)."""
    cell = GRU(1, 1, jax.random.key(0))
    cell = jax.tree.map(jnp.ones_like, cell)
    cell = jax.tree.unflatten(
        jax.tree.structure(cell), [*jax.tree.leaves(cell)[:2], jnp.zeros(3), jnp.zeros(1)]
    )
    gate = 1 / (1 + np.exp(-1.5))
    candidate = np.tanh(1 + 0.5 * gate)
    np.testing.assert_allclose(
        cell.step(jnp.ones(1), jnp.array([0.5]))[0], [(1 - gate) * candidate + gate * 0.5], rtol=1e-6
    )


def test_interquartile_mean():
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 100.0])) == 1.5
    # Five values: half of the second, the third, half of the fourth count by their shares .75, 1, .75.
    assert interquartile_mean(np.array([9.0, 1, 2, 3, 40])) == pytest.approx((0.75 * 2 + 3 + 0.75 * 9) / 2.5)
    np.testing.assert_allclose(interquartile_mean(np.tile([[1.0, 2.0]], (7, 1))), [1, 2])


def test_the_interval_covers_as_often_as_it_says():
    """300 samples of 60 exponential variables: 95% intervals hold the mean, 1, in 90 to 98% of them."""
    generator = np.random.default_rng(0)
    samples = generator.exponential(size=(60, 300))
    interval = mean_interval(samples)
    covered = np.mean((interval.low <= 1) & (interval.high >= 1))
    assert 0.90 <= covered <= 0.98
    np.testing.assert_allclose(interval.mean, samples.mean(axis=0))


def test_the_interval_covers_in_small_samples_too():
    """Normal samples of 5: plain percentiles would cover 84% of the time."""
    samples = np.random.default_rng(3).normal(size=(5, 2000))
    interval = mean_interval(samples)
    assert np.mean((interval.low <= 0) & (interval.high >= 0)) >= 0.90


def test_ten_of_ten_is_no_certainty():
    """Wilson's interval of 10 successes in 10: [1 / (1 + z²/10), 1]."""
    interval = share_interval(np.ones(10))
    assert interval.low == pytest.approx(1 / (1 + 1.959964**2 / 10))
    assert interval.high == pytest.approx(1.0)
    assert share_interval(np.array([1.0, 0.0, 0.0, 0.0])).mean == 0.25


def test_the_interval_of_a_large_sample_is_the_normal_one():
    values = np.random.default_rng(1).normal(3.0, 2.0, size=5000)
    interval = mean_interval(values)
    half = 1.96 * standard_error(values)
    np.testing.assert_allclose(
        [interval.low, interval.high], [values.mean() - half, values.mean() + half], atol=0.012
    )


def test_the_same_sample_has_the_same_interval():
    values = np.random.default_rng(2).random((50, 3))
    assert all(np.array_equal(a, b) for a, b in zip(mean_interval(values), mean_interval(values), strict=True))
