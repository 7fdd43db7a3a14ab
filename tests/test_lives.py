"""Long lives: streams that go on through adaptations, foretold step by step, and exams that teach nothing."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys, lives
from quickstudy.agents.ppo import PPO
from quickstudy.errors import InputError
from quickstudy.lives import LifeShape
from quickstudy.nets.distributions import Categorical
from quickstudy.nets.layers import orthogonal
from quickstudy.rollout import sample_tasks
from quickstudy.types import Output
from tests.probes import CountProbe, DiscreteProbe

SHAPE = LifeShape(num_adapts=6, num_streams=2, num_steps=3)


class Seen(NamedTuple):
    num_adapts: jax.Array
    rewards: jax.Array
    firsts: jax.Array
    last_first: jax.Array


@dataclasses.dataclass(frozen=True)
class Recorder:
    """Learns nothing but what it has met; draws action 0 or 1."""

    def init(self, env, trial, key):
        return ()

    def init_task(self, meta_params, key):
        return Seen(jnp.zeros((), int), jnp.zeros(()), jnp.zeros((), int), jnp.zeros((), bool))

    def init_memory(self, meta_params, task_params):
        return jnp.zeros((), int)

    def step(self, meta_params, task_params, memory, timestep, key):
        # What the memory counts, the value tells: it lives as long as its stream.
        policy = Categorical(jnp.zeros(2))
        return Output(policy, memory.astype(float), {}), memory + 1

    def adapt(self, meta_params, task_params, transitions, key):
        n, rewards, firsts, _ = task_params
        first = transitions.timestep.first
        return Seen(n + 1, rewards + transitions.reward.sum(), firsts + first.sum(), first[0, 0])


def born(agent, env, shape, num_lives=3, seed=0):
    task_keys, life_keys = keys.per_task(jax.random.key(seed), jnp.arange(num_lives))
    tasks = sample_tasks(env, task_keys)
    meta_params = agent.init(env, lives.as_trial(shape, env), jax.random.key(1))
    return meta_params, tasks, life_keys, lives.begin(agent, env, shape, meta_params, tasks, life_keys)


def test_streams_go_on_through_adaptations():
    """A count probe's episodes take min(task, 2) steps and pay task × step; three steps are lived at a time."""
    env = CountProbe()
    meta_params, tasks, _, life = born(Recorder(), env, SHAPE)
    life, lived = lives.live(Recorder(), env, SHAPE, meta_params, life, 6)
    task = np.asarray(tasks)
    length = np.minimum(task, 2)
    paid = np.where(length == 2, task * (1 + 2), task)
    # 18 steps of each of two streams, which whole episodes fill.
    np.testing.assert_array_equal(lived.num_episodes, 2 * 18 // length)
    np.testing.assert_allclose(lived.total_return, 2 * 18 // length * paid)
    np.testing.assert_allclose(life.task_params.rewards, lived.total_return)
    np.testing.assert_array_equal(life.task_params.firsts, 2 * 18 // length)
    # The sixth phase begins with step 15: in an episode's middle where these take two steps.
    np.testing.assert_array_equal(life.task_params.last_first, length == 1)
    # The memory is the stream's, through all of its episodes and adaptations.
    np.testing.assert_array_equal(life.streams.memory, np.full((3, 2), 18))
    assert int(life.num_adapts) == 6


def test_a_stretch_may_end_anywhere():
    env = DiscreteProbe()
    agent = PPO(hidden_sizes=(8,), num_epochs=1, num_minibatches=2)
    meta_params, _, _, life = born(agent, env, SHAPE)
    whole, _ = lives.live(agent, env, SHAPE, meta_params, life, 6)
    compiled = lives.live._cache_size()  # pyright: ignore[reportAttributeAccessIssue]
    meta_params, _, _, life = born(agent, env, SHAPE)
    for stretch in (1, 3, 2):
        life, _ = lives.live(agent, env, SHAPE, meta_params, life, stretch)
    jax.tree.map(same_bits, whole, life)
    assert lives.live._cache_size() == compiled  # pyright: ignore[reportAttributeAccessIssue]


def same_bits(a, b):
    a, b = (jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x for x in (a, b))
    np.testing.assert_array_equal(a, b)


def test_a_life_depends_on_its_own_key_and_task_alone():
    env, agent = DiscreteProbe(), PPO(hidden_sizes=(8,), num_epochs=1, num_minibatches=2)
    meta_params, tasks, life_keys, life = born(agent, env, SHAPE)
    together, _ = lives.live(agent, env, SHAPE, meta_params, life, 6)
    alone = lives.begin(agent, env, SHAPE, meta_params, tasks[1:2], life_keys[1:2])
    alone, _ = lives.live(agent, env, SHAPE, meta_params, alone, 6)
    pairs = (alone.task_params.weights, jax.tree.map(lambda x: x[1:2], together.task_params.weights))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *pairs)
    others = jax.tree.leaves(jax.tree.map(lambda x: x[0], together.task_params.weights))
    assert not all(
        np.allclose(a, b[0]) for a, b in zip(others, jax.tree.leaves(alone.task_params.weights), strict=True)
    )


def test_an_exam_puts_the_same_episodes_to_any_learner():
    env = CountProbe()
    meta_params, tasks, life_keys, life = born(Recorder(), env, SHAPE)
    exam = lives.examine(Recorder(), env, meta_params, life.task_params, tasks, life_keys, 5)
    task = np.asarray(tasks)
    np.testing.assert_allclose(exam.returns, np.repeat((task * np.where(task == 1, 1, 3))[:, None], 5, axis=1))
    noisy = DiscreteProbe()
    agent = PPO(hidden_sizes=(8,))
    meta_params, tasks, life_keys, life = born(agent, noisy, SHAPE)
    one, again = (
        lives.examine(agent, noisy, meta_params, life.task_params, tasks, life_keys, 4) for _ in range(2)
    )
    np.testing.assert_array_equal(one.returns, again.returns)
    assert one.success is not None
    # The probe pays 1 for the right action, which is its success.
    np.testing.assert_array_equal(one.success, np.asarray(one.returns) > 0)
    drawn = lives.examine(agent, noisy, meta_params, life.task_params, tasks, life_keys, 4, False)
    assert not np.array_equal(one.returns, drawn.returns)


def test_a_life_takes_at_least_a_step():
    with pytest.raises(InputError, match=r"LifeShape\.num_steps: got 0; expected between 1"):
        LifeShape(num_steps=0)


def test_hundreds_begin_at_once():
    """Their networks are made without LAPACK, whose calls for a hundred at once have been seen to hang."""
    env, agent = DiscreteProbe(), PPO(hidden_sizes=(16, 16))
    _, _, _, life = born(agent, env, SHAPE, num_lives=256)
    weight = np.asarray(life.task_params.weights.actor.layers[1].weight)
    assert weight.shape == (256, 16, 16)
    eye = np.broadcast_to(np.eye(16), weight.shape) * (weight[:, :, 0] ** 2).sum(1)[:, None, None]
    np.testing.assert_allclose(weight.swapaxes(1, 2) @ weight, eye, atol=1e-4)
    compiled = jax.jit(orthogonal, static_argnums=(1, 2))
    for shape in ((5, 9), (9, 5)):
        alone = orthogonal(jax.random.key(0), *shape)
        np.testing.assert_allclose(compiled(jax.random.key(0), *shape), alone, atol=1e-5)
