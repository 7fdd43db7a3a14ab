"""The episodic agent: what it remembers is what was lived, and each way to read it by hand."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.episodic import Episodic
from quickstudy.errors import InputError
from quickstudy.evaluation import measure
from quickstudy.nets import episodic_memory
from quickstudy.nets.retrieval import Entries, read
from quickstudy.presets import preset
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TimeStep, TrialShape
from quickstudy.updates import init_state, run_updates
from tests.probes import TRIAL, ContinuousProbe, DiscreteProbe, MultiDiscreteProbe

ENTRIES = Entries(
    keys=jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [5.0, 5.0]]),
    actions=jax.nn.one_hot(jnp.array([0, 1, 1, 0]), 2),
    returns=jnp.array([2.0, 4.0, 6.0, 100.0]),
    known=jnp.array([True, True, True, False]),
)
QUERY = jnp.array([1.0, 0.0])
SMALL = Episodic(hidden_size=4, key_size=2, capacity=5, discount=0.5)


def test_attention_by_hand():
    """Cosines 1, 0 and 1 with strength log 2: weights 2, 1, 2 of 5; three of four slots are known."""
    found = read("attention", QUERY, ENTRIES, 4, jnp.log(2.0), 8)
    np.testing.assert_allclose(found, [0.4, 0.6, 0.8, 3.2, 4.0, 0.75], rtol=1e-4)


def test_the_nearest_by_hand():
    """The two that are equal to the query share the weight; of one alone, the newest of the equals is taken."""
    found = read("nearest", QUERY, ENTRIES, 4, None, 2)
    np.testing.assert_allclose(found, [0.5, 0.5, 1.0, 3.0, 4.0, 0.75], rtol=1e-5)
    found = read("nearest", QUERY, ENTRIES, 4, None, 1)
    np.testing.assert_allclose(found, [0, 1, 0, 6, 6, 0.75], rtol=1e-5)


def test_prototypes_by_hand():
    """Centres (1, 0) and (0.5, 0.5), at squared distances 0 and 0.5; mean returns 2 and 5."""
    found = read("prototypes", QUERY, ENTRIES, 4, None, 8)
    share = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(found, [share, 1 - share, 2, 5, 0.25, 0.5, 0.75], rtol=1e-5)


def test_the_nearest_weigh_as_much_from_far_away():
    """At distances 1000 and 2000 the weights are 4 to 1, and their sum is 1."""
    far = ENTRIES._replace(keys=jnp.array([[1001.0, 0.0], [1.0, 2000.0], [9e3, 0.0], [1.0, 0.0]]))
    found = read("nearest", QUERY, far, 4, None, 2)
    np.testing.assert_allclose(found, [0.8, 0.2, 1.6, 0.8, 2.4, 0.75], rtol=1e-5)


def test_prototypes_of_many_numbers_by_hand():
    """Two numbers of two values each. Of the first the centres are (1, 0) and (0.5, 0.5); of the second one
    value was taken and is found whole, whatever its distance.
    """
    actions = jnp.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 1, 0]], jnp.float32)
    found = read("prototypes", QUERY, ENTRIES._replace(actions=actions), 4, None, 8, (2, 2))
    share = 1 / (1 + np.exp(-0.5))
    shares, returns, counts = [share, 1 - share, 0, 1], [2, 5, 0, 4], [0.25, 0.5, 0, 0.75]
    np.testing.assert_allclose(found, [*shares, *returns, *counts, 0.75], rtol=1e-5)


def test_prototypes_know_the_numbers_of_an_action():
    """What the agent reads of a memory with both numbers in it are two shares that sum to 1."""
    agent, env = dataclasses.replace(SMALL, retrieval="prototypes"), MultiDiscreteProbe()
    meta_params = agent.init(env, TRIAL, jax.random.key(0))
    read_by_agent = []

    def hidden(x):
        read_by_agent.append(x)
        return jnp.zeros(4)

    entries = Entries(
        jnp.zeros((2, 2)), jnp.array([[1, 0, 0, 1, 0], [0, 1, 0, 1, 0]], float), jnp.ones(2), jnp.ones(2, bool)
    )
    listening = eqx.tree_at(lambda params: params.hidden, meta_params, hidden)
    agent._output(listening, jnp.zeros(4), jnp.zeros(2), entries, None)
    np.testing.assert_allclose(read_by_agent[0][4:9], [0.5, 0.5, 0, 1, 0])


@pytest.mark.parametrize("retrieval", ["attention", "nearest", "prototypes"])
def test_an_empty_memory_says_nothing(retrieval):
    empty = ENTRIES._replace(known=jnp.zeros(4, bool))
    np.testing.assert_array_equal(read(retrieval, QUERY, empty, 4, jnp.ones(()), 2), 0.0)


def test_returns_become_known_when_an_episode_ends():
    """Rewards 1, 2 | 4 with discount 0.5, and a memory of two: the oldest makes room."""
    agent = dataclasses.replace(SMALL, capacity=2)
    meta_params = agent.init(DiscreteProbe(), TRIAL, jax.random.key(0))
    task_params = agent.init_task(meta_params, jax.random.key(1))
    memory, states = agent.init_memory(meta_params, task_params), []
    for t, (action, reward, first) in enumerate([(0, 0, 1), (2, 1, 0), (1, 2, 1), (0, 4, 1)]):
        timestep = TimeStep(jnp.ones(2), jnp.int32(action), jnp.float32(reward), jnp.asarray(bool(first)))
        told = meta_params.encoder.action(timestep.action), timestep.reward, timestep.first, 0.5
        states.append(episodic_memory.told(memory.record, *told, empty=False).entries)
        _, memory = agent.step(meta_params, task_params, memory, timestep, jax.random.key(t))
    assert [np.asarray(s.known).tolist() for s in states] == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    np.testing.assert_allclose(states[2].returns, [1 + 0.5 * 2, 2])
    np.testing.assert_array_equal(states[2].actions.argmax(-1), [2, 1])
    np.testing.assert_allclose(states[3].returns, [2, 4])


each_way = pytest.mark.parametrize(
    "changes",
    [
        {"num_learned": 2, "feed_trial_time": True, "feed_episode_time": True},
        {"retrieval": "nearest", "num_neighbours": 2, "feed_first": False},
        {"retrieval": "prototypes", "feed_action": False, "feed_reward": False},
        {"num_learned": 2, "reset": "episode"},
    ],
    ids=["attention with learned entries", "nearest", "prototypes", "reset"],
)


@each_way
def test_step_form_equals_sequence_form(changes):
    """Episodes that end at random times, a memory that forgets, from the start and from the middle."""
    agent, num_steps, middle = dataclasses.replace(SMALL, **changes), 12, 7
    k_init, k_seen, k_action, k_reward, k_first = jax.random.split(jax.random.key(0), 5)
    meta_params = jax.jit(lambda key: agent.init(DiscreteProbe(), TRIAL, key))(k_init)
    timesteps = TimeStep(
        jax.random.normal(k_seen, (num_steps, 2)),
        jax.random.randint(k_action, (num_steps,), 0, 3),
        jax.random.normal(k_reward, (num_steps,)),
        jax.random.bernoulli(k_first, 0.3, (num_steps,)).at[0].set(True),
    )
    task_params = agent.init_task(meta_params, k_init)
    memory = agent.init_memory(meta_params, task_params)

    def body(memory, timestep):
        output, after = agent.step(meta_params, task_params, memory, timestep, k_init)
        return after, (output, memory)

    stepwise, memories = jax.lax.scan(body, memory, timesteps)[1]
    unroll = jax.jit(lambda memory, timesteps: agent.unroll(meta_params, task_params, memory, timesteps))
    for start in (0, middle):
        steps, rest = jax.tree.map(lambda x, i=start: x[i:], (timesteps, stepwise))
        whole = unroll(jax.tree.map(lambda x, i=start: x[i], memories), steps)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), whole, rest)


def walked(agent, timesteps, env=None, trial=TRIAL, seed=0):
    """What the agent says of time steps [T] at the start of a task."""
    meta_params = agent.init(env or DiscreteProbe(), trial, jax.random.key(seed))
    task_params = agent.init_task(meta_params, jax.random.key(1))
    return agent.unroll(meta_params, task_params, agent.init_memory(meta_params, task_params), timesteps)


SEEN = TimeStep(
    jnp.ones((4, 2)), jnp.array([0, 1, 2, 1]), jnp.array([0.0, 1, 2, 3]), jnp.array([1, 0, 0, 0], bool)
)


@pytest.mark.parametrize(
    ("feed", "changed"),
    [
        ("feed_action", SEEN._replace(action=(SEEN.action + 1) % 3)),
        ("feed_reward", SEEN._replace(reward=SEEN.reward + 1)),
        # Without a return that is known the memory says the same of both.
        ("feed_first", SEEN._replace(first=SEEN.first.at[0].set(False))),
    ],
)
def test_what_is_not_fed_changes_nothing_within_the_first_episode(feed, changed):
    fed, unfed = (dataclasses.replace(SMALL, **{feed: value}) for value in (True, False))
    assert not np.allclose(walked(fed, SEEN).value, walked(fed, changed).value, atol=1e-4)
    np.testing.assert_array_equal(walked(unfed, SEEN).value, walked(unfed, changed).value)


@pytest.mark.parametrize(
    ("feed", "left"),
    [
        # An episode of the probe has 4 steps, the trial 12.
        ("feed_trial_time", [1, 11 / 12, 10 / 12, 9 / 12]),
        ("feed_episode_time", [1, 3 / 4, 1, 3 / 4]),
    ],
)
def test_the_time_that_is_left_is_fed(feed, left):
    agent = dataclasses.replace(SMALL, **{feed: True}, feed_action=False, feed_reward=False, feed_first=False)
    meta_params = agent.init(DiscreteProbe(), TRIAL, jax.random.key(0))
    weight = jnp.zeros((3, 4)).at[-1, 0].set(1.0)
    meta_params = eqx.tree_at(lambda p: p.embed.weight, meta_params, weight)
    memory = agent.init_memory(meta_params, agent.init_task(meta_params, jax.random.key(1)))
    times = memory.clock.through(jnp.array([1, 0, 1, 0], bool))
    features = jax.vmap(lambda step, time: agent._embedded(meta_params, step, time)[0])(SEEN, times)
    np.testing.assert_allclose(jnp.arctanh(features[:, 0]), left, rtol=1e-5)


def test_a_memory_that_is_reset_tells_nothing_of_the_episode_before():
    """Neither what is remembered nor the last action and reward; without the reset, both."""
    first = jnp.array([1, 0, 1, 0], bool)
    one = SEEN._replace(first=first)
    other = one._replace(action=one.action.at[1:3].set(0), reward=one.reward.at[1:3].set(-5.0))
    for reset, same in (("trial", False), ("episode", True)):
        agent = dataclasses.replace(SMALL, reset=reset)
        said, said_of_other = (walked(agent, steps).value[2:] for steps in (one, other))
        assert np.array_equal(said, said_of_other) == same


def test_squashed_actions_are_within_their_bounds():
    agent, env, trial = dataclasses.replace(SMALL, squash=True), ContinuousProbe(), TrialShape(1, 2, 2)
    meta_params = agent.init(env, trial, jax.random.key(0))
    tasks, keys = (
        sample_tasks(env, jax.random.split(jax.random.key(1), 16)),
        jax.random.split(jax.random.key(2), 16),
    )
    trials = jax.jit(collect, static_argnums=(0, 1, 2))(agent, env, trial, meta_params, tasks, keys)
    actions, bound = trials.phases.action, env.action_space.high.max()
    assert 0.9 * bound < np.abs(actions).max() < bound
    output = jax.jit(replay, static_argnums=0)(agent, meta_params, trials)
    np.testing.assert_allclose(output.policy.log_prob(actions), trials.phases.log_prob, atol=1e-4)


def test_squash_needs_bounds():
    with pytest.raises(InputError, match=r"action_space: got Discrete.*squash expects Box"):
        dataclasses.replace(SMALL, squash=True).init(DiscreteProbe(), TRIAL, jax.random.key(0))


def test_a_phase_is_remembered_in_the_next():
    """Two streams; the second episode of the first is cut off by the end of the phase."""
    rewards = jnp.array([[1.0, 2.0, 4.0, 8.0], [1.0, 1.0, 1.0, 1.0]])
    ends = jnp.array([[0, 1, 0, 0], [0, 0, 1, 1]], bool)
    keys, actions = jnp.arange(16.0).reshape(2, 4, 2), jnp.ones((2, 4, 3))
    phase = episodic_memory.of_phase(keys, actions, rewards, ends, jnp.ones((2, 4), bool), 0.5)
    np.testing.assert_array_equal(phase.known, [1, 1, 1, 1, 0, 1, 0, 1])
    np.testing.assert_allclose(phase.returns[phase.known], [2, 1.75, 2, 1.5, 1, 1])
    np.testing.assert_array_equal(phase.keys[phase.known][:, 0], [0, 8, 2, 10, 12, 14])

    both = episodic_memory.latest(ENTRIES._replace(actions=jnp.ones((4, 3))), phase, 7)
    np.testing.assert_allclose(both.returns, [6, 2, 1.75, 2, 1.5, 1, 1])
    assert both.known.all()


def test_prototypes_need_discrete_actions():
    with pytest.raises(InputError, match=r"action_space: got Box.*for a prototype of each action"):
        Episodic(retrieval="prototypes").init(ContinuousProbe(), TRIAL, jax.random.key(0))


def test_there_is_no_more_room_than_the_trial_has_steps():
    trial = TrialShape(1, 2, 3)
    meta_params = jax.eval_shape(lambda key: Episodic().init(DiscreteProbe(), trial, key), jax.random.key(0))
    assert meta_params.capacity == 2 * 2 * 12


@pytest.mark.slow
@pytest.mark.parametrize("retrieval", ["attention", "nearest", "prototypes"])
def test_each_retrieval_learns_to_pull_arms(retrieval):
    """By half the preset's updates; a random agent earns 5 in ten pulls, the exact optimum 6.66."""
    experiment = preset("episodic", "bandit")
    agent = dataclasses.replace(experiment.agent, retrieval=retrieval)
    experiment = dataclasses.replace(experiment, agent=agent, num_updates=300)
    state, _ = run_updates(experiment, init_state(experiment), 300)
    test = (experiment.env, experiment.trial, state.outer.meta_params, 20_000, jax.random.key(7))
    assert 6.58 < measure(experiment.learner, *test).total.mean() < 6.7
