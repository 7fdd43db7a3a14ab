"""LEO and MMAML: what networks that read a phase make of it, and how their agents go on from there."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.leo import LEO, bounded_ratio
from quickstudy.agents.mmaml import MMAML
from quickstudy.errors import InputError
from quickstudy.nets.task_encoders import RecurrentEncoder, RelationEncoder
from tests.gradient_checks import SMALL, check_meta_gradient, first_phase, learned_in, lived
from tests.probes import ContinuousProbe, DiscreteProbe

LEO_SMALL = LEO(**SMALL, latent_size=3, encoder_size=4, num_latent_steps=2, num_head_steps=2)
MMAML_SMALL = MMAML(**SMALL, task_size=4, later_inner_rate=0.02)
AGENTS = {"leo": LEO_SMALL, "mmaml": MMAML_SMALL}
ENVS = {"discrete": DiscreteProbe(), "continuous": ContinuousProbe()}
QUICK = {("leo", "continuous", 3, "linear"), ("mmaml", "discrete", 1, "critic")}
ROWS = [
    pytest.param(*row, marks=() if row in QUICK else pytest.mark.slow)
    for agent in AGENTS
    for env in ENVS
    for num_adapts in (1, 3)
    for row in [(agent, env, num_adapts, baseline) for baseline in ("linear", "critic")]
]


@pytest.mark.parametrize(("name", "env", "num_adapts", "baseline"), ROWS)
def test_meta_gradient(name, env, num_adapts, baseline):
    check_meta_gradient(dataclasses.replace(AGENTS[name], baseline=baseline), ENVS[env], num_adapts)


@functools.cache
def leo():
    return lived(LEO_SMALL, ENVS["discrete"], 2)


@functools.cache
def mmaml():
    return lived(MMAML_SMALL, ENVS["discrete"], 2)


def adapted(agent, meta_params, trials, num_phases):
    """Of the first task, after so many phases."""
    phases = jax.tree.map(lambda x: x[:1, :num_phases], trials.phases)
    task_params = learned_in(agent, meta_params, trials._replace(key=trials.key[:1], phases=phases))
    return jax.tree.map(lambda x: x[0], task_params)


@pytest.mark.parametrize("make", [RecurrentEncoder, lambda *a: RelationEncoder(a[0], a[1], 3, a[2], 1.0)])
def test_encoders_know_no_order_of_streams_and_no_padding(make):
    x = jax.random.normal(jax.random.key(0), (3, 4, 2))
    mask = jnp.arange(4) < jnp.array([[4], [2], [3]])
    encode = make(2, 5, jax.random.key(1))
    said = encode(x, mask)
    np.testing.assert_allclose(encode(x[::-1], mask[::-1]), said, atol=1e-6)
    np.testing.assert_allclose(encode(jnp.where(mask[..., None], x, 9.0), mask), said, atol=1e-6)
    assert np.abs(encode(x.at[1, 1].add(1.0), mask) - said).max() > 1e-4
    without = encode(x, mask.at[1].set(False))
    np.testing.assert_allclose(without, encode(x[::2], mask[::2]), atol=1e-6)
    assert np.abs(without - said).max() > 1e-4


def test_relation_network_by_hand():
    """Streams of one step: the mean over all ordered pairs, each with itself too."""
    encode = RelationEncoder(2, 4, 3, jax.random.key(1), 1.0)
    x = np.random.default_rng(0).normal(size=(3, 1, 2)).astype(np.float32)
    e = np.tanh(x[:, 0] @ encode.inner.weight)
    pairs = [np.tanh(np.concatenate([a, b]) @ encode.pair.weight) for a in e for b in e]
    expected = np.mean(pairs, axis=0) @ encode.out.weight
    np.testing.assert_allclose(encode(jnp.asarray(x), jnp.ones((3, 1), bool)), expected, rtol=1e-5)


def test_leo_begins_with_the_learned_code():
    meta_params, trials = leo()
    begun = LEO_SMALL.init_task(meta_params, jax.random.key(0)).adapted
    np.testing.assert_array_equal(begun.code, meta_params.code)
    o = trials.phases.timestep.observation[0, 0, 0, 0]
    policy, _ = LEO_SMALL.says(meta_params, begun, o)
    np.testing.assert_allclose(policy.logits, meta_params.network(o)[0].logits, rtol=1e-6)


def test_leo_draws_its_code_by_the_key_and_once():
    meta_params, trials = leo()
    keys = jax.random.split(jax.random.key(3), 2)
    adapt = jax.jit(LEO_SMALL.adapt)
    begun, phase = LEO_SMALL.init_task(meta_params, keys[0]), first_phase(trials)
    one, other = (adapt(meta_params, begun, phase, key) for key in keys)
    assert np.abs(one.adapted.code - other.adapted.code).min() > 1e-4
    again, whatever = (adapt(meta_params, one, phase, key) for key in keys)
    np.testing.assert_array_equal(again.adapted.code, whatever.adapted.code)
    assert np.abs(again.adapted.code - one.adapted.code).min() > 0


def test_a_step_of_leo_is_the_policy_gradient():
    """Where the agent lived the phase itself its ratio is 1; then the head's step, from the new code."""
    agent = dataclasses.replace(LEO_SMALL, num_latent_steps=1, num_head_steps=1)
    meta_params, trials = lived(agent, ENVS["discrete"], 2)
    before, after = (adapted(agent, meta_params, trials, k).adapted for k in (1, 2))
    phase = first_phase(trials, 1)
    judged = agent.judge(phase)

    def log_prob(x):
        return jax.vmap(jax.vmap(lambda o: agent.says(meta_params, x, o)[0]))(
            phase.timestep.observation
        ).log_prob(phase.action)

    def loss(x, weight):
        return -(weight * judged.advantage * log_prob(x) * phase.mask).sum() / phase.mask.sum()

    step = jax.grad(loss)(before, 1.0).code
    np.testing.assert_allclose(after.code, before.code - meta_params.latent_rate * step, atol=1e-6)
    between = before._replace(code=after.code)
    ratio = jnp.exp(log_prob(between) - phase.log_prob)
    assert ratio.max() < 2
    step = jax.grad(loss)(between, ratio).offset
    np.testing.assert_allclose(after.offset, before.offset - meta_params.head_rate * step, atol=1e-6)


def test_a_ratio_weighs_no_more_than_two():
    ratios = jnp.array([0.1, 1.0, 1.9, 2.5, 100.0])
    np.testing.assert_allclose(bounded_ratio(jnp.log(ratios))[:3], ratios[:3], rtol=1e-6)
    slopes = jax.vmap(jax.grad(bounded_ratio))(jnp.log(ratios))
    np.testing.assert_allclose(slopes, jnp.minimum(ratios, 2.0), rtol=1e-6)


def test_mmaml_reads_the_first_phase_and_steps_on_the_later_ones():
    meta_params, trials = mmaml()
    begun = MMAML_SMALL.init_task(meta_params, jax.random.key(0)).adapted
    once, twice = (adapted(MMAML_SMALL, meta_params, trials, k).adapted for k in (1, 2))
    o = trials.phases.timestep.observation[0, 0, 0, 0]
    first_policy = MMAML_SMALL.says(meta_params, begun, o)[0]
    np.testing.assert_array_equal(first_policy.logits, meta_params.network(o)[0].logits)
    jax.tree.map(np.testing.assert_array_equal, once.network, meta_params.network)
    assert 0 < np.abs(once.modulation.scale - 1).max() < 0.5
    assert 0 < np.abs(once.modulation.shift).max() < 0.5
    jax.tree.map(np.testing.assert_array_equal, twice.modulation, once.modulation)
    judged = MMAML_SMALL.judge(first_phase(trials, 1))
    gradient = MMAML_SMALL.gradient(meta_params, once, judged, jnp.int32(1)).network
    jax.tree.map(
        lambda new, old, g: np.testing.assert_allclose(new, old - 0.1 * g, atol=1e-6),
        *(twice.network, once.network, gradient),
    )


def test_mmaml_counts_its_rates_from_its_first_step():
    np.testing.assert_allclose([MMAML_SMALL.rate(jnp.int32(k)) for k in range(4)], [0, 0.1, 0.02, 0.02])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MMAML(hidden_sizes=()), r"MMAML\.hidden_sizes: got \(\); expected at least one layer"),
        (lambda: LEO(latent_size=0), r"LEO\.latent_size: got 0; expected at least 1"),
        (lambda: LEO(estimator="dice"), r"LEO\.estimator: got 'dice'; expected lvc"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()
