"""A2C, its special case REINFORCE, and what advantages are measured from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.errors import InputError
from quickstudy.maths.baselines import features, linear_values, orthonormal, ridge_fit
from quickstudy.outer.a2c import A2C
from quickstudy.outer.advantages import judge
from quickstudy.rollout import collect
from quickstudy.types import TrialShape
from tests.one_state import Arms, Softmax, trials_of
from tests.probes import CountProbe

PLAIN = {"normalise_advantages": False, "entropy_coefficient": 0.0, "discount": 1.0, "gae_lambda": 1.0}
# Four trials in the proportions of the policy: what they average is the expectation.
PARAMS = {"logits": jnp.log(jnp.array([0.25, 0.75])), "rate": jnp.zeros(()), "value": jnp.float32(0.5)}
ENV = Arms((1.0, 3.0))
ACTIONS = [0, 1, 1, 1]


def gradient(outer, actions=ACTIONS):
    batch = outer.batch(trials_of(ENV, PARAMS, actions))
    return jax.grad(lambda params: outer.loss(Softmax(), params, batch, 0.0)[0])(PARAMS)


def test_reinforce_is_the_enumerated_policy_gradient():
    """∂J/∂z_a = π_a (r_a - J), with J = 0.25 · 1 + 0.75 · 3 = 2.5."""
    grads = gradient(A2C(baseline="none", **PLAIN))
    np.testing.assert_allclose(-grads["logits"], [0.25 * (1 - 2.5), 0.75 * (3 - 2.5)], rtol=1e-5)
    assert grads["value"] == 0


def test_a_baseline_changes_no_expectation_and_learns():
    """The critic says 0.5 everywhere: the same policy gradient; its own is c_v (0.5 - 2.5)."""
    grads = gradient(A2C(baseline="critic", value_coefficient=0.25, **PLAIN))
    np.testing.assert_allclose(-grads["logits"], [0.25 * (1 - 2.5), 0.75 * (3 - 2.5)], rtol=1e-5)
    np.testing.assert_allclose(grads["value"], 0.25 * (0.5 - 2.5), rtol=1e-5)


def test_one_adam_step_goes_uphill():
    """Adam's first step is the learning rate in the direction of each sign."""
    outer = A2C(baseline="none", schedule="constant", learning_rate=0.1, **PLAIN)
    state = outer.init(Softmax(), PARAMS, jax.random.key(0))
    trials = trials_of(ENV, PARAMS, ACTIONS)
    state, metrics = outer.update(Softmax(), state, trials, jnp.float32(0.5), jax.random.key(1))
    np.testing.assert_allclose(state.meta_params["logits"] - PARAMS["logits"], [-0.1, 0.1], atol=1e-4)
    assert "value_loss" not in metrics
    np.testing.assert_allclose(
        metrics["policy_loss"], -(0.25 * np.log(0.25) + 0.75 * 3 * np.log(0.75)), rtol=1e-5
    )


def test_entropy_is_rewarded():
    grads = gradient(A2C(baseline="none", **{**PLAIN, "entropy_coefficient": 100.0}))
    assert grads["logits"][1] > 0 > grads["logits"][0]


def test_settings_are_checked():
    for field, known in (("credit", "trial, episode"), ("phases", "all, adapted, last")):
        wrong: dict[str, Any] = {field: "some"}
        with pytest.raises(InputError, match=rf"A2C\.{field}: got 'some'; expected one of {known}"):
            A2C(**wrong)
    with pytest.raises(InputError, match=r"A2C\.gae_lambda: got 1\.5; expected between 0 and 1"):
        A2C(gae_lambda=1.5)


@pytest.fixture(scope="module")
def counted():
    """One stream in each of the tasks 1, 2 and 3 of `CountProbe`: T = 6, of which the first pads 3 steps."""
    trial = TrialShape(num_episodes=3)
    keys = jax.random.split(jax.random.key(1), 3)
    return collect(Softmax(), CountProbe(), trial, PARAMS, jnp.array([1, 2, 3]), keys)


# What credit reaches of the rewards 1 1 1; 2 4 2 4 2 4; 3 6 3 6 3 6, with γ = λ = 1.
RETURNS = {
    "trial": [[3, 2, 1, 0, 0, 0], [18, 16, 12, 10, 6, 4], [27, 24, 18, 15, 9, 6]],
    "episode": [[1, 1, 1, 0, 0, 0], [6, 4] * 3, [9, 6] * 3],
}
TIMES = {"trial": [[0, 1, 2, 3, 4, 5]] * 3, "episode": [[0] * 6, [0, 1] * 3, [0, 1] * 3]}
UNDISCOUNTED = {"phases": "all", "discount": 1.0, "gae_lambda": 1.0, "normalise": False}


@pytest.mark.parametrize("credit", RETURNS)
def test_without_a_baseline_an_advantage_is_a_return(counted, credit):
    """The critic's 0.5 counts for nothing, behind cuts too."""
    batch = judge(counted, credit=credit, baseline="none", **UNDISCOUNTED)
    np.testing.assert_array_equal(batch.advantage[:, 0, 0], RETURNS[credit])
    np.testing.assert_array_equal(batch.value_target[:, 0, 0], RETURNS[credit])


@pytest.mark.parametrize("credit", RETURNS)
def test_a_linear_baseline_is_fitted_in_each_task(counted, credit):
    batch = judge(counted, credit=credit, baseline="linear", **UNDISCOUNTED)
    for i in range(3):
        counts = np.asarray(counted.phases.mask)[i, 0, 0]
        o = np.asarray(counted.phases.timestep.observation)[i, 0, 0]
        t = np.array(TIMES[credit][i])[:, None] / 100
        x = np.concatenate([o, o**2, t, t**2, t**3, np.ones_like(t)], axis=1)
        values = x @ ridge_by_numpy(x[counts], np.array(RETURNS[credit][i])[counts], 1e-5)
        expected = np.where(counts, RETURNS[credit][i] - values, 0.0)
        np.testing.assert_allclose(batch.advantage[i, 0, 0], expected, atol=2e-3)


def test_ridge_regression_is_numpys_least_squares():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(30, 5)), generator.normal(size=30)
    for ridge in (1e-5, 3.0):
        found = ridge_fit(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), ridge)
        np.testing.assert_allclose(found, x @ ridge_by_numpy(x, y, ridge), atol=1e-5)


def test_orthonormal_columns_of_a_matrix_that_is_nearly_singular():
    """Powers of the time up to the third, as the baseline has them, and a column that nearly repeats one."""
    t = np.linspace(0.01, 2.0, 200)
    x = np.stack([np.ones_like(t), t, t**2, t**3, t + 1e-4 * np.sin(9 * t)], axis=1)
    q = np.asarray(orthonormal(jnp.asarray(x, jnp.float32)), np.float64)
    np.testing.assert_allclose(q.T @ q, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(q @ (q.T @ x), x, atol=1e-5)


def test_a_linear_baseline_explains_what_is_linear():
    """Returns that are linear in the features, of two streams, with garbage behind the mask."""
    generator = np.random.default_rng(1)
    observation = jnp.asarray(generator.normal(size=(2, 20, 3)), jnp.float32)
    x = features(observation, jnp.broadcast_to(jnp.arange(20), (2, 20)), num_values=1)
    returns = x @ jnp.asarray(generator.normal(size=x.shape[-1]), jnp.float32)
    mask = jnp.arange(20) < jnp.array([[20], [15]])
    values = linear_values(x, jnp.where(mask, returns, 1e6), mask)
    np.testing.assert_allclose(values[mask], returns[mask], atol=1e-3)


def test_features_by_hand():
    """A clipped vector and its square, or a one-hot number; then time and 1."""
    vector = features(jnp.array([[2.0, -20.0]]), jnp.array([50]), num_values=3)
    np.testing.assert_allclose(vector, [[2, -10, 4, 100, 0.5, 0.25, 0.125, 1]])
    number = features(jnp.array([1, 7]), jnp.array([0, 200]), num_values=3)
    np.testing.assert_allclose(number, [[0, 1, 0, 0, 0, 0, 1], [0, 0, 0, 2, 4, 8, 1]])


def ridge_by_numpy(x, y, ridge):
    padded = np.concatenate([x, np.sqrt(ridge) * np.eye(x.shape[1])])
    return np.linalg.lstsq(padded, np.concatenate([y, np.zeros(x.shape[1])]), rcond=None)[0]
