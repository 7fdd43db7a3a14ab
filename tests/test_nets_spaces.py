"""From spaces to networks: squashed and many-numbered actions, pictures, time left, heads, by closed form."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy.agents.rl2 import RL2
from quickstudy.errors import InputError
from quickstudy.nets.distributions import SQUASH_LIMIT, Categorical, MultiCategorical, TanhNormal
from quickstudy.nets.heads import HyperHeads
from quickstudy.nets.images import ImageEncoder
from quickstudy.nets.spaces import Actions, Encoder, PolicyHead, TimeStepEncoder
from quickstudy.references.random_agent import Random
from quickstudy.types import TimeStep
from tests.probes import TRIAL, ContinuousProbe, DiscreteProbe, MultiDiscreteProbe


def squashed(mean, log_std, low=-1.0, high=3.0):
    mean, log_std = jnp.atleast_1d(jnp.asarray(mean)), jnp.atleast_1d(jnp.asarray(log_std))
    centre, half_range = jnp.full_like(mean, (low + high) / 2), jnp.full_like(mean, (high - low) / 2)
    return TanhNormal(mean, log_std, centre, half_range)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (1.5, -1.0), (-0.7, 0.4)])
def test_the_squashed_density_integrates(mean, log_std):
    """By the trapezium rule, in float64: the density to the mass within the cut, and so the entropy."""
    with jax.enable_x64(True):
        policy = squashed(jnp.float64(mean), jnp.float64(log_std))
        u = jnp.linspace(-SQUASH_LIMIT, SQUASH_LIMIT, 20_001)
        actions = 1 + 2 * jnp.tanh(u)
        log_prob = policy.log_prob(actions[:, None])
        below, above = (
            math.erf((x - mean) / math.exp(log_std) / math.sqrt(2)) for x in (-SQUASH_LIMIT, SQUASH_LIMIT)
        )
        np.testing.assert_allclose(jnp.trapezoid(jnp.exp(log_prob), actions), (above - below) / 2, rtol=1e-6)
        entropy = -jnp.trapezoid(jnp.exp(log_prob) * log_prob, actions)
        np.testing.assert_allclose(policy.entropy(), entropy, atol=1e-2)
        mean_action = jnp.trapezoid(jnp.exp(log_prob) * actions, actions)
        samples = jax.vmap(policy.sample)(jax.random.split(jax.random.key(0), 20_000))
        np.testing.assert_allclose(samples.mean(), mean_action, atol=0.03)


def test_a_squashed_log_prob_by_hand():
    """u = 0 with N(0, 1), half range 2 at slope 1: log N(0) - log 2, in each of two dimensions."""
    policy = squashed(jnp.zeros(2), jnp.zeros(2))
    expected = 2 * (-0.5 * np.log(2 * np.pi) - np.log(2))
    np.testing.assert_allclose(policy.log_prob(jnp.ones(2)), expected, rtol=1e-6)


def test_actions_on_the_bounds_have_a_finite_log_prob_and_gradient():
    bounds = jnp.array([[-1.0], [3.0], [2.9999999]])
    for mean in (0.0, 20.0, -300.0):
        policy = squashed(mean, -1.0)
        assert np.isfinite(policy.log_prob(bounds)).all()
        grad = jax.grad(lambda mean: squashed(mean, -1.0).log_prob(bounds).sum())(jnp.float32(mean))
        assert np.isfinite(grad)
        assert np.isfinite(policy.entropy())
        sample = policy.sample(jax.random.key(0))
        assert -1.0 <= float(sample[0]) <= 3.0
        assert np.isfinite(policy.log_prob(sample))


def test_squashing_changes_no_divergence():
    one, other = squashed([0.3, -1.0], [-0.5, 0.2]), squashed([0.0, -0.5], [0.1, 0.0])
    samples = jax.vmap(one.sample)(jax.random.split(jax.random.key(1), 50_000))
    difference = (one.log_prob(samples) - other.log_prob(samples)).mean()
    np.testing.assert_allclose(one.kl(other), difference, atol=0.02)


def test_many_numbers_are_independent_categoricals():
    logits = jnp.array([0.5, -1.0, 2.0, 0.0, 1.0])
    one = MultiCategorical(logits, (3, 2))
    parts = Categorical(logits[:3]), Categorical(logits[3:])
    np.testing.assert_allclose(
        one.log_prob(jnp.array([2, 0])),
        parts[0].log_prob(jnp.array(2)) + parts[1].log_prob(jnp.array(0)),
        rtol=1e-6,
    )
    np.testing.assert_allclose(one.entropy(), parts[0].entropy() + parts[1].entropy(), rtol=1e-6)
    every = jnp.stack(jnp.meshgrid(jnp.arange(3), jnp.arange(2), indexing="ij"), -1).reshape(-1, 2)
    np.testing.assert_allclose(jnp.exp(one.log_prob(every)).sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(one.mode(), [2, 1])
    even = MultiCategorical(jnp.zeros(5), (3, 2))
    np.testing.assert_allclose(even.entropy(), np.log(6), rtol=1e-6)
    np.testing.assert_allclose(one.kl(even), np.log(6) - one.entropy(), rtol=1e-5)
    samples = jax.vmap(one.sample)(jax.random.split(jax.random.key(2), 20_000))
    assert samples.shape == (20_000, 2)
    np.testing.assert_allclose((samples[:, 1] == 1).mean(), jnp.exp(parts[1].log_prob(jnp.array(1))), atol=0.02)


def test_many_numbers_are_one_hot_side_by_side():
    encode = Encoder(spaces.MultiDiscrete([3, 2]))
    np.testing.assert_array_equal(encode(jnp.array([2, 0])), [0, 0, 1, 1, 0])
    assert encode.size == 5
    with pytest.raises(InputError, match="expected Discrete from 0, MultiDiscrete of one axis from 0, or Box"):
        Encoder(spaces.MultiDiscrete([3, 2], start=[1, 0]))


def test_the_random_agent_knows_many_numbers():
    policy = Random().init(MultiDiscreteProbe(), TRIAL, jax.random.key(0))
    np.testing.assert_allclose(policy.entropy(), np.log(6), rtol=1e-6)


def test_squashing_needs_bounds():
    assert isinstance(Actions(spaces.Box(-2.0, 2.0, (2,)), squash=True)(jnp.zeros(2)), TanhNormal)
    for space in (spaces.Discrete(3), spaces.Box(-np.inf, 1.0, (2,))):
        with pytest.raises(InputError, match="squash expects Box of one axis with bounds"):
            PolicyHead(4, space, jax.random.key(0), squash=True)


@pytest.mark.parametrize(
    ("space", "num_convolutions", "in_channels"),
    [
        (spaces.Box(0, 255, (84, 84, 3), np.uint8), 4, 3),
        (spaces.Box(0, 12, (5, 5, 2), np.uint8), 2, 26),
        (spaces.Box(-1.0, 1.0, (9, 7, 2), np.float32), 2, 2),
        (spaces.Box(-np.inf, np.inf, (3, 3, 1), np.float32), 2, 1),
    ],
    ids=["pixels", "tiles", "bounded", "unbounded"],
)
def test_a_picture_becomes_a_vector(space, num_convolutions, in_channels):
    encode = jax.eval_shape(lambda key: ImageEncoder(space, key), jax.random.key(0))
    assert len(encode.convolutions) == num_convolutions
    assert encode.convolutions[0].weight.shape[2] == in_channels
    images = jax.ShapeDtypeStruct((6, *space.shape), space.dtype)
    assert jax.eval_shape(lambda encode, x: jax.vmap(encode)(x), encode, images).shape == (6, encode.size)


def test_tiles_are_told_apart_and_pixels_scaled():
    """White is 1; and tile 2 is no double of tile 1."""
    pixels = ImageEncoder(spaces.Box(0, 255, (3, 3, 1), np.uint8), jax.random.key(0))
    scaled = ImageEncoder(spaces.Box(0.0, 1.0, (3, 3, 1), np.float32), jax.random.key(0))
    white = jnp.full((3, 3, 1), 255, jnp.uint8)
    np.testing.assert_allclose(pixels(white), scaled(jnp.ones((3, 3, 1))), rtol=1e-5)
    tiles = ImageEncoder(spaces.Box(0, 2, (3, 3, 1), np.int32), jax.random.key(0))
    zero, one, two = (tiles(jnp.full((3, 3, 1), i)) for i in range(3))
    assert np.abs(two - one - (one - zero)).max() > 1e-3


def test_what_is_fed_is_chosen():
    env = DiscreteProbe()
    timestep = TimeStep(jnp.array([5.0, 6.0]), jnp.int32(1), jnp.float32(7.0), jnp.asarray(True))
    np.testing.assert_array_equal(TimeStepEncoder(env)(timestep), [5, 6, 0, 1, 0, 7, 1])
    bare = TimeStepEncoder(env, action=False, first=False)
    np.testing.assert_array_equal(bare(timestep), [5, 6, 7])
    assert bare.size == 3
    assert TimeStepEncoder(env, action=False, reward=False, first=False).size == 2


def test_the_time_left_is_counted_in_memory():
    """Episodes of 4 steps, 12 in the trial; the second episode opens at the fourth step."""
    agent, env = (
        RL2(feed_trial_time=True, feed_episode_time=True, feed_action=False, hidden_size=2),
        DiscreteProbe(),
    )
    meta_params = agent.init(env, TRIAL, jax.random.key(0))
    assert (meta_params.trial_steps, meta_params.episode_steps) == (12, 4)
    memory, seen = agent.init_memory(meta_params, ()), []
    first = jnp.array([True, False, False, True, False])
    steps = TimeStep(jnp.zeros((5, 2)), jnp.zeros(5, jnp.int32), jnp.zeros(5), first)
    for t in range(5):
        timestep = jax.tree.map(lambda x, t=t: x[t], steps)
        in_episode = jnp.where(timestep.first, 0, memory.clock.in_episode)
        clock = memory.clock._replace(in_episode=in_episode)
        seen.append(agent._inputs(meta_params, timestep, clock)[1][-2:])
        _, memory = agent.step(meta_params, (), memory, timestep, jax.random.key(t))
    expected = [[1, 1], [11 / 12, 3 / 4], [10 / 12, 2 / 4], [9 / 12, 1], [8 / 12, 3 / 4]]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


def test_a_memory_that_is_reset_learns_nothing_from_the_episode_before():
    agent, env = RL2(hidden_size=4, reset="episode", feed_previous=True), DiscreteProbe()
    meta_params = agent.init(env, TRIAL, jax.random.key(0))
    first = jnp.array([True, False, True, False])
    observations = jax.random.normal(jax.random.key(1), (4, 2))
    steps = TimeStep(observations, jnp.array([0, 1, 1, 1]), jnp.array([0.0, 3.0, 4.0, 5.0]), first)
    # A trial begins without an action or a reward before it.
    second = TimeStep(observations[2:], jnp.array([0, 1]), jnp.array([0.0, 5.0]), first[2:])
    memory = agent.init_memory(meta_params, ())
    whole = agent.unroll(meta_params, (), memory, steps).value
    alone = agent.unroll(meta_params, (), memory, second).value
    np.testing.assert_allclose(whole[2:], alone, atol=1e-6)
    lived = memory
    for t in range(4):
        output, lived = agent.step(
            meta_params, (), lived, jax.tree.map(lambda x, t=t: x[t], steps), jax.random.key(t)
        )
        np.testing.assert_allclose(output.value, whole[t], atol=1e-6)
    kept = dataclasses.replace(agent, reset="trial").unroll(meta_params, (), memory, steps).value
    assert np.abs(kept[2:] - alone).max() > 1e-3


def test_a_hypernetwork_begins_as_an_ordinary_network():
    """Bias-HyperInit: whatever the features, the weights are the bias, an MLP by hand, until W has learned."""
    env, heads = ContinuousProbe(), HyperHeads(5, 3, 4, ContinuousProbe().action_space, jax.random.key(0))
    observed = jnp.array([0.2, -1.0, 0.5])
    hidden, out = heads.bias[:16].reshape(4, 4), heads.bias[16:].reshape(5, 3)
    expected = jnp.tanh(observed @ hidden[:3] + hidden[3]) @ out[:4] + out[4]
    policy, value = heads(jnp.zeros(5), observed)
    np.testing.assert_allclose(policy.mode(), 2 * expected[:2], atol=1e-6)  # half the range of the actions is 2
    np.testing.assert_allclose(value, expected[2], atol=1e-6)
    assert env.action_space.shape == (2,)
    batch = heads(jnp.zeros((6, 5)), jnp.tile(observed, (6, 1)))
    np.testing.assert_allclose(batch[1], jnp.full(6, value), atol=1e-6)
    features = jax.random.normal(jax.random.key(1), (5,))
    np.testing.assert_array_equal(heads(features, observed)[1], value)

    learned = eqx.tree_at(lambda h: h.weight, heads, jax.random.normal(jax.random.key(2), heads.weight.shape))
    theta = heads.bias + features @ learned.weight
    hidden, out = theta[:16].reshape(4, 4), theta[16:].reshape(5, 3)
    moved = (jnp.tanh(observed @ hidden[:3] + hidden[3]) @ out[:4] + out[4])[2]
    assert np.abs(moved - value) > 0.1
    np.testing.assert_allclose(learned(features, observed)[1], moved, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"core": "lstn"}, "RL2.core: got 'lstn'; expected one of gru, lstm"),
        (
            {"core": "transformer", "hidden_size": 10},
            "RL2.num_heads: got 4; expected at least 1, and a divisor",
        ),
        ({"core": "memory", "num_slots": 3}, "RL2.num_slots: got 3; expected at least num_heads"),
        ({"reset": "never"}, "RL2.reset: got 'never'; expected one of trial, episode"),
        ({"head": "mlp"}, "RL2.head: got 'mlp'; expected one of linear, hypernetwork"),
    ],
)
def test_settings_that_cannot_be_are_told(settings, told):
    with pytest.raises(InputError, match=told):
        RL2(**settings)
