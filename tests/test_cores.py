"""Memories: step form and sequence form agree, what is out of reach is forgotten, parts by closed form."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.errors import InputError
from quickstudy.nets import cores, resets
from quickstudy.nets.attention import attend, rotated
from quickstudy.nets.snail import SNAIL
from quickstudy.nets.state_space import StateSpace, StateSpaceBlock, in_parallel, linear_recurrence, one_by_one
from quickstudy.nets.transformer import Gate, Transformer

IN, HIDDEN, CONTEXT, STEPS = 3, 8, 4, 11
CUT = 5
"""Where a sequence is cut; one place, so that what is behind it is compiled once for a core."""
KINDS = [
    ("gru", 1),
    ("gru", 2),
    ("lstm", 1),
    ("state-space", 2),
    ("transformer", 2),
    ("snail", 1),
    ("fast-weights", 2),
    ("memory", 1),
]
each_core = pytest.mark.parametrize(("name", "num_layers"), KINDS)


@functools.cache
def made(name, num_layers):
    options = {"num_layers": num_layers, "num_heads": 2, "context": CONTEXT, "num_slots": 5}
    return cores.make(name, IN, HIDDEN, jax.random.key(0), **options)


@jax.jit
def unrolled(core, xs, state, reset):
    return core.unroll(xs, state, reset)


@jax.jit
def stepped(core, xs, state, reset):
    """Features and states [T] of the step form, in a scan whose state is emptied by hand."""

    def body(state, x):
        features, state = core.step(x[0], resets.where(x[1], core.init_state(), state))
        return state, (features, state)

    return jax.lax.scan(body, state, (xs, reset))[1]


def inputs(seed=1, num_steps=STEPS):
    return jax.random.normal(jax.random.key(seed), (num_steps, IN))


@each_core
def test_step_form_equals_sequence_form(name, num_layers):
    """Under resets at random times, and from a state in the middle of a stream."""
    core, xs = made(name, num_layers), inputs()
    reset = jax.random.bernoulli(jax.random.key(2), 0.2, (STEPS,))
    assert 0 < reset[1:].sum() < STEPS - 1
    features, states = stepped(core, xs, core.init_state(), reset)
    assert features.shape == (STEPS, core.feature_size)
    np.testing.assert_allclose(unrolled(core, xs, core.init_state(), reset), features, atol=1e-5)

    state = jax.tree.map(lambda x: x[CUT - 1], states)
    rest = unrolled(core, xs[CUT:], state, reset[CUT:])
    np.testing.assert_allclose(rest, features[CUT:], atol=1e-5)


@each_core
def test_no_resets_is_resets_never(name, num_layers):
    core, xs = made(name, num_layers), inputs()
    never = unrolled(core, xs, core.init_state(), jnp.zeros(STEPS, bool))
    np.testing.assert_allclose(unrolled(core, xs, core.init_state(), None), never, atol=1e-6)


@each_core
def test_a_reset_is_a_new_start(name, num_layers):
    core, xs = made(name, num_layers), inputs()
    whole = unrolled(core, xs, core.init_state(), jnp.arange(STEPS) == CUT)
    alone = unrolled(core, xs[CUT:], core.init_state(), jnp.zeros(STEPS - CUT, bool))
    np.testing.assert_allclose(whole[CUT:], alone, atol=1e-5)
    kept = unrolled(core, xs, core.init_state(), jnp.zeros(STEPS, bool))
    assert np.abs(whole[CUT:] - kept[CUT:]).max() > 1e-3


@each_core
def test_a_gradient_reaches_every_leaf(name, num_layers):
    core, xs = made(name, num_layers), inputs()
    # A weak type would become a strong one in the first update, and everything be compiled again.
    assert not any(x.weak_type for x in jax.tree.leaves(core))
    weights = jax.random.normal(jax.random.key(3), (STEPS, core.feature_size))
    grads = jax.jit(jax.grad(lambda core: (core.unroll(xs, core.init_state()) * weights).sum()))(core)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert jnp.issubdtype(grad.dtype, jnp.floating)
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, f"{jax.tree_util.keystr(path)} has no gradient"


REACHES = {
    "transformer": (Transformer(IN, HIDDEN, 2, 2, CONTEXT, jax.random.key(0)), 2 * (CONTEXT - 1)),
    # Dilations 1 and 2 reach 3 steps back, attention over 4 steps 3 more.
    "snail": (SNAIL(IN, HIDDEN, 1, CONTEXT, jax.random.key(0)), 3 + 3),
}


@pytest.mark.parametrize("name", REACHES)
def test_what_is_out_of_reach_is_forgotten_exactly(name):
    core, reach = REACHES[name]
    xs, xs_other = inputs(), inputs().at[0].add(1.0)
    ones, others = (stepped(core, x, core.init_state(), jnp.zeros(STEPS, bool))[0] for x in (xs, xs_other))
    np.testing.assert_array_equal(ones[reach + 1 :], others[reach + 1 :])
    assert np.abs(ones[reach] - others[reach]).max() > 0


def test_scan_equals_plain_recurrence_in_float64():
    k_radius, k_phase, k_inputs = jax.random.split(jax.random.key(4), 3)
    with jax.enable_x64(True):
        radius = jax.random.uniform(k_radius, (64, 3), jnp.float64)
        factors = radius * jnp.exp(1j * jax.random.uniform(k_phase, (64, 3), jnp.float64, 0, 6))
        given = jax.random.normal(k_inputs, (64, 3), jnp.complex128)
        expected, z = [], np.zeros(3, np.complex128)
        for a, b in zip(np.asarray(factors), np.asarray(given), strict=True):
            z = a * z + b
            expected.append(z)
        for recurrence in (linear_recurrence, one_by_one, in_parallel):
            np.testing.assert_allclose(jax.jit(recurrence)(factors, given), expected, atol=1e-14)


def test_a_state_space_in_chunks_is_the_one_in_one_piece():
    """Also where the last chunk is not full, and its gradient."""
    core = StateSpace(IN, HIDDEN, 1, jax.random.key(12))
    xs, reset = inputs(num_steps=7), jnp.arange(7) == 3

    def loss(core, whole):
        features = (
            core._walk(core.init_state(), (xs, reset))[1]
            if whole
            else core.unroll(xs, core.init_state(), reset)
        )
        return (features**3).sum()

    slope = jax.jit(jax.value_and_grad(loss), static_argnums=1)
    for ours, whole in zip(*(jax.tree.leaves(slope(core, x)) for x in (False, True)), strict=True):
        np.testing.assert_allclose(ours, whole, rtol=1e-4, atol=1e-5)


def test_the_recurrence_s_own_derivative_is_that_of_the_plain_scan():
    """Forward and backward, a second time too: trust regions and meta-gradients take derivatives of it."""
    with jax.enable_x64(True):
        k_factors, k_inputs, k_dot = jax.random.split(jax.random.key(11), 3)
        factors = jax.random.uniform(k_factors, (9, 2), jnp.float64).at[4].set(0.0)
        given, dot = jax.random.normal(k_inputs, (9, 2)), jax.random.normal(k_dot, (9, 2))

        def of(recurrence):
            def loss(factors, given):
                return (recurrence(factors, given) ** 3).sum()

            def slope(factors, given):
                return jax.jvp(jax.grad(loss, argnums=(0, 1)), (factors, given), (dot, dot))

            return jax.jit(slope)(factors, given)

        for ours, plain in zip(
            jax.tree.leaves(of(linear_recurrence)), jax.tree.leaves(of(one_by_one)), strict=True
        ):
            np.testing.assert_allclose(ours, plain, rtol=1e-10, atol=1e-12)


def test_a_state_space_remembers_as_its_eigenvalues_say():
    """One input at time 0: the state after t steps is λ^t times the first."""
    core = StateSpace(IN, HIDDEN, 1, jax.random.key(5))
    block = core.blocks[0]
    zeros = jnp.zeros((20, HIDDEN))  # which a normalisation leaves 0
    us = zeros.at[0].set(jax.random.normal(jax.random.key(6), (HIDDEN,)))

    def body(z, u):
        z = block.step(u, z)[1]
        return z, z

    states = jax.jit(lambda us: jax.lax.scan(body, block.init_state(), us)[1])(us)
    decay = jnp.exp(-jnp.exp(block.log_decay))
    np.testing.assert_allclose(jnp.abs(states[-1]), decay**19 * jnp.abs(states[0]), rtol=1e-4)


def test_a_state_space_begins_with_short_and_long_memories():
    """As many units for 2 to 17 steps as for 17 to 141, for 141 to 1189, and for 1189 to 10,000."""
    block = StateSpaceBlock(256, jax.random.key(13))
    steps = -1 / jnp.log(jnp.abs(block._eigenvalues()))
    counts = jnp.histogram(steps, jnp.geomspace(2.0, 10_000.0, 5))[0]
    assert counts.sum() >= 254  # one at an edge may be rounded beyond it
    np.testing.assert_allclose(counts, 64, atol=28)  # four deviations
    assert 1e-3 <= jnp.exp(block.log_phase).min() < 2e-3
    assert 1.5 < jnp.exp(block.log_phase).max() <= 3.1416


@pytest.mark.parametrize("num_steps", [2, 4, 9])
def test_attention_in_blocks_equals_the_plain_sum(num_steps):
    k_q, k_k, k_v = jax.random.split(jax.random.key(7), 3)
    q = jax.random.normal(k_q, (num_steps, 2, 4))
    k, v = (jax.random.normal(x, (CONTEXT - 1 + num_steps, 2, 4)) for x in (k_k, k_v))
    ages = np.array([5, 6, 0, 1, 2, 3, 4, 0, 1])[:num_steps]
    expected = np.zeros(q.shape)
    for t in range(num_steps):
        reached = [t - d + CONTEXT - 1 for d in range(min(CONTEXT, ages[t] + 1))]
        for h in range(2):
            logits = np.asarray(k)[reached, h] @ np.asarray(q)[t, h] / 2
            shares = np.exp(logits) / np.exp(logits).sum()
            expected[t, h] = shares @ np.asarray(v)[reached, h]
    attended = jax.jit(attend, static_argnames="rotary")(q, k, v, jnp.asarray(ages), rotary=False)
    np.testing.assert_allclose(attended, expected, atol=1e-5)


def test_products_of_rotated_vectors_depend_on_their_distance_alone():
    q, k = jax.random.normal(jax.random.key(8), (2, 1, 1, 5))

    @jax.jit
    def product(at_q, at_k):
        return (rotated(q, at_q[None]) * rotated(k, at_k[None])).sum()

    np.testing.assert_allclose(product(3, 1), product(40, 38), rtol=1e-4)
    assert abs(product(3, 1) - product(3, 2)) > 1e-3


def test_a_gated_transformer_begins_near_the_identity():
    """With b = 2 alone, the share σ(-2) = 0.12 of the block's answer, here 0, is let in."""
    gate = Gate(HIDDEN, jax.random.key(9))
    silent = jax.tree.map(jnp.zeros_like, gate)
    silent = eqx.tree_at(lambda gate: gate.from_y.bias, silent, gate.from_y.bias)
    x, y = jax.random.normal(jax.random.key(10), (2, HIDDEN))
    np.testing.assert_allclose(silent(x, y), x / (1 + np.exp(-2)), rtol=1e-5)


def test_an_unknown_core_is_told():
    with pytest.raises(InputError, match="core: unknown name 'gruu'; did you mean 'gru'"):
        cores.make("gruu", IN, HIDDEN, jax.random.key(0))  # pyright: ignore[reportArgumentType]
