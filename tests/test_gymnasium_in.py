"""Gymnasium environments as task families: equal to a plain Python loop, bit for bit, and pure."""

import dataclasses
import functools
import re
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys, registry
from quickstudy.envs import gymnasium_in
from quickstudy.envs.gymnasium_in import GymnasiumEnv
from quickstudy.envs.plain import own_action, plain_observation
from quickstudy.errors import InputError
from quickstudy.experiment import build, to_dict
from quickstudy.references.random_agent import Random
from quickstudy.rollout import collect, sample_tasks
from quickstudy.trial_keys import RESET, reset_key, step_key, stream_keys_of
from quickstudy.types import TrialShape
from tests.gymnasium_toys import Diary
from tests.runs import ROOT

DIARY = "tests.gymnasium_toys:Diary"
DIARY_TASKS = ("weight=0.5:2", "mood=calm,wild")
ONE_PHASE = TrialShape(num_adapts=0, num_streams=2, num_episodes=2)
TWO_PHASES = TrialShape(num_adapts=1, num_streams=2, num_episodes=2)

FAMILIES = {
    "cartpole": GymnasiumEnv("CartPole-v1", ("gravity=5:15", "length=0.25,0.5,1"), time_limit=30),
    "pendulum": GymnasiumEnv("Pendulum-v1", ("g=5:15", "m=0.5,1,2"), time_limit=20),
    "diary": GymnasiumEnv(DIARY, DIARY_TASKS, told="set_task", time_limit=12),
    "forgetful": GymnasiumEnv(
        "tests.gymnasium_toys:Forgetful", DIARY_TASKS, told="keywords", time_limit=12, reuse=False
    ),
}
each_family = pytest.mark.parametrize("name", FAMILIES)


@functools.cache
def engine(env, num_tasks):
    """Trials of a random agent, under jit, vmap, scan and the engine's resets."""
    agent, trial = Random(), TWO_PHASES if env == FAMILIES["diary"] else ONE_PHASE

    @jax.jit
    def live(key):
        task_keys, trial_keys = keys.per_task(key, jnp.arange(num_tasks))
        meta_params = agent.init(env, trial, key)
        return collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)

    return live


def lived(env, seed=0, num_tasks=3):
    return jax.device_get(engine(env, num_tasks)(jax.random.key(seed)))


@functools.partial(jax.jit, static_argnums=(1, 2))
def reset_seeds(key, num_phases, num_steps):
    """The seeds of every reset that a trial may come to, [K+1, S, 1+T]."""

    def of_stream(key):
        later = jax.vmap(lambda t: step_key(key, t, RESET))(jnp.arange(num_steps))
        seed_of = lambda key: (jax.random.bits(key) >> 1).astype(jnp.int32)  # noqa: E731
        return jnp.concatenate([seed_of(reset_key(key))[None], jax.vmap(seed_of)(later)])

    return jnp.stack([jax.vmap(of_stream)(stream_keys_of(key, phase, 2)) for phase in range(num_phases)])


def plain_loop(env, task, seeds, actions):
    """What a Python loop over one new Gymnasium environment an episode sees, for the recorded actions."""
    values, rows = env.values(task), []

    def begin(seed):
        one = env.make(**(values if env.told == "keywords" else {}))
        if env.told == "attributes":
            for name, value in values.items():
                setattr(one.unwrapped, name, value)
        if env.told == "set_task":
            one.unwrapped.set_task(values)
        return one, one.reset(seed=int(seed))[0], 0

    one, observation, steps = begin(seeds[0])
    for t, action in enumerate(actions):
        seen = plain_observation(one.observation_space, observation)
        observation, reward, terminated, _, info = one.step(own_action(one.action_space, action))
        behind = plain_observation(one.observation_space, observation)
        steps += 1
        rows.append((seen, reward, behind, terminated, info.get("is_success", False)))
        if terminated or steps == env.max_steps:
            one, observation, steps = begin(seeds[1 + t])
    return [np.asarray(column) for column in zip(*rows, strict=True)]


@each_family
def test_equal_to_a_plain_loop_bit_for_bit(name):
    env = FAMILIES[name]
    trials = lived(env)
    ends = 0
    for n in range(2):
        task = jax.tree.map(lambda x, n=n: x[n], trials.task)
        num_phases, num_streams, num_steps = trials.phases.reward.shape[1:]
        seeds = np.asarray(reset_seeds(trials.key[n], num_phases, num_steps))
        for phase in range(num_phases):
            for s in range(num_streams):
                got = jax.tree.map(lambda x, at=(n, phase, s): x[at], trials.phases)
                seen, reward, behind, terminated, success = plain_loop(env, task, seeds[phase, s], got.action)
                np.testing.assert_array_equal(got.timestep.observation, seen.astype(np.float32))
                np.testing.assert_array_equal(got.next_observation, behind.astype(np.float32))
                np.testing.assert_array_equal(got.reward, reward.astype(np.float32))
                np.testing.assert_array_equal(got.terminated, terminated)
                if got.success is not None:
                    np.testing.assert_array_equal(got.success, success)
                ends += terminated.sum()
    assert (trials.phases.success is not None) == env.id.startswith("tests.")
    assert ends > 0 or name.startswith("pendulum")


@each_family
def test_the_same_key_gives_the_same_trials(name):
    env = FAMILIES[name]
    one, again, other = lived(env), lived(env), lived(env, seed=1)
    pairs = zip(jax.tree.leaves(one.phases), jax.tree.leaves(again.phases), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert not np.array_equal(one.phases.next_observation, other.phases.next_observation)


def test_a_trial_does_not_depend_on_the_others():
    env = FAMILIES["diary"]
    one, alone = lived(env), lived(env, num_tasks=1)
    np.testing.assert_array_equal(alone.phases.reward[0], one.phases.reward[0])


def test_a_reset_that_leaves_something_over_is_felt_without_new_objects():
    """The counterpart of the test above: `reuse=False` is what makes it pass."""
    env = dataclasses.replace(FAMILIES["forgetful"], time_limit=1, told="attributes", reuse=True)
    task, key = env.sample_task(jax.random.key(0)), jax.random.key(1)
    lives = []
    for _ in range(4):
        state, observation = env.reset(task, key)
        env.step(task, state, jnp.int32(0), key)
        lives.append(int(observation[2]))
    assert max(lives) > 1


def test_there_are_at_most_twice_as_many_objects_as_streams():
    env = FAMILIES["cartpole"]
    for seed in range(4):
        lived(env, seed)
    assert gymnasium_in._episodes(env).num_made <= 2 * 3 * 2


def states_and_steps(env, key):
    task = env.sample_task(key)
    state, _ = env.reset(task, key)
    step = jax.jit(lambda state, action: env.step(task, state, action, key))
    return state, step


def test_steps_are_pure_functions_of_the_state():
    """Repeated steps, a second branch and a return to an old state answer as if nothing had happened."""
    env = FAMILIES["diary"]
    start, step = states_and_steps(env, jax.random.key(3))
    path, state = [], start
    for action in (0, 1, 2, 1, 1):
        path.append((state, action))
        state, outcome = step(state, jnp.int32(action))
        again_state, again = step(path[-1][0], jnp.int32(action))
        assert all(np.array_equal(a, b) for a, b in zip(outcome[:3], again[:3], strict=True))
        state, _ = again_state, path.append((path[-1][0], action))
    first = [step(state, jnp.int32(action))[1].observation for state, action in path]
    other_state, other = step(start, jnp.int32(2))
    assert not np.array_equal(other.observation, first[0])
    step(other_state, jnp.int32(0))
    second = [step(state, jnp.int32(action))[1].observation for state, action in path]
    np.testing.assert_array_equal(first, second)


def test_one_state_can_be_stepped_by_many_actions_at_once():
    env = FAMILIES["diary"]
    state, step = states_and_steps(env, jax.random.key(4))
    together = jax.vmap(step, (None, 0))(state, jnp.arange(3))[1]
    for action in range(3):
        np.testing.assert_array_equal(
            together.observation[action], step(state, jnp.int32(action))[1].observation
        )


def test_resets_where_they_are_needed_do_no_other_work():
    env = FAMILIES["pendulum"]
    task, key = env.sample_task(jax.random.key(0)), jax.random.split(jax.random.key(1), 4)
    needed = jnp.asarray([True, False, True, False])
    states, observations = jax.vmap(env.reset_where, (0, None, 0))(needed, task, key)
    _, all_observations = jax.vmap(env.reset, (None, 0))(task, key)
    np.testing.assert_array_equal(states.episode < 0, ~needed)
    np.testing.assert_array_equal(observations[needed], all_observations[needed])
    assert not observations[~needed].any()


def test_a_state_that_is_no_longer_kept_is_an_error_and_not_a_wrong_answer():
    env = GymnasiumEnv("Pendulum-v1", time_limit=5)
    state, step = states_and_steps(env, jax.random.key(0))
    state, _ = step(state, jnp.zeros(1))
    for seed in range(20):
        other, _ = states_and_steps(env, jax.random.key(seed))
        step(other, jnp.zeros(1))
    with pytest.raises(Exception, match="too old"):
        jax.block_until_ready(step(state, jnp.zeros(1)))


def one_episode(env, action):
    """Eager: the outcomes until the episode ends by itself, or at its limit."""
    task, key = env.sample_task(jax.random.key(0)), jax.random.key(1)
    state, observation = env.reset(task, key)
    assert env.observation_space.contains(np.asarray(observation))
    outcomes = []
    for _ in range(env.max_steps):
        state, outcome = env.step(task, state, action, key)
        outcomes.append(outcome)
        if outcome.terminated:
            break
    return outcomes


def test_other_spaces_and_an_own_limit():
    env = GymnasiumEnv("tests.gymnasium_toys:Boxed", (), time_limit=5)
    assert env.observation_space.shape == (7,)
    assert env.action_space.shape == (4,)
    outcomes = one_episode(env, jnp.asarray([9.0, -0.1, 0.2, 0.3]))
    assert [bool(o.terminated) for o in outcomes] == [False, False, True]
    np.testing.assert_allclose(outcomes[0].observation, [0, 1, 0, 0.5, -0.1, 0.2, 0.3])
    np.testing.assert_allclose(outcomes[0].reward, 0.9, rtol=1e-6)
    at_the_limit = one_episode(dataclasses.replace(env, time_limit=3), jnp.zeros(4))
    assert [bool(o.terminated) for o in at_the_limit] == [False, False, False]


def test_dots_lead_into_the_parts_of_an_environment():
    env = GymnasiumEnv(DIARY, ("physics.memory=0.1,0.9",), time_limit=1)
    rewards = set()
    for choice in (0, 1):
        task = {"physics.memory": jnp.int32(choice)}
        state, _ = env.reset(task, jax.random.key(0))
        rewards.add(float(env.step(task, state, jnp.int32(1), jax.random.key(0))[1].reward))
    assert len(rewards) == 2


@pytest.mark.parametrize("told", ["attributes", "keywords", "set_task"])
def test_the_three_ways_to_tell_a_task_agree(told):
    env = GymnasiumEnv(DIARY, DIARY_TASKS, told, time_limit=4)
    rewards = [float(o.reward) for o in one_episode(env, jnp.int32(2))]
    diary = Diary(**env.values(env.sample_task(jax.random.key(0))))
    diary.reset(seed=int(jax.random.bits(jax.random.key(1))) >> 1)
    assert rewards == [np.float32(diary.step(1)[1]) for _ in rewards]


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"tasks": ("g",)}, "name=low:high"),
        ({"tasks": ("g=2:1",)}, "lower number first"),
        ({"tasks": ("g=a:b",)}, "numbers around the colon"),
        ({"tasks": ("g=1:2", "g=3:4")}, "stands twice"),
        ({"told": "words"}, "attributes, keywords or set_task"),
        ({"time_limit": 0}, "at least 1"),
        ({"id": "NoSuch-v0"}, "NoSuch"),
        ({"id": "tests.gymnasium_toys:nobody"}, "nobody"),
        ({"id": DIARY}, "limit of its own"),
        ({"tasks": ("gravitas=1:2",)}, "gravitas"),
        ({"tasks": ("gravitas=1:2",), "told": "keywords"}, "gravitas"),
        ({"told": "set_task"}, "set_task"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(wrong, match):
    if wrong.get("id") == DIARY:
        wrong = {**wrong, "tasks": ()}
    with pytest.raises(InputError, match=match):
        _ = GymnasiumEnv(**wrong).max_steps


def test_it_can_be_stored_and_described():
    env = FAMILIES["diary"]
    assert build(GymnasiumEnv, to_dict(env), "env") == env
    assert hash(build(GymnasiumEnv, to_dict(env), "env")) == hash(env)
    assert env.describe({"weight": np.float32(0.5), "mood": np.int32(1)}) == "weight = 0.5, mood = wild"


def test_the_page_s_example_is_a_task_family_in_ten_lines(tmp_path):
    text = (ROOT / "docs" / "gymnasium.md").read_text()
    code = re.search(r"Save this as `(\w+\.py)`.*?```python\n(.*?)```", text, re.DOTALL)
    assert code
    assert len(code[2].strip().splitlines()) <= 10
    (tmp_path / code[1]).write_text(code[2])
    env = registry.resolve("env", f"{tmp_path / code[1]}:Planets")()
    assert env.max_steps == 200
    task = env.sample_task(jax.random.key(1))
    state, seen = env.reset(task, jax.random.key(2))
    outcome = env.step(task, state, jnp.ones(1), jax.random.key(3))[1]
    values = env.values(task)
    plain: Any = gymnasium.make("Pendulum-v1", g=values["g"])
    plain.unwrapped.m = values["m"]
    plain.reset(seed=0)
    plain.unwrapped.state = np.asarray([np.arctan2(seen[1], seen[0]), seen[2]])
    np.testing.assert_allclose(outcome.observation, plain.step(np.ones(1, np.float32))[0], atol=1e-5)
    assert len(np.unique(sample_tasks(env, jax.random.split(jax.random.key(0), 9))["g"])) == 9
