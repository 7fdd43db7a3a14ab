"""An agent that takes the mode of its policy: what it does, what it says of it."""

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys
from quickstudy.agents.rl2 import RL2
from quickstudy.envs.bandit import Bandit
from quickstudy.greedy import Greedy, Mode
from quickstudy.nets.distributions import Categorical, MultiCategorical, Normal
from quickstudy.references.random_agent import Random
from quickstudy.registry import innermost
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TrialShape

REPLAY = jax.jit(replay, static_argnums=0)


def test_it_takes_the_mode_and_replays():
    agent, env, trial = Greedy(RL2(hidden_size=4)), Bandit(3), TrialShape(num_episodes=4)
    params = jax.jit(lambda key: agent.init(env, trial, key))(jax.random.key(0))
    task_keys, trial_keys = keys.per_task(jax.random.key(1), np.arange(5))
    tasks = jax.jit(lambda keys: sample_tasks(env, keys))(task_keys)
    trials = jax.jit(collect, static_argnums=(0, 1, 2))(agent, env, trial, params, tasks, trial_keys)
    recorded = trials.phases
    np.testing.assert_array_equal(recorded.log_prob, 0.0)
    said = REPLAY(agent, params, trials)
    np.testing.assert_array_equal(said.policy.log_prob(recorded.action), recorded.log_prob)
    inner = REPLAY(agent.agent, params, trials)
    np.testing.assert_array_equal(recorded.action, inner.policy.mode())


def test_the_modes_distribution():
    for policy, other in (
        (Categorical(jnp.array([[0.0, 2.0], [3.0, 0.0]])), jnp.array([1, 1])),
        (
            MultiCategorical(jnp.array([[0.0, 2.0, 1.0, 0.0], [2.0, 0.0, 1.0, 0.0]]), (2, 2)),
            jnp.array([[1, 0], [0, 1]]),
        ),
        (Normal(jnp.zeros((2, 3)), jnp.zeros((2, 3))), jnp.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])),
    ):
        mode = Mode(policy)
        np.testing.assert_array_equal(mode.sample(jax.random.key(0)), policy.mode())
        np.testing.assert_array_equal(mode.log_prob(other), [0.0, -np.inf])
        np.testing.assert_array_equal(mode.entropy(), [0.0, 0.0])
        np.testing.assert_array_equal(mode.kl(mode), [0.0, 0.0])


def test_it_is_a_setting_around_an_agent():
    agent = Random()
    assert innermost(Greedy(agent)) is agent
    assert not hasattr(Greedy(agent), "unroll")
    assert hasattr(Greedy(RL2()), "unroll")
