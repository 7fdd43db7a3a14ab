"""The learned optimizer: what it reads, how it begins, and what each weight's network keeps to itself."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.learned_optimizer import LearnedOptimizer, preprocessed
from quickstudy.agents.maml import MAML
from quickstudy.errors import InputError
from tests.gradient_checks import SMALL, check_meta_gradient, first_phase, lived
from tests.probes import ContinuousProbe, DiscreteProbe

AGENT = LearnedOptimizer(**SMALL, optimizer_size=5)
ENVS = {"discrete": DiscreteProbe(), "continuous": ContinuousProbe()}
QUICK = {("discrete", 3, "linear")}
ROWS = [
    pytest.param(
        env, num_adapts, baseline, marks=() if (env, num_adapts, baseline) in QUICK else pytest.mark.slow
    )
    for env in ENVS
    for num_adapts in (1, 3)
    for baseline in ("linear", "critic")
]


@pytest.mark.parametrize(("env", "num_adapts", "baseline"), ROWS)
def test_meta_gradient(env, num_adapts, baseline):
    """With one adaptation every state is 0 when it is read."""
    without = {".optimizer.core.w_hidden"} if num_adapts == 1 else ()
    check_meta_gradient(dataclasses.replace(AGENT, baseline=baseline), ENVS[env], num_adapts, without)


@functools.cache
def begun():
    """Meta-parameters, what a task begins with, and a phase."""
    meta_params, trials = lived(AGENT, ENVS["discrete"], 1)
    return meta_params, AGENT.init_task(meta_params, jax.random.key(0)), first_phase(trials)


adapt = jax.jit(lambda agent, *rest: agent.adapt(*rest, jax.random.key(1)), static_argnums=0)


def test_gradients_are_read_by_size_and_sign():
    """The two cases of the paper, which meet at e^-10."""
    g = jnp.array([1.0, -math.exp(-5), 1e-7, 0.0, -20.0])
    expected = [[0, 1], [-0.5, -1], [-1, 1e-7 * math.exp(10)], [-1, 0], [math.log(20) / 10, -1]]
    np.testing.assert_allclose(preprocessed(g), expected, atol=1e-4)


def test_without_its_network_it_is_gradient_descent():
    meta_params, task_params, phase = begun()
    silent = meta_params._replace(optimizer=meta_params.optimizer._replace(log_scale=jnp.float32(-100.0)))
    maml = MAML(**SMALL)
    expected = adapt(maml, meta_params.start, maml.init_task(meta_params.start, jax.random.key(0)), phase)
    found = adapt(AGENT, silent, task_params, phase)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), found.adapted.network, expected.adapted
    )


def test_weights_with_the_same_gradients_move_alike():
    meta_params, task_params, _ = begun()
    gradient = task_params.adapted._replace(
        network=jax.tree.map(lambda x: jnp.full_like(x, 0.3), task_params.adapted.network)
    )
    moved = AGENT.move(meta_params, task_params.adapted, gradient, jnp.float32(AGENT.inner_rate))
    steps = jax.tree.map(lambda a, b: (a - b).ravel(), task_params.adapted.network, moved.network)
    steps = np.concatenate(jax.tree.leaves(steps))
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)
    assert abs(steps[0] - 0.1 * 0.3) > 1e-6
    np.testing.assert_allclose(moved.states, np.tile(moved.states[0], (len(steps), 1)), atol=1e-6)


def test_states_are_kept_over_adaptations():
    meta_params, task_params, phase = begun()
    once = adapt(AGENT, meta_params, task_params, phase)
    forgotten = once._replace(adapted=once.adapted._replace(states=jnp.zeros_like(once.adapted.states)))
    heads = [adapt(AGENT, meta_params, x, phase).adapted.network.head.linear.weight for x in (once, forgotten)]
    assert np.abs(once.adapted.states).max() > 0
    assert not np.array_equal(*heads)


def test_first_weights_may_stay_as_they_are():
    """A gradient then reaches the optimizer alone."""
    agent = dataclasses.replace(AGENT, learn_start=False)
    meta_params, _, phase = begun()

    def loss(meta_params):
        learned = agent.adapt(
            meta_params, agent.init_task(meta_params, jax.random.key(0)), phase, jax.random.key(1)
        )
        return agent.loss(meta_params, learned.adapted, agent.judge(phase), learned.num_adapts)

    gradient = jax.jit(jax.grad(loss))(meta_params)
    assert all(not x.any() for x in jax.tree.leaves(gradient.start))
    assert abs(gradient.optimizer.rate) > 0


def test_settings_are_checked():
    with pytest.raises(InputError, match=r"LearnedOptimizer\.inner_rate: got 0; expected above 0"):
        LearnedOptimizer(inner_rate=0)
