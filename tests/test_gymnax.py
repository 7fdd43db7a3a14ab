"""gymnax environments as task families: equal to gymnax itself, constants as tasks."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.check_env import check_env
from quickstudy.envs import gymnax_in
from quickstudy.envs.gymnax_in import GymnaxEnv
from quickstudy.errors import InputError

FAMILIES = [
    GymnaxEnv(time_limit=40),
    GymnaxEnv("Pendulum-v1", ("g=5:15", "m=0.5,1,2"), time_limit=20),
    GymnaxEnv("Acrobot-v1", ("link_length_1=0.5:1.5",), time_limit=20),
]


@pytest.mark.parametrize("env", FAMILIES, ids=lambda env: env.id)
def test_equal_to_gymnax_step_by_step(env):
    gymnax = pytest.importorskip("gymnax")
    theirs, params = gymnax.make(env.id)
    task, key = env.sample_task(jax.random.key(0)), jax.random.key(1)
    given = gymnax_in.arrays_of(env.tasks, task)
    if env.id == "CartPole-v1":
        given["polemass_length"] = params.masspole * given["length"]
    params = params.replace(**given)
    seen, their_state = theirs.reset_env(key, params)
    state, observation = env.reset(task, key)
    np.testing.assert_array_equal(observation, seen)
    step, t = jax.jit(env.step), 0
    for t in range(env.max_steps):
        k_action, k_step = jax.random.split(jax.random.fold_in(key, t))
        action = theirs.action_space(params).sample(k_action)
        seen, their_state, reward, terminated, _ = theirs.step_env(k_step, their_state, action, params)
        state, outcome = step(task, state, action, k_step)
        np.testing.assert_allclose(outcome.observation, seen, atol=1e-4)
        np.testing.assert_allclose(outcome.reward, reward, atol=1e-4)
        assert bool(outcome.terminated) == bool(terminated)
        if terminated:
            break
    assert t > 5


@pytest.mark.parametrize(
    "env", [*FAMILIES, GymnaxEnv("MountainCarContinuous-v0", ("power=0.001:0.003",), 30)], ids=str
)
def test_check_env_finds_nothing(env):
    pytest.importorskip("gymnax")
    sparse = {"reward"} if env.id.startswith("Acrobot") else set()
    assert {finding.about for finding in check_env(env)} <= sparse


def test_the_limit_is_the_engine_s():
    pytest.importorskip("gymnax")
    env = GymnaxEnv("Pendulum-v1", ("g=5:15",))
    assert env.max_steps == 200
    task, key = env.sample_task(jax.random.key(0)), jax.random.key(1)
    state, _ = env.reset(task, key)
    _, ends = jax.lax.scan(
        lambda state, _: (lambda after: (after[0], after[1].terminated))(
            env.step(task, state, jnp.zeros(1), key)
        ),
        state,
        length=300,
    )
    assert not ends.any()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"id": "CartPole-v9"}, "CartPole-v1"),
        ({"tasks": ("lenght=1:2",)}, "length"),
        ({"time_limit": 0}, "at least 1"),
    ],
)
def test_what_is_wrong_is_said(wrong, match):
    pytest.importorskip("gymnax")
    with pytest.raises(InputError, match=match):
        _ = GymnaxEnv(**wrong).observation_space


def test_a_missing_package_is_one_line(monkeypatch):
    gymnax_in._made.cache_clear()
    monkeypatch.setitem(sys.modules, "gymnax", None)
    with pytest.raises(InputError, match=r"quickstudy\[gymnax\]"):
        _ = GymnaxEnv(time_limit=7).observation_space
