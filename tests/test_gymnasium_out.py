"""Task families as Gymnasium environments: the checker's rules, tasks, equality with the family, training."""

import warnings

import gymnasium
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from quickstudy.envs.bandit import Bandit
from quickstudy.envs.gymnasium_out import to_gymnasium
from quickstudy.errors import InputError
from tests.probes import ContinuousProbe, CountProbe, DiscreteProbe

FAMILIES = [Bandit(), DiscreteProbe(), ContinuousProbe(), CountProbe()]


@pytest.mark.parametrize("num_episodes", [None, 2])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_gymnasium_s_checker_passes(family, num_episodes):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(to_gymnasium(family, num_episodes=num_episodes), skip_render_check=True)
    said = [str(w.message) for w in caught]
    # Unbounded boxes and the missing registration are what these families are.
    assert all("infinity" in text or "spec" in text or "symmetric" in text for text in said), said


def episode(env, actions, **reset):
    observation, info = env.reset(**reset)
    rows = [observation]
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        rows.append((observation, reward))
        if terminated or truncated:
            return rows, (terminated, truncated), info["task"]
    raise AssertionError("the episode did not end")


def test_an_episode_is_the_family_s_own():
    """CountProbe pays task × step, and ends by itself after `task` steps or is cut after 2."""
    env = to_gymnasium(CountProbe())
    for task, end in ((1, (True, False)), (2, (True, False)), (3, (False, True))):
        rows, done, told = episode(env, [0] * 2, options={"task": jnp.int32(task)})
        assert [float(reward) for _, reward in rows[1:]] == [task * t for t in range(1, min(task, 2) + 1)]
        assert done == end
        assert int(told) == task


def test_tasks_are_new_kept_fixed_and_seeded():
    def tasks(env, resets=6, **first):
        drawn = [env.reset(**(first if i == 0 else {}))[1]["task"] for i in range(resets)]
        return np.asarray(drawn)

    new = tasks(to_gymnasium(Bandit(), seed=1))
    assert len(np.unique(new, axis=0)) == 6
    np.testing.assert_array_equal(new, tasks(to_gymnasium(Bandit(), seed=1)))
    np.testing.assert_array_equal(
        tasks(to_gymnasium(Bandit(), 1), seed=5), tasks(to_gymnasium(Bandit(), 2), seed=5)
    )
    assert len(np.unique(tasks(to_gymnasium(Bandit(), episodes_per_task=3)), axis=0)) == 2
    assert len(np.unique(tasks(to_gymnasium(Bandit(), task=jnp.ones(5))), axis=0)) == 1


def test_a_trial_is_one_episode_with_what_a_memory_needs():
    env = to_gymnasium(CountProbe(), num_episodes=3)
    observation, info = env.reset(options={"task": jnp.int32(3)})
    assert info["task"] == 3
    np.testing.assert_array_equal(observation, [0, 1, 0, 0, 1])  # o, one-hot of action 0, r, first
    seen, ends = [], []
    for _ in range(6):
        observation, _, terminated, truncated, _ = env.step(1)
        seen.append(observation)
        ends.append((terminated, truncated))
    rewards, firsts = [x[3] for x in seen], [x[4] for x in seen]
    assert rewards == [3, 6, 3, 6, 3, 6]
    assert firsts == [0, 1, 0, 1, 0, 1]
    assert ends == [(False, False)] * 5 + [(False, True)]


def test_success_is_told_where_there_is_one():
    env = to_gymnasium(DiscreteProbe(), task=jnp.int32(1))
    env.reset()
    assert env.step(1)[4] == {"success": True}
    bandit = to_gymnasium(Bandit())
    bandit.reset()
    assert bandit.step(np.int64(1))[4] == {}


def test_it_can_be_wrapped_and_vectorised():
    vector = gymnasium.vector.SyncVectorEnv(
        [lambda seed=seed: to_gymnasium(ContinuousProbe(), seed) for seed in (0, 1)]
    )
    observations, _ = vector.reset(seed=3)
    assert observations.shape == (2, 3)
    assert vector.step(vector.action_space.sample())[1].shape == (2,)


@pytest.mark.parametrize("wrong", [{"episodes_per_task": 0}, {"num_episodes": 0}])
def test_what_is_wrong_is_said(wrong):
    with pytest.raises(InputError, match="at least 1"):
        to_gymnasium(Bandit(), **wrong)


@pytest.mark.slow
def test_it_trains_in_stable_baselines3():
    """PPO from scratch finds the good arm of one bandit: 0.9 against 0.37 at random."""
    sb3 = pytest.importorskip("stable_baselines3")
    task = jnp.asarray([0.1, 0.9, 0.1])
    env = to_gymnasium(Bandit(3), task=task)
    agent = sb3.PPO(
        "MlpPolicy",
        env,
        n_steps=128,
        batch_size=64,
        n_epochs=4,
        learning_rate=0.01,
        gamma=0.0,
        seed=0,
        device="cpu",
    )

    def mean_reward():
        env.reset(seed=1)
        rewards = []
        for _ in range(200):
            action, _ = agent.predict(env.reset()[0], deterministic=False)
            rewards.append(env.step(action)[1])
        return np.mean(rewards)

    before = mean_reward()
    agent.learn(1500)
    assert before < 0.6
    assert mean_reward() > 0.75
