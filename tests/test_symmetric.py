"""Symmetric: what the actions are called changes nothing, and their number no weight."""

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.agents.symmetric import Symmetric
from quickstudy.envs.bandit import Bandit
from quickstudy.types import TimeStep, TrialShape

AGENT, TRIAL, STEPS = Symmetric(hidden_size=4), TrialShape(num_episodes=6), 6
ACTIONS, REWARDS = jnp.array([0, 2, 1, 1, 0, 2]), jnp.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])


def says(num_arms, actions, rewards=REWARDS):
    env = Bandit(num_arms=num_arms)
    params = AGENT.init(env, TRIAL, jax.random.key(0))
    observations = jnp.zeros(STEPS, jnp.int32)
    steps = TimeStep(observations, actions, rewards, jnp.ones(STEPS, bool))
    return AGENT.unroll(params, (), AGENT.init_memory(params, ()), steps)


def test_other_names_for_the_actions_change_nothing_but_the_names():
    names = jnp.array([2, 0, 1])
    plain, renamed = says(3, ACTIONS), says(3, names[ACTIONS])
    np.testing.assert_allclose(renamed.policy.logits[:, names], plain.policy.logits, atol=1e-6)
    np.testing.assert_allclose(renamed.value, plain.value, atol=1e-6)
    # What was done and earned does matter.
    assert np.ptp(np.asarray(plain.policy.logits[-1])) > 1e-4


def test_actions_that_were_never_taken_are_equal():
    logits = says(5, ACTIONS).policy.logits
    np.testing.assert_allclose(logits[:, 3], logits[:, 4], atol=1e-7)
    assert not np.allclose(logits[-1, 0], logits[-1, 3])


def test_at_the_start_of_a_trial_there_was_no_last_action():
    """The zeros that stand in its place are no choice of action 0."""
    logits = says(3, ACTIONS).policy.logits[0]
    np.testing.assert_allclose(logits, logits[0], atol=1e-7)


def test_the_weights_fit_any_number_of_actions():
    few, many = (AGENT.init(Bandit(num_arms=k), TRIAL, jax.random.key(0)) for k in (2, 20))
    assert jax.tree.map(jnp.shape, jax.tree.leaves(few)) == jax.tree.map(jnp.shape, jax.tree.leaves(many))
