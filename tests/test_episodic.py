"""The episodic agent: what it remembers is what was lived, and each way to read it by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.episodic import Episodic
from quickstudy.errors import InputError
from quickstudy.nets import episodic_memory
from quickstudy.nets.retrieval import Entries, read
from quickstudy.types import TimeStep, TrialShape
from tests.probes import TRIAL, ContinuousProbe, DiscreteProbe

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
        states.append(episodic_memory.told(memory, *told).entries)
        _, memory = agent.step(meta_params, task_params, memory, timestep, jax.random.key(t))
    assert [np.asarray(s.known).tolist() for s in states] == [[False] * 2, [False] * 2, [True] * 2, [True] * 2]
    np.testing.assert_allclose(states[2].returns, [1 + 0.5 * 2, 2])
    np.testing.assert_array_equal(states[2].actions.argmax(-1), [2, 1])
    np.testing.assert_allclose(states[3].returns, [2, 4])


each_way = pytest.mark.parametrize(
    "changes",
    [{"num_learned": 2}, {"retrieval": "nearest", "num_neighbours": 2}, {"retrieval": "prototypes"}],
    ids=["attention with learned entries", "nearest", "prototypes"],
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
