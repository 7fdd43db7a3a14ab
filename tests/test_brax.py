"""Brax environments as task families: a factor of 1 is Brax itself, and every factor changes the physics."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.check_env import check_env
from quickstudy.envs import brax_in
from quickstudy.envs.brax_in import CONSTANTS, BraxEnv
from quickstudy.errors import InputError


def needs_brax():
    return pytest.importorskip("brax.envs")


def test_a_factor_of_1_is_brax_itself():
    envs = needs_brax()
    theirs = envs.get_environment("halfcheetah", backend="spring")
    env = BraxEnv("halfcheetah", ("gravity=1,2", "mass=1,2"), "spring", time_limit=5)
    task = {"gravity": jnp.int32(0), "mass": jnp.int32(0)}
    key = jax.random.key(0)
    their_state = jax.jit(theirs.reset)(key)
    state, observation = jax.jit(env.reset)(task, key)
    np.testing.assert_array_equal(observation, their_state.obs)
    their_step, step = jax.jit(theirs.step), jax.jit(env.step)
    for t in range(env.max_steps):
        action = jax.random.uniform(jax.random.fold_in(key, t), (6,), minval=-1, maxval=1)
        their_state = their_step(their_state, action)
        state, outcome = step(task, state, action, key)
        np.testing.assert_allclose(outcome.observation, their_state.obs, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(outcome.reward, their_state.reward, rtol=1e-4, atol=1e-4)
        assert bool(outcome.terminated) == bool(their_state.done)


@pytest.mark.slow
def test_every_factor_changes_the_physics():
    needs_brax()
    env, key = (
        BraxEnv("halfcheetah", tuple(f"{name}=1,1.5" for name in CONSTANTS), time_limit=5),
        jax.random.key(0),
    )

    @jax.jit
    def after_three_steps(task):
        state, _ = env.reset(task, key)
        body = lambda state, _: (lambda after: (after[0], after[1].observation))(  # noqa: E731
            env.step(task, state, jnp.ones(6), key)
        )
        return jax.lax.scan(body, state, length=3)[1][-1]

    shipped = {name: jnp.int32(0) for name in CONSTANTS}
    for name in CONSTANTS:
        changed = after_three_steps(shipped | {name: jnp.int32(1)})
        assert not np.allclose(changed, after_three_steps(shipped), atol=1e-5), name


@pytest.mark.slow
def test_check_env_finds_nothing():
    needs_brax()
    assert (
        check_env(BraxEnv("inverted_pendulum", ("gravity=0.5:1.5", "gear=0.5:1.5"), "spring", time_limit=20))
        == []
    )


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"tasks": ("gravty=1:2",)}, "gravity"),
        ({"backend": "bullet"}, "spring"),
        ({"time_limit": 0}, "at least 1"),
    ],
)
def test_what_is_wrong_is_said(wrong, match):
    with pytest.raises(InputError, match=match):
        BraxEnv(**wrong)


def test_an_unknown_body_is_said_with_the_nearest():
    needs_brax()
    with pytest.raises(InputError, match="halfcheetah"):
        _ = BraxEnv("halfcheeta").observation_space


def test_a_missing_package_is_one_line(monkeypatch):
    brax_in._made.cache_clear()
    monkeypatch.setitem(sys.modules, "brax.envs", None)
    with pytest.raises(InputError, match=r"quickstudy\[brax\]"):
        _ = BraxEnv(time_limit=3).observation_space
