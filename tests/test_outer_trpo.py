"""TRPO against natural gradients that are computed by other means, and the bounds that it must keep."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from quickstudy.errors import InputError
from quickstudy.maths.trust_region import line_search, natural_step
from quickstudy.outer.trpo import TRPO
from quickstudy.rollout import replay
from tests.one_state import Arms, Softmax, trials_of

PARAMS = {"logits": jnp.log(jnp.array([0.25, 0.25, 0.5])), "rate": jnp.zeros(()), "value": jnp.float32(0.5)}
ENV = Arms((1.0, 3.0, 0.0))
# In the proportions of the policy.
ACTIONS = [0, 1, 2, 2]
PLAIN = {"normalise_advantages": False, "discount": 1.0, "gae_lambda": 1.0}


@functools.partial(jax.jit, static_argnums=0)
def updated(outer, params, trials):
    state = outer.init(Softmax(), params, jax.random.key(0))
    state, metrics = outer.update(Softmax(), state, trials, jnp.float32(0.5), jax.random.key(1))
    return state.meta_params, metrics


@pytest.fixture(scope="module")
def trials():
    return trials_of(ENV, PARAMS, ACTIONS)


def test_the_step_is_the_inverse_fisher_matrix_times_the_gradient(trials):
    """One state: F = diag(π) - π πᵀ, g = π (r - J), J = 1; the radius is where ½ sᵀ(F + damping)s is max_kl."""
    damping, radius = 0.01, 1e-4
    new, metrics = updated(TRPO(baseline="none", damping=damping, max_kl=radius, **PLAIN), PARAMS, trials)
    pi, r = np.array([0.25, 0.25, 0.5]), np.array(ENV.pays)
    fisher = np.diag(pi) - np.outer(pi, pi) + damping * np.eye(3)
    direction = np.linalg.solve(fisher, pi * (r - 1.0))
    step = direction * np.sqrt(2 * radius / (direction @ fisher @ direction))
    assert metrics["step_fraction"] >= 0.8
    np.testing.assert_allclose(new["logits"] - PARAMS["logits"], metrics["step_fraction"] * step, rtol=1e-3)
    assert new["value"] == PARAMS["value"]
    assert "value_loss" not in metrics


def test_the_critic_takes_part_in_the_step(trials):
    """Value 0.5 against targets 1, 3, 0, 0: σ² = (0.25 + 6.25 + 0.25 + 0.25)/4; F_v = c/σ², g_v = 0.5 c/σ²."""
    damping, radius, weight = 1e-3, 1e-4, 2.0
    outer = TRPO(damping=damping, max_kl=radius, value_coefficient=weight, **PLAIN)
    new, metrics = updated(outer, PARAMS, trials)
    pi, advantage = np.array([0.25, 0.25, 0.5]), np.array(ENV.pays) - 0.5
    fisher = np.zeros((4, 4))
    fisher[:3, :3] = np.diag(pi) - np.outer(pi, pi)
    fisher[3, 3] = weight / 1.75
    fisher += damping * np.eye(4)
    gradient = np.append(pi * (advantage - pi @ advantage), 0.5 * weight / 1.75)
    direction = np.linalg.solve(fisher, gradient)
    step = direction * np.sqrt(2 * radius / (direction @ fisher @ direction))
    np.testing.assert_allclose(metrics["value_loss"], 1.75 / 2, rtol=1e-5)
    step *= metrics["step_fraction"]
    assert metrics["step_fraction"] >= 0.8
    np.testing.assert_allclose(new["logits"] - PARAMS["logits"], step[:3], rtol=1e-3)
    np.testing.assert_allclose(new["value"] - PARAMS["value"], step[3], rtol=1e-3)


def test_the_natural_gradient_reaches_through_an_adaptation():
    """The same step as by the dense second derivative of the mean KL over `replay`, in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), PARAMS)
        trials = trials_of(ENV, params, [0, 1, 2, 2, 1, 0, 2, 1], num_adapts=2)
        outer = TRPO(baseline="none", credit="episode", phases="last", damping=1e-3, max_kl=1e-5, **PLAIN)
        new, metrics = updated(outer, params, trials)

        flat, unravel = ravel_pytree(params)
        query = trials.phases.action[:, -1]
        advantage = trials.phases.reward[:, -1]

        def policy(x):
            return jax.tree.map(lambda y: y[:, -1], replay(Softmax(), unravel(x), trials).policy)

        def surrogate(x):
            return (policy(x).log_prob(query) * advantage).mean()

        old = policy(flat)
        fisher = jax.jit(jax.hessian(lambda x: old.kl(policy(x)).mean()))(flat) + 1e-3 * np.eye(flat.size)
        direction = np.linalg.solve(fisher, jax.jit(jax.grad(surrogate))(flat))
        step = unravel(direction * np.sqrt(2e-5 / (direction @ fisher @ direction)))
        assert metrics["step_fraction"] >= 0.8
        assert np.abs(step["rate"]) > 1e-6
        for name in ("logits", "rate"):
            np.testing.assert_allclose(
                new[name] - params[name], metrics["step_fraction"] * step[name], rtol=1e-4
            )


@pytest.mark.parametrize("max_kl", [1e-3, 0.1, 10.0])
def test_the_policy_stays_within_the_radius(max_kl, trials):
    new, metrics = updated(TRPO(max_kl=max_kl, **PLAIN), PARAMS, trials)
    old_policy, new_policy = (replay(Softmax(), params, trials).policy for params in (PARAMS, new))
    kl = float(old_policy.kl(new_policy).mean())
    assert metrics["accepted"] == 1
    assert 0 < kl <= float(metrics["kl"]) <= max_kl
    assert metrics["gain"] > 0


def test_steps_lead_to_the_best_arm():
    params = PARAMS
    outer = TRPO(baseline="none", max_kl=0.05)
    for i in range(30):
        probabilities = np.asarray(jax.nn.softmax(params["logits"]), np.float64)
        actions = np.random.default_rng(i).choice(3, size=64, p=probabilities / probabilities.sum())
        params, _ = updated(outer, params, trials_of(ENV, params, actions))
    assert jax.nn.softmax(params["logits"])[1] > 0.9


def test_nothing_to_gain_changes_nothing():
    trials = trials_of(Arms((1.0, 1.0, 1.0)), PARAMS, ACTIONS)
    new, metrics = updated(TRPO(baseline="none"), PARAMS, trials)
    assert metrics["accepted"] == metrics["kl"] == metrics["gain"] == 0
    jax.tree.map(np.testing.assert_array_equal, new, PARAMS)


def test_conjugate_gradients_solve_a_small_system():
    """Three steps for three unknowns, over a tree of parameters."""
    matrix = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.0, 1.0, 2.0]])
    gradient = {"a": jnp.array([1.0, -2.0]), "b": jnp.float32(3.0)}
    flat, unravel = ravel_pytree(gradient)
    step = natural_step(
        lambda v: unravel(jnp.asarray(matrix) @ ravel_pytree(v)[0]), gradient, 0.5, 3, damping=0.5
    )
    damped = matrix + 0.5 * np.eye(3)
    direction = np.linalg.solve(damped, flat)
    np.testing.assert_allclose(ravel_pytree(step)[0], direction / np.sqrt(flat @ direction), rtol=1e-5)


def searched(gain, divergence, num_backtracks=5):
    """From 0 along 1: `gain` and `divergence` are functions of the place."""
    return line_search(
        lambda x: (gain(x), divergence(x)), jnp.zeros(()), jnp.ones(()), 1.0, num_backtracks, 0.5
    )


def test_a_worsening_step_is_refused():
    found = searched(lambda x: -x, lambda x: 0 * x)
    assert not found.accepted
    assert found.params == found.fraction == found.gain == found.divergence == 0


def test_the_first_step_that_gains_within_the_radius_is_taken():
    """The gain 0.3 - x asks for less than 0.3, the divergence 8 x for 0.125 at most."""
    assert searched(lambda x: 0.3 - x, lambda x: 0 * x).params == 0.25
    found = searched(lambda x: 0.3 - x, lambda x: 8 * x)
    assert found.accepted
    assert found.params == found.fraction == 0.125
    np.testing.assert_allclose(found.gain, 0.175)
    assert not searched(lambda x: 0.3 - x, lambda x: 8 * x, num_backtracks=2).accepted


def test_what_is_not_a_number_is_refused():
    assert not searched(lambda x: x * jnp.nan, lambda x: x).accepted


def test_settings_are_checked():
    with pytest.raises(InputError, match=r"TRPO\.backtrack: got 1; expected between 0 and 1"):
        TRPO(backtrack=1)
