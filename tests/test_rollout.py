"""The engine against what can be foretold by hand, and the advantages against hand-computed numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys
from quickstudy.agents.rl2 import RL2
from quickstudy.maths.returns import generalised_advantages
from quickstudy.outer.ppo import PPO
from quickstudy.rollout import collect, episode_index, episode_returns, sample_tasks
from quickstudy.types import TimeStep, TrialShape
from tests.probes import CountProbe, DiscreteProbe

EPISODES = 3


@pytest.fixture(scope="module")
def counted():
    """One stream in each of the tasks 1, 2 and 3 of `CountProbe`: T = 6."""
    agent, env, trial = RL2(hidden_size=8), CountProbe(), TrialShape(num_episodes=EPISODES)
    meta_params = agent.init(env, trial, jax.random.key(0))
    trials = collect(
        agent, env, trial, meta_params, jnp.array([1, 2, 3]), jax.random.split(jax.random.key(1), 3)
    )
    return meta_params, trials, jax.tree.map(lambda x: x[:, 0, 0], trials.phases)


def test_rewards_and_ends(counted):
    recorded = counted[2]
    np.testing.assert_array_equal(recorded.reward, [[1] * 6, [2, 4] * 3, [3, 6] * 3])
    np.testing.assert_array_equal(recorded.terminated, [[True] * 6, [False, True] * 3, [False] * 6])
    np.testing.assert_array_equal(recorded.truncated, [[False] * 6, [False] * 6, [False, True] * 3])


def test_episodes_behind_the_budget_are_masked(counted):
    recorded = counted[2]
    np.testing.assert_array_equal(recorded.mask, [[True] * 3 + [False] * 3, [True] * 6, [True] * 6])
    np.testing.assert_array_equal(episode_index(recorded)[1], [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(episode_returns(recorded, EPISODES), [[1, 1, 1], [6, 6, 6], [9, 9, 9]])


def test_the_agent_sees_the_past_and_the_reset(counted):
    """o_t, a_{t-1}, r_{t-1}, first; the observation before the reset stands in next_observation."""
    timestep, recorded = counted[2].timestep, counted[2]
    np.testing.assert_array_equal(timestep.observation[2, :, 0], [0, 1, 0, 1, 0, 1])
    np.testing.assert_array_equal(recorded.next_observation[2, :, 0], [1, 2, 1, 2, 1, 2])
    np.testing.assert_array_equal(timestep.reward[2], [0, 3, 6, 3, 6, 3])
    np.testing.assert_array_equal(timestep.first[2], [True, False] * 3)
    np.testing.assert_array_equal(timestep.action[:, 0], [0, 0, 0])
    np.testing.assert_array_equal(timestep.action[:, 1:], recorded.action[:, :-1])


def test_value_behind_a_cut_is_of_the_observation_before_the_reset(counted):
    meta_params, trials, recorded = counted
    agent = RL2(hidden_size=8)
    assert (np.asarray(recorded.next_value)[~np.asarray(recorded.truncated)] == 0).all()
    steps = jax.tree.map(lambda x: x[2], recorded)
    memory = agent.init_memory(meta_params, ())
    for t in range(2):
        timestep = jax.tree.map(lambda x, t=t: x[t], steps.timestep)
        _, memory = agent.step(meta_params, (), memory, timestep, trials.key[0])
    behind = TimeStep(steps.next_observation[1], steps.action[1], steps.reward[1], jnp.array(False))
    expected = agent.step(meta_params, (), memory, behind, trials.key[0])[0].value
    np.testing.assert_allclose(steps.next_value[1], expected, atol=1e-6)


def test_engine_equals_a_plain_loop():
    """The same keys, one environment, one step at a time, resets by hand."""
    from quickstudy.trial_keys import ACTION, AGENT, ENV, RESET, reset_key, step_key, stream_keys_of

    agent, env, trial = RL2(hidden_size=8), DiscreteProbe(), TrialShape(num_episodes=4)
    meta_params = agent.init(env, trial, jax.random.key(3))
    task_keys, trial_keys = keys.per_task(jax.random.key(4), np.arange(5))
    tasks = sample_tasks(env, task_keys)
    batch = collect(agent, env, trial, meta_params, tasks, trial_keys)
    for i in range(5):
        key = stream_keys_of(trial_keys[i], 0, 1)[0]
        state, observation = env.reset(tasks[i], reset_key(key))
        memory, count = agent.init_memory(meta_params, ()), 0
        timestep = TimeStep(observation, jnp.int32(0), jnp.float32(0), jnp.array(True))
        for t in range(trial.num_steps(env)):
            k_agent, k_sample, k_env, k_reset = (step_key(key, t, i) for i in (AGENT, ACTION, ENV, RESET))
            output, memory = agent.step(meta_params, (), memory, timestep, k_agent)
            action = output.policy.sample(k_sample)
            state, outcome = env.step(tasks[i], state, action, k_env)
            count += 1
            done = bool(outcome.terminated) or count == env.max_steps
            recorded = jax.tree.map(lambda x, i=i, t=t: x[i, 0, 0, t], batch.phases)
            assert int(recorded.action) == int(action)
            assert float(recorded.reward) == float(outcome.reward)
            assert bool(recorded.terminated | recorded.truncated) == done
            np.testing.assert_allclose(recorded.timestep.observation, timestep.observation, atol=1e-6)
            observation = outcome.observation
            if done:
                count = 0
                state, observation = env.reset(tasks[i], k_reset)
            timestep = TimeStep(observation, action, outcome.reward, jnp.array(done))


def test_generalised_advantages_by_hand():
    """γ = 0.5, λ = 0.5: δ = (1 + 0.5·2 - 1, 0 + 0.5·4 - 2, 1 + 0 - 4); A = δ + 0.25 A', cut after step 1."""
    r_t, v_t, v_tp1 = jnp.array([1.0, 0.0, 1.0]), jnp.array([1.0, 2.0, 4.0]), jnp.array([2.0, 4.0, 0.0])
    whole = generalised_advantages(r_t, v_t, v_tp1, jnp.array([1.0, 1.0, 0.0]), 0.5, 0.5)
    np.testing.assert_allclose(whole, [1 + 0.25 * (0 + 0.25 * -3), 0 + 0.25 * -3, -3])
    cut = generalised_advantages(r_t, v_t, v_tp1, jnp.array([1.0, 0.0, 0.0]), 0.5, 0.5)
    np.testing.assert_allclose(cut, [1.0, 0.0, -3.0])


def test_credit_reaches_over_the_trial_or_the_episode(counted):
    """With γ = λ = 1 and no critic an advantage is the sum of the rewards that credit reaches."""
    phases = counted[1].phases
    phases = phases._replace(value=jnp.zeros_like(phases.value), next_value=jnp.zeros_like(phases.value))
    settings = {"discount": 1.0, "gae_lambda": 1.0, "normalise_advantages": False, "num_minibatches": 1}
    trials = counted[1]._replace(phases=phases)
    trial = PPO(credit="trial", **settings).batch(trials).advantage[:, 0, 0]
    np.testing.assert_array_equal(trial, [[3, 2, 1, 0, 0, 0], [18, 16, 12, 10, 6, 4], [27, 24, 18, 15, 9, 6]])
    episode = PPO(credit="episode", **settings).batch(trials).advantage[:, 0, 0]
    np.testing.assert_array_equal(episode, [[1, 1, 1, 0, 0, 0], [6, 4] * 3, [9, 6] * 3])


def test_a_cut_is_bootstrapped_and_an_end_is_not(counted):
    """λ = 0: A_t = r_t + γ v_{t+1} - v_t with v = 10 everywhere and 100 behind a cut."""
    phases = counted[1].phases
    ten = jnp.full_like(phases.value, 10.0)
    phases = phases._replace(value=ten, next_value=jnp.where(phases.truncated, 100.0, 0.0))
    outer = PPO(credit="episode", discount=1.0, gae_lambda=0.0, normalise_advantages=False, num_minibatches=1)
    advantage = outer.batch(counted[1]._replace(phases=phases)).advantage[:, 0, 0]
    np.testing.assert_array_equal(advantage[1], [2, 4 - 10] * 3)
    # The trial's own end cuts nothing off: the last episode's time limit is bootstrapped as the others.
    np.testing.assert_array_equal(advantage[2], [3, 6 + 100 - 10] * 3)


def test_credit_over_an_adaptation_is_what_the_later_phase_earned(counted):
    """A second phase of the same steps: each step of the first is paid for all that the second earns."""
    phases = counted[1].phases
    two_phases = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=1), phases)
    settings = {"normalise_advantages": False, "num_minibatches": 1, "discount": 1.0, "gae_lambda": 1.0}
    trials = counted[1]._replace(phases=two_phases)
    own = PPO(baseline="none", credit="episode", **settings).batch(counted[1]).advantage
    whole = PPO(baseline="none", credit="trial", **settings).batch(counted[1]).advantage
    both = PPO(baseline="none", credit="trial", **settings).batch(trials).advantage
    earned = (phases.reward * phases.mask).sum(axis=(2, 3))[:, :, None, None]
    assert not np.array_equal(own, whole)
    np.testing.assert_array_equal(both[:, 1:], whole)
    np.testing.assert_array_equal(both[:, :1], (whole + earned) * phases.mask)


def test_only_the_phases_that_count_are_normalised(counted):
    """With `phases="last"` the first phase, of other rewards, moves neither mean nor deviation."""
    phases = counted[1].phases
    other = phases._replace(reward=100 * phases.reward)
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=1), other, phases)
    outer = PPO(num_minibatches=1, phases="last", credit="episode")
    advantage = np.asarray(outer.batch(counted[1]._replace(phases=both)).advantage)[:, 0]
    counting = advantage[np.asarray(phases.mask)[:, 0]]
    assert abs(counting.mean()) < 1e-5
    assert abs(counting.std() - 1) < 1e-4


def test_advantages_are_normalised_over_what_counts(counted):
    batch = PPO(num_minibatches=1).batch(counted[1])
    mask = np.asarray(counted[1].phases.mask)
    counting = np.asarray(batch.advantage)[mask]
    assert abs(counting.mean()) < 1e-5
    assert abs(counting.std() - 1) < 1e-4
