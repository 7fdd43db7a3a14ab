"""Ordinary policy gradients within one task: what they learn from, by hand; what they learn, in probes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys, lives
from quickstudy.agents.a2c import A2C
from quickstudy.agents.ppo import PPO, minibatches
from quickstudy.agents.reinforce import REINFORCE
from quickstudy.agents.trpo import TRPO
from quickstudy.errors import InputError
from quickstudy.lives import LifeShape
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import TrialShape
from tests.probes import ContinuousProbe, DiscreteProbe

SMALL = {"hidden_sizes": (8, 8), "learning_rate": 1e-2}
AGENTS = {
    "reinforce": REINFORCE(**SMALL),
    "a2c": A2C(**SMALL),
    "ppo": PPO(**SMALL, num_epochs=2, num_minibatches=2),
    "trpo": TRPO(**SMALL, max_kl=0.05, num_epochs=5),
}
LENGTH = 6


@pytest.fixture(scope="module")
def lived():
    """A learner and the phase [2, 6] of one task."""
    agent, env, trial = AGENTS["ppo"], DiscreteProbe(), TrialShape(1, 2, 2)
    task_keys, trial_keys = keys.per_task(jax.random.key(0), jnp.arange(1))
    meta_params = agent.init(env, trial, jax.random.key(1))
    trials = collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)
    phase = jax.tree.map(lambda x: x[0, 0, :, :LENGTH], trials.phases)
    return meta_params, agent.init_task(meta_params, jax.random.key(2)), phase


def of_one_episode(phase, *, terminated, truncated, reward):
    """The same observations as six steps whose ends and rewards are told."""
    flags = [np.zeros((2, LENGTH), bool) for _ in range(2)]
    for where, flag in zip((terminated, truncated), flags, strict=True):
        flag[:, where] = True
    done = flags[0] | flags[1]
    first = np.concatenate([np.ones((2, 1), bool), done[:, :-1]], axis=1)
    return phase._replace(
        timestep=phase.timestep._replace(first=jnp.asarray(first)),
        terminated=jnp.asarray(flags[0]),
        truncated=jnp.asarray(flags[1]),
        reward=jnp.broadcast_to(jnp.asarray(reward, jnp.float32), (2, LENGTH)),
        mask=jnp.ones((2, LENGTH), bool),
        next_value=jnp.where(jnp.asarray(flags[1]), 5.0, 0.0),
        value=jnp.broadcast_to(jnp.arange(LENGTH, dtype=jnp.float32), (2, LENGTH)),
    )


def test_targets_by_hand(lived):
    """λ = 0: R_t = r_t + γ v_{t+1}; v behind a termination is 0, behind a cut as recorded, behind the phase's
    last step what the critic says.
    """
    meta_params, learner, phase = lived
    agent = dataclasses.replace(AGENTS["ppo"], gae_lambda=0.0, discount=0.9)
    told = of_one_episode(phase, terminated=[1], truncated=[3], reward=1.0)
    steps = agent.judge(meta_params, learner, told)
    behind = jax.vmap(lambda o: learner.weights(o)[1])(told.next_observation[:, -1])
    expected = np.array([[1.9, 1.0, 3.7, 5.5, 5.5, 1 + 0.9 * float(v)] for v in behind])
    np.testing.assert_allclose(steps.target, expected.reshape(-1), rtol=1e-6)
    np.testing.assert_allclose(steps.advantage, steps.target - np.tile(np.arange(6.0), 2), rtol=1e-5, atol=1e-5)


def test_reinforce_counts_what_is_over(lived):
    meta_params, learner, phase = lived
    agent = dataclasses.replace(AGENTS["reinforce"], discount=0.5)
    told = of_one_episode(phase, terminated=[1], truncated=[4], reward=[1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    steps = agent.judge(meta_params, learner, told)
    np.testing.assert_array_equal(steps.mask, np.tile([1.0, 1, 1, 1, 1, 0], 2))
    np.testing.assert_allclose(steps.advantage * steps.mask, np.tile([2.0, 2, 12, 16, 16, 0], 2))


@pytest.mark.parametrize("name", AGENTS)
def test_padding_counts_for_nothing(lived, name):
    """What lies behind a phase's last episode may be anything."""
    agent = dataclasses.replace(AGENTS[name], normalise_rewards=True, normalise_observations=True)
    if name == "ppo":
        # One minibatch: with several, where the padding lies decides what they are made of.
        agent = dataclasses.replace(agent, num_minibatches=1)
    meta_params, _, phase = lived
    learner = agent.init_task(meta_params, jax.random.key(2))
    told = of_one_episode(phase, terminated=[1, 3], truncated=[], reward=1.0)
    told = told._replace(mask=told.mask.at[:, 4:].set(False))
    other = told._replace(
        reward=told.reward.at[:, 4:].add(100.0),
        action=told.action.at[:, 4:].set(0),
        next_observation=told.next_observation.at[:, 4:].add(7.0),
        timestep=told.timestep._replace(observation=told.timestep.observation.at[:, 4:].add(3.0)),
    )
    adapt = jax.jit(agent.adapt)
    one, two = (adapt(meta_params, learner, phase, jax.random.key(3)) for phase in (told, other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, two)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), one.weights, learner.weights)
    assert max(jax.tree.leaves(moved)) > 0


def test_rewards_are_scaled_by_what_was_earned(lived):
    agent = dataclasses.replace(AGENTS["a2c"], normalise_rewards=True, discount=0.5)
    meta_params, _, phase = lived
    learner = agent.init_task(meta_params, jax.random.key(2))
    told = of_one_episode(phase, terminated=[2, 5], truncated=[], reward=4.0)
    learner = agent.adapt(meta_params, learner, told, jax.random.key(3))
    assert learner.earned is not None
    # 4, 6, 7, 4, 6, 7 in both streams.
    np.testing.assert_allclose(learner.earned.mean, 17 / 3, rtol=1e-6)
    np.testing.assert_allclose(learner.earned.variance, np.var([4.0, 6, 7]), rtol=1e-5)
    flat = of_one_episode(phase, terminated=range(6), truncated=[], reward=4.0)._replace(
        value=jnp.zeros((2, LENGTH))
    )
    steps = agent.judge(meta_params, learner, flat)
    np.testing.assert_allclose(steps.target, np.full(12, 4 / np.std([4.0, 6, 7])), rtol=1e-5)


def test_every_step_is_in_one_minibatch_of_an_epoch():
    rows = np.asarray(minibatches(12, 3, 4, jax.random.key(0))).reshape(3, 12)
    np.testing.assert_array_equal(np.sort(rows, axis=1), np.tile(np.arange(12), (3, 1)))
    assert not np.array_equal(rows[0], rows[1])
    with pytest.raises(InputError, match="num_minibatches: got 13; expected at most the 12 steps"):
        minibatches(12, 1, 13, jax.random.key(0))


def test_trpo_stays_in_its_trust_region(lived):
    agent = dataclasses.replace(AGENTS["trpo"], max_kl=1e-3)
    meta_params, learner, phase = lived
    told = of_one_episode(phase, terminated=[1, 3, 5], truncated=[], reward=[1.0, 0, 1, 0, 1, 0])
    steps = agent.judge(meta_params, learner, told)
    after = agent.learn(meta_params, learner, steps, jnp.float32(0), jax.random.key(3))
    old, new = (jax.vmap(x.weights)(steps.observation)[0] for x in (learner, after))
    assert 1e-5 < float(old.kl(new).mean()) <= 1e-3


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a2c", "discrete"),
        ("ppo", "continuous"),
        pytest.param("reinforce", "discrete", marks=pytest.mark.slow),
        pytest.param("trpo", "discrete", marks=pytest.mark.slow),
        pytest.param("ppo", "discrete", marks=pytest.mark.slow),
        pytest.param("trpo", "continuous", marks=pytest.mark.slow),
    ],
)
def test_they_learn_in_probes(name, kind):
    """The task's action is found, whatever the observation: 1 a step, or next to no error."""
    env = DiscreteProbe() if kind == "discrete" else ContinuousProbe()
    shape = LifeShape(num_adapts=150, num_streams=8, num_steps=8)
    agent = AGENTS[name]
    task_keys, life_keys = keys.per_task(jax.random.key(3), jnp.arange(4))
    tasks = sample_tasks(env, task_keys)
    meta_params = agent.init(env, lives.as_trial(shape, env), jax.random.key(4))
    life = lives.begin(agent, env, shape, meta_params, tasks, life_keys)
    before = lives.examine(agent, env, meta_params, life.task_params, tasks, life_keys, 50)
    life, _ = lives.live(agent, env, shape, meta_params, life, shape.num_adapts)
    after = lives.examine(agent, env, meta_params, life.task_params, tasks, life_keys, 50)
    if kind == "discrete":
        # An episode's length is drawn, the same for all learners: (1 - 0.8⁴) / 0.2 steps on average.
        assert float(after.returns.mean(1).min()) > 2.7
    else:
        assert float(after.returns.mean(1).min()) > -0.3
        assert float(before.returns.mean()) < -1.0
