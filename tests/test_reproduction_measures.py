"""What a reproduction measures beside returns: exact optimality in the room, the signature of choices."""

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.envs.grid_navigation import GridNavigation
from quickstudy.evaluation import initial_params
from quickstudy.references.grid_bayes import GridBayes
from quickstudy.references.random_agent import Random
from quickstudy.reproduction.model_free import ModelFree
from quickstudy.reproduction.optimality import RELATIVE_TOLERANCE, optimality
from quickstudy.reproduction.rows import optimality_words
from quickstudy.reproduction.signature import EFFECTS, KINDS, stays, told
from quickstudy.types import TimeStep, Transition, TrialShape


def test_exactly_optimal_in_the_room():
    env, trial = GridNavigation(), TrialShape(num_episodes=4)
    agent = GridBayes()
    found = optimality(agent, env, trial, initial_params(agent, env, trial, 0))
    assert found["exactly_optimal"]
    assert found["num_tasks"] == 21
    np.testing.assert_allclose(found["cumulative"], [4.000, 15.071, 26.143, 37.214], atol=6e-4)
    # The mode of a random agent is to stay, where no goal is.
    agent = Random()
    found = optimality(agent, env, trial, initial_params(agent, env, trial, 0))
    assert not found["exactly_optimal"]
    np.testing.assert_allclose(found["cumulative"], [-1.5, -3.0, -4.5, -6.0], atol=1e-4)


def test_the_tolerance_sees_one_late_entry():
    assert 37.214 * RELATIVE_TOLERANCE < 1.1 / 21


def test_optimality_in_words():
    told = {"count": 1, "of": 2, "published": {"varibad": {"count": 4, "of": 20}}}
    words = "Acting greedily, 1 of our 2 seeds is exactly Bayes-optimal (published: varibad 4 of 20)."
    assert optimality_words(told) == words


def test_stays_by_hand():
    # Choices 0, 0, 1 lead to places 1 (common), 2 (rare), 2, and pay 1, 0, 1.
    zero = jnp.zeros((1, 1, 1, 6))
    timestep = TimeStep(jnp.array([[[[0, 1, 0, 2, 0, 2]]]]), zero, zero, zero)
    action = jnp.array([[[[0, 0, 0, 1, 1, 1]]]])
    reward = jnp.array([[[[0.0, 1.0, 0.0, 0.0, 0.0, 1.0]]]])
    phases = Transition(timestep, action, reward, zero, zero, zero, zero, zero, zero, zero, zero, {})
    counted, stayed = stays(phases, num_choices=3)
    np.testing.assert_array_equal(counted, [[1, 0, 0, 1]])
    np.testing.assert_array_equal(stayed, [[1, 0, 0, 0]])


def test_signature_by_hand():
    counted = np.array([[4.0, 2.0, 2.0, 2.0], [4.0, 2.0, 2.0, 2.0]])
    found = told(counted, np.array([[4.0, 1.0, 0.0, 2.0], [2.0, 1.0, 0.0, 2.0]]))
    assert [found[name]["mean"] for name in KINDS] == [0.75, 0.5, 0.0, 1.0]
    assert found["rewarded, common"]["low"] < 0.75 < found["rewarded, common"]["high"]
    assert [found[name]["mean"] for name in EFFECTS] == [0.125, 0.625]
    # A kind that never came is not known, and neither are the effects; the others are.
    counted[:, 3] = 0.0
    found = told(counted, np.minimum(counted, 1.0))
    assert np.isnan(found["unrewarded, rare"]["mean"])
    assert np.isnan(found["interaction"]["mean"])
    assert found["rewarded, common"]["mean"] == 0.25


def test_model_free_learns_of_the_choice_alone():
    agent = ModelFree(learning_rate=0.25)
    memory = agent.init_memory((), ())
    key = jax.random.key(0)

    def see(memory, place, action, reward):
        timestep = TimeStep(jnp.int32(place), jnp.int32(action), jnp.float32(reward), jnp.bool_(False))
        return agent.step((), (), memory, timestep, key)[1]

    # Choice 1 led to place 1, a rare transition, and was rewarded.
    memory = see(see(see(memory, 0, 0, 0.0), 1, 1, 0.0), 0, 0, 1.0)
    np.testing.assert_allclose(memory.choices, [0.5, 0.625])
