"""Distillation: a student becomes its teachers, where it acts itself, and gets a critic of what it does."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.fine_tune import FineTune
from quickstudy.agents.ppo import PPO
from quickstudy.agents.sac import SAC
from quickstudy.errors import InputError
from quickstudy.nets.distributions import Categorical, MultiCategorical, Normal
from quickstudy.rollout import sample_tasks
from quickstudy.transfer.critic import CriticFit
from quickstudy.transfer.distill import Distillation, Teachers, distill
from quickstudy.transfer.teaching import Either, distance, sharpened
from quickstudy.types import TimeStep, TrialShape
from tests.probes import ContinuousProbe, DiscreteProbe

TRIAL = TrialShape(3, 2, 1)
DISCRETE, CONTINUOUS = DiscreteProbe(), ContinuousProbe()
STUDENT = FineTune(hidden_sizes=(16,), discount=0.5, normalise_observations=True, normalise_rewards=True)
SETTINGS = Distillation(
    num_rounds=10,
    num_streams=4,
    num_steps=32,
    num_kept=3,
    num_epochs=8,
    batch_size=32,
    learning_rate=2e-2,
    critic=CriticFit(num_rounds=4, num_streams=4, num_steps=32, batch_size=32, learning_rate=1e-2),
    num_fisher=64,
)


@functools.cache
def taught(teacher, env, settings=SETTINGS, num_tasks=2, opinions=1.0):
    """-> (what is distilled of two lives that began alike, the policies of teacher and student at [64])"""
    keys = jax.random.split(jax.random.key(0), num_tasks)
    meta_params = teacher.init(env, TRIAL, keys[0])
    begun = jax.tree.map(lambda x: jnp.stack([x] * num_tasks), teacher.init_task(meta_params, keys[1]))
    begun = opinionated(begun, opinions) if isinstance(teacher, PPO) else begun
    start = STUDENT.init(env, TRIAL, jax.random.key(1))
    teachers = Teachers(meta_params, begun, sample_tasks(env, keys))
    distilled = distill(settings, STUDENT, env, teacher, teachers, start, jax.random.key(2))
    observation = jax.random.normal(jax.random.key(3), (64, *env.observation_space.shape))
    one = jax.tree.map(lambda x: x[0], begun)
    output, _ = jax.vmap(lambda o: teacher.step(meta_params, one, (), _timestep(o), keys[0]))(observation)
    said, _ = jax.vmap(distilled.known.network)(distilled.known.seen.normalise(observation))
    return distilled, output.policy, said


def opinionated(learners, scale):
    """Teachers with policies that depend on what they see."""
    head = learners.weights.head.linear.weight
    drawn = scale * jax.random.normal(jax.random.key(4), head.shape[1:])
    return eqx.tree_at(lambda x: x.weights.head.linear.weight, learners, jnp.broadcast_to(drawn, head.shape))


def _timestep(observation):
    return TimeStep(observation, jnp.zeros(()), jnp.zeros(()), jnp.array(True))


def test_a_student_of_discrete_actions_becomes_its_teachers():
    distilled, policy, said = taught(PPO(hidden_sizes=(4,)), DISCRETE)
    uniform = Categorical(jnp.zeros_like(policy.logits))
    assert float(policy.kl(uniform).mean()) > 0.2
    assert float(policy.kl(said).mean()) < 0.02
    assert distilled.apart[-1] < distilled.apart[0]
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(distilled))
    # Some of what was learned matters: the Fisher is that of the student.
    assert float(distilled.known.fisher[2].linear.bias.min()) > 0


@pytest.mark.parametrize("loss", ["kl", pytest.param("mse", marks=pytest.mark.slow)])
def test_a_student_of_continuous_actions_has_its_teachers_mean_and_deviation(loss):
    teacher = PPO(hidden_sizes=(4,), initial_log_std=-1.0)
    _, policy, said = taught(teacher, CONTINUOUS, dataclasses.replace(SETTINGS, loss=loss), opinions=0.3)
    # In half ranges, which are 2.
    assert float(jnp.abs(policy.mean / 2).mean()) > 0.1
    assert float(((policy.mean - said.mean) ** 2).mean()) / 4 < 0.005
    np.testing.assert_allclose(said.log_std, policy.log_std, atol=0.15)


def test_of_a_squashed_teacher_the_student_has_mean_and_deviation_of_its_actions():
    teacher = SAC(hidden_sizes=(4,), buffer_size=16, learning_starts=16)
    _, policy, said = taught(teacher, CONTINUOUS)
    drawn = jax.vmap(policy.sample)(jax.random.split(jax.random.key(5), 500))
    np.testing.assert_allclose(said.mean, drawn.mean(0), atol=0.3)
    np.testing.assert_allclose(jnp.exp(said.log_std).mean(), drawn.std(), rtol=0.1)


def test_the_critic_explains_the_returns_of_tasks_that_it_cannot_tell_apart():
    """A task's reward is the same wherever the observation is: what is left is its deviation."""
    distilled, _, _ = taught(PPO(hidden_sizes=(4,)), DISCRETE)
    assert distilled.critic_error.shape == (4,)
    assert distilled.critic_error[-1] < 1.3
    assert distilled.known.earned.seen == 4 * 2 * 4 * 32


def test_a_coin_says_who_acts():
    taught, said = Categorical(jnp.array([9.0, -99.0])), Categorical(jnp.array([-99.0, 9.0]))
    keys = jax.random.split(jax.random.key(6), 2000)
    for share in (0.0, 0.3, 1.0):
        policy = Either(taught, said, jnp.asarray(share))
        first = (jax.vmap(policy.sample)(keys) == 0).mean()
        np.testing.assert_allclose(first, share, atol=0.03)
        np.testing.assert_allclose(jnp.exp(policy.log_prob(jnp.array(0))), share, atol=1e-6)


def test_distances_by_hand():
    key = jax.random.key(7)
    half, third = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.25, 0.75]))
    ours, its = Categorical(half[None]), Categorical(third[None])
    kl = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    np.testing.assert_allclose(distance("kl", ours, its, (), key), kl, rtol=1e-5)
    np.testing.assert_allclose(distance("mse", ours, its, (), key), 2 * 0.25**2, rtol=1e-5)
    both = [MultiCategorical(jnp.concatenate([x, third])[None], (2, 2)) for x in (half, third)]
    np.testing.assert_allclose(distance("mse", both[0], both[1], (), key), 2 * 0.25**2, rtol=1e-5)
    exact = Normal(jnp.array([[1.0]]), jnp.array([[-30.0]]))
    wide = Normal(jnp.array([[3.0]]), jnp.array([[0.0]]))
    apart = distance("mse", exact, wide, (2.0,), key)
    np.testing.assert_allclose(apart, 1 - wide.log_prob(jnp.array([[1.0]])), rtol=1e-5)


def test_a_temperature_sharpens_discrete_policies_alone():
    policy = Categorical(jnp.log(jnp.array([0.6, 0.4])))
    assert sharpened(policy, 1.0) is policy
    np.testing.assert_allclose(jax.nn.softmax(sharpened(policy, 0.01).logits), [1.0, 0.0], atol=1e-6)
    normal = Normal(jnp.zeros(2), jnp.zeros(2))
    assert sharpened(normal, 0.01) is normal


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"mixture": 1.5}, "mixture"),
        ({"loss": "huber"}, "loss"),
        ({"temperature": 0.0}, "temperature"),
        ({"num_kept": 0}, "num_kept"),
        ({"num_rounds": 0}, "num_rounds"),
    ],
)
def test_what_is_wrong_is_named(wrong, named):
    with pytest.raises(InputError, match=named):
        Distillation(**wrong)
