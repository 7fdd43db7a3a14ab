"""Evolution strategies: the population, its ranks, and the direction that they give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.errors import InputError
from quickstudy.experiment import Experiment
from quickstudy.outer.evolution import Evolution, centred_ranks
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates
from tests.one_state import Arms, Softmax, trials_of

PARAMS = {"a": jnp.arange(3.0), "b": jnp.ones(())}
ENV = Arms((0.0, 1.0))


def state_of(outer, params=PARAMS):
    return outer.init(Softmax(), params, jax.random.key(3))


def trials_that_pay(rewards):
    """Trials [N] of one step with these rewards, whatever was done in them."""
    rewards = jnp.asarray(rewards, jnp.float32)
    trials = trials_of(ENV, Softmax().init(ENV, TrialShape(), jax.random.key(0)), np.zeros(len(rewards), int))
    return trials._replace(phases=trials.phases._replace(reward=rewards[:, None, None, None]))


@functools.partial(jax.jit, static_argnums=0)
def update(outer, state, trials, progress=0.5):
    return outer.update(Softmax(), state, trials, jnp.float32(progress), jax.random.key(4))


def test_centred_ranks_by_hand():
    np.testing.assert_allclose(centred_ranks(jnp.array([5.0, -1.0, 2.0])), [0.5, -0.5, 0.0])
    # The two ones share the ranks 1 and 2.
    np.testing.assert_allclose(
        centred_ranks(jnp.array([3.0, 1.0, 1.0, 2.0])), [1 / 2, -1 / 3, -1 / 3, 1 / 6], rtol=1e-6
    )
    np.testing.assert_array_equal(centred_ranks(jnp.ones(4)), np.zeros(4))


def test_members_are_pairs_around_the_centre():
    outer = Evolution(population_size=2000, sigma=0.3)
    state = state_of(outer)
    members = outer.propose(Softmax(), state)
    for name, centre in PARAMS.items():
        plus, minus = np.split(np.asarray(members[name]), 2)
        np.testing.assert_allclose(plus - centre, centre - minus, atol=1e-6)
        np.testing.assert_allclose((plus - centre).std(axis=0), 0.3, rtol=0.1)
    again = outer.propose(Softmax(), state)
    jax.tree.map(np.testing.assert_array_equal, members, again)
    after = outer.propose(Softmax(), update(outer, state, trials_that_pay(np.arange(2000)))[0])
    assert not np.array_equal(after["a"] - after["a"].mean(axis=0), members["a"] - members["a"].mean(axis=0))


def test_the_estimate_points_along_the_gradient_of_a_linear_fitness():
    """8000 pairs in 4 dimensions: the cosine's expected loss is about 2e-4."""
    outer = Evolution(population_size=16_000, sigma=0.1, learning_rate=0.02, schedule="constant")
    state = state_of(outer)
    slope = {"a": np.array([1.0, -2.0, 0.5]), "b": 1.5}
    members = outer.propose(Softmax(), state)
    fitness = members["a"] @ slope["a"] + members["b"] * slope["b"]
    estimate = outer._gradient(state, centred_ranks(fitness))
    found, true = np.append(estimate["a"], estimate["b"]), np.append(slope["a"], slope["b"])
    assert found @ true / np.linalg.norm(found) / np.linalg.norm(true) > 0.998
    # Adam's first step is the learning rate in the direction of each sign.
    new, metrics = update(outer, state, trials_that_pay(fitness))
    np.testing.assert_allclose(new.meta_params["a"] - PARAMS["a"], 0.02 * np.sign(slope["a"]), rtol=1e-3)
    np.testing.assert_allclose(metrics["update_norm"], 0.04, rtol=1e-3)
    np.testing.assert_allclose(metrics["best_fitness"], fitness.max(), rtol=1e-5)


def test_fitness_is_a_members_mean_return():
    """Two members of three tasks each; phases of 1 and of what the task pays."""
    trials = trials_that_pay([1, 2, 3, 10, 20, 30])
    phases = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=1), trials.phases)
    trials = trials._replace(phases=phases._replace(reward=phases.reward.at[:, 0].set(1.0)))
    np.testing.assert_allclose(Evolution(population_size=2).fitness(trials), [3, 21])
    np.testing.assert_allclose(Evolution(population_size=2, phases="last").fitness(trials), [2, 20])
    hidden = phases._replace(mask=phases.mask.at[:, 1].set(False), reward=trials.phases.reward)
    np.testing.assert_allclose(Evolution(population_size=2).fitness(trials._replace(phases=hidden)), [1, 1])


def test_equal_members_move_nothing_and_decay_does():
    trials = trials_that_pay(np.ones(4))
    outer = Evolution(population_size=4)
    still, metrics = update(outer, state_of(outer), trials)
    jax.tree.map(np.testing.assert_array_equal, still.meta_params, PARAMS)
    assert metrics["update_norm"] == 0
    outer = Evolution(population_size=4, weight_decay=0.1, learning_rate=0.02, schedule="constant")
    smaller, _ = update(outer, state_of(outer), trials)
    np.testing.assert_allclose(smaller.meta_params["a"], [0, 0.98, 1.98], atol=1e-5)


def test_sigma_falls_along_the_schedule():
    outer = Evolution(population_size=4, sigma=0.4, final_sigma=0.2)
    state, metrics = update(outer, state_of(outer), trials_that_pay(np.arange(4)), progress=0.5)
    np.testing.assert_allclose([metrics["sigma"], state.sigma], [0.4, 0.3], rtol=1e-6)


def test_it_learns_which_arm_pays():
    """By the training loop, whose members in a pair meet the same tasks."""
    outer = Evolution(population_size=32)
    experiment = Experiment(
        Softmax(), ENV, outer, TrialShape(num_episodes=8), num_tasks=64, num_updates=60, num_test_tasks=10
    )
    state, _ = run_updates(experiment, init_state(experiment), 60)
    assert jax.nn.softmax(state.outer.meta_params["logits"])[1] > 0.9


def test_what_does_not_fit_says_so():
    trials = trials_that_pay(np.ones(5))
    with pytest.raises(InputError, match=r"num_tasks: got 5; expected a multiple of outer\.population_size, 4"):
        Evolution(population_size=4).fitness(trials)
    with pytest.raises(InputError, match=r"Evolution\.population_size: got 3; expected an even number"):
        Evolution(population_size=3)
