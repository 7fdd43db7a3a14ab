"""Memories against their equations, written again in NumPy, and in the form that accelerators take.

Each reference takes its weights from the core, and its steps from one reset to the next, each a new start.
"""

from unittest.mock import Mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.nets import cores, resets
from quickstudy.nets.external_memory import ExternalMemory

IN, HIDDEN, HEADS, CONTEXT, SLOTS, STEPS = 3, 10, 2, 4, 5, 14
RESET = 6
"""More steps than the window and the slots hold, before it and after."""
STREAMS = 4


def made(name, num_layers, seed=0):
    """A core whose weights are all drawn: no bias is 0, no scale 1."""
    options = {"num_layers": num_layers, "num_heads": HEADS, "context": CONTEXT, "num_slots": SLOTS}
    shapes = jax.eval_shape(lambda key: cores.make(name, IN, HIDDEN, key, **options), jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.5, x.shape), x.dtype), shapes)


def inputs(*shape):
    return np.random.default_rng(1).normal(size=(*shape, IN)).astype(np.float32)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def gelu(x):
    """The approximation with tanh, of Hendrycks and Gimpel 2016 (arXiv 1606.08415)."""
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def linear(weights, x):
    return x @ weights.weight + weights.bias


def layer_norm(weights, x):
    centred = x - x.mean(-1, keepdims=True)
    return weights.scale * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) + weights.bias


def gru(weights, xs):
    W_r, W_z, W_n = np.split(weights.w_input, 3, axis=1)
    U_r, U_z, U_n = np.split(weights.w_hidden, 3, axis=1)
    b_r, b_z, b_n = np.split(weights.bias, 3)
    h, features = np.zeros(HIDDEN), []
    for x in xs:
        r = sigmoid(x @ W_r + h @ U_r + b_r)
        z = sigmoid(x @ W_z + h @ U_z + b_z)
        n = np.tanh(x @ W_n + b_n + r * (h @ U_n + weights.bias_candidate))
        h = (1 - z) * n + z * h
        features.append(h)
    return features


def lstm_step(weights, x, h, c):
    W, U, b = (np.split(x, 4, axis=-1) for x in (weights.w_input, weights.w_hidden, weights.bias))
    i, f, o = (sigmoid(x @ W[n] + h @ U[n] + b[n]) for n in range(3))
    c = f * c + i * np.tanh(x @ W[3] + h @ U[3] + b[3])
    return o * np.tanh(c), c


def lstm(weights, xs):
    h, c, features = np.zeros(HIDDEN), np.zeros(HIDDEN), []
    for x in xs:
        h, c = lstm_step(weights, x, h, c)
        features.append(h)
    return features


def state_space(weights, xs):
    """With the recurrence solved: z_t = Σ_s λ^(t-s) γ B u_s."""
    xs = linear(weights.embed, xs)
    for block in weights.blocks:
        eigenvalues = np.exp(-np.exp(block.log_decay) + 1j * np.exp(block.log_phase))
        us = layer_norm(block.norm, xs)
        given = np.sqrt(1 - np.abs(eigenvalues) ** 2) * (
            us @ (block.to_real.weight + 1j * block.to_imaginary.weight)
            + (block.to_real.bias + 1j * block.to_imaginary.bias)
        )
        zs = np.stack([sum(eigenvalues ** (t - s) * given[s] for s in range(t + 1)) for t in range(len(xs))])
        to_output = block.from_real.weight + 1j * block.from_imaginary
        ys = gelu((zs @ to_output).real + block.from_real.bias + block.skip * us)
        value, gate = np.split(linear(block.gate, ys), 2, axis=1)
        xs = xs + value * sigmoid(gate)
    return layer_norm(weights.norm, xs)


def attention(q, k, v, product):
    """One head over a window; `product` of a query, a key and the distance between them."""
    read = np.zeros_like(v)
    for t in range(len(q)):
        seen = np.arange(max(0, t - CONTEXT + 1), t + 1)
        logits = np.array([product(q[t], k[j], t - j) for j in seen]) / np.sqrt(q.shape[1])
        read[t] = softmax(logits) @ v[seen]
    return read


def rotary_product(q, k, distance):
    """Pairs of entries as complex numbers, the one turned against the other; the odd entry as it is."""
    half = len(q) // 2
    q_pairs, k_pairs = (x[:half] + 1j * x[half : 2 * half] for x in (q, k))
    turn = np.exp(1j * distance * 10_000.0 ** (-np.arange(half) / half))
    return (q_pairs * turn * k_pairs.conj()).real.sum() + q[2 * half :] @ k[2 * half :]


def gate(weights, x, y):
    """Its bias -b stands in the bias of `from_y`."""
    W_r, W_z, W_n = np.split(weights.from_y.weight, 3, axis=1)
    b_r, b_z, b_n = np.split(weights.from_y.bias, 3)
    U_r, U_z = np.split(weights.from_x, 2, axis=1)
    r = sigmoid(y @ W_r + x @ U_r + b_r)
    z = sigmoid(y @ W_z + x @ U_z + b_z)
    n = np.tanh(y @ W_n + (r * x) @ weights.candidate_from_x + b_n)
    return (1 - z) * x + z * n


def transformer(weights, xs):
    filled = np.minimum(np.arange(len(xs)), CONTEXT) / CONTEXT
    xs = relu(linear(weights.embed, np.column_stack([xs, filled])))
    for block in weights.blocks:
        parts = np.split(linear(block.project, layer_norm(block.attention_norm, xs)), 3, axis=1)
        heads = zip(*(np.split(x, HEADS, axis=1) for x in parts), strict=True)
        read = np.concatenate([attention(q, k, v, rotary_product) for q, k, v in heads], axis=1)
        ys = gate(block.attention_gate, xs, relu(linear(block.mix, read)))
        answer = linear(block.narrow, relu(linear(block.widen, layer_norm(block.mlp_norm, ys))))
        xs = gate(block.mlp_gate, ys, relu(answer))
    return layer_norm(weights.norm, xs)


def snail(weights, xs):
    """With a context of 4: two convolutions, of dilations 1 and 2, and attention."""
    xs = np.tanh(linear(weights.embed, xs))
    for n, layer in enumerate(weights.layers):
        if n % 3 < 2:
            dilation = 2 ** (n % 3)
            earlier = np.concatenate([np.zeros((dilation, xs.shape[1])), xs])[: len(xs)]
            f, g = np.split(linear(layer.linear, np.column_stack([earlier, xs])), 2, axis=1)
            xs = np.column_stack([xs, np.tanh(f) * sigmoid(g)])
        else:
            q, k, v = np.split(linear(layer.project, xs), 3, axis=1)
            xs = np.column_stack([xs, attention(q, k, v, lambda q, k, distance: q @ k)])
    return xs


def cosine(x, y):
    lengths = np.linalg.norm(x) * np.linalg.norm(y)
    return x @ y / lengths if lengths > 0 else 0.0


def memory(weights, xs):
    width = HIDDEN // 2
    h, c, usage, features = np.zeros(HIDDEN), np.zeros(HIDDEN), np.zeros(SLOTS), []
    M, w_read, read = np.zeros((SLOTS, width)), np.zeros((HEADS, SLOTS)), np.zeros(HEADS * width)
    for x in xs:
        h, c = lstm_step(weights.controller, np.concatenate([x, read]), h, c)
        said = linear(weights.interface, h).reshape(HEADS, width + 2)
        keys, strengths, shares = np.tanh(said[:, :width]), np.log1p(np.exp(said[:, -2])), sigmoid(said[:, -1])

        least_used = np.argsort(usage, kind="stable")[:HEADS]
        w_write = shares[:, None] * w_read
        w_write[range(HEADS), least_used] += 1 - shares
        M[least_used] = 0
        M = M + sum(np.outer(*of_head) for of_head in zip(w_write, keys, strict=True))

        likeness = np.array([[cosine(key, slot) for slot in M] for key in keys])
        w_read = np.stack([softmax(x) for x in strengths[:, None] * likeness])
        read = np.concatenate(list(w_read @ M))
        usage = 0.95 * usage + w_read.sum(0) + w_write.sum(0)
        features.append(layer_norm(weights.norm, np.concatenate([h, read])))
    return features


EQUATIONS = {
    "gru": (gru, 1),
    "lstm": (lstm, 1),
    "state-space": (state_space, 2),
    "transformer": (transformer, 2),
    "snail": (snail, 2),
    "memory": (memory, 1),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_both_forms_are_the_equations(name):
    equations, num_layers = EQUATIONS[name]
    core, xs = made(name, num_layers), inputs(STEPS)
    weights = jax.tree.map(lambda x: np.asarray(x, np.float64), core)
    pieces = np.split(xs.astype(np.float64), [RESET])
    expected = np.concatenate([equations(weights, piece) for piece in pieces])

    step, state, features = jax.jit(lambda x, state: core.step(x, state)), core.init_state(), []
    for t, x in enumerate(xs):
        of_step, state = step(x, core.init_state() if t == RESET else state)
        features.append(of_step)
    np.testing.assert_allclose(features, expected, atol=1e-5)

    sequence = jax.jit(lambda xs, reset: core.unroll(xs, core.init_state(), reset))
    np.testing.assert_allclose(sequence(xs, np.arange(STEPS) == RESET), expected, atol=1e-5)


def transparent_memory(num_slots):
    """One head and five inputs, each its own key; it writes to the least used slot alone and reads sharply."""
    size = 5
    shapes = jax.eval_shape(lambda key: ExternalMemory(size, 2 * size, 1, num_slots, key), jax.random.key(0))
    core = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), shapes)
    same, none = np.eye(size, 2 * size), np.zeros((size, 2 * size))
    w_input = np.zeros((2 * size, 8 * size))  # Of the gates i, f and o the biases alone are left.
    w_input[:, 6 * size :] = np.concatenate([3 * same, none])
    bias = np.repeat([20.0, -20.0, 20.0, 0.0], 2 * size)
    interface = np.concatenate([np.eye(2 * size, size), np.zeros((2 * size, 2))], axis=1)
    strength_and_gate = np.concatenate([np.zeros(size), [20.0, -20.0]])
    weights = (w_input, np.zeros_like(core.controller.w_hidden), bias, interface, strength_and_gate)

    def places(core):
        controller, said = core.controller, core.interface
        return controller.w_input, controller.w_hidden, controller.bias, said.weight, said.bias

    return eqx.tree_at(places, core, tuple(jnp.asarray(x, jnp.float32) for x in weights))


def test_the_slot_overwritten_is_the_least_used_and_not_the_oldest():
    """Of a, b and c the oldest, a, is shown again: b, younger but not read again, is given up before it."""
    core = transparent_memory(num_slots=4)
    step, state, written, found = jax.jit(lambda x, state: core.step(x, state)), core.init_state(), [], []
    keys = np.eye(5) * np.tanh(np.tanh(np.tanh(3.0)))
    a, b, c, d, e = range(5)
    for shown in (a, b, c, a, d, e):
        _, after = step(np.eye(5, dtype=np.float32)[shown], state)
        written.append(int(np.abs(after.memory - state.memory).sum(-1).argmax()))
        np.testing.assert_allclose(after.memory[written[-1]], keys[shown], atol=1e-5)
        np.testing.assert_allclose(after.read, keys[shown], atol=1e-5)
        found.append(after.read_weights[0])
        state = after

    assert sorted(written[:4]) == [0, 1, 2, 3]
    # What is shown again is found in both of its slots.
    np.testing.assert_allclose(found[3][np.array([written[0], written[3]])], 0.5, atol=1e-5)
    # A use is a write or a read: that second copy, read by half, is the least used of the four, and then b.
    assert written[4:] == [written[3], written[1]]
    np.testing.assert_allclose(state.memory[written[0]], keys[a], atol=1e-5)
    np.testing.assert_allclose(state.memory[written[2]], keys[c], atol=1e-5)


@pytest.fixture
def accelerator(monkeypatch):
    """Cores are told that they are on one, and take the form that they have for it."""
    backend = Mock(return_value="gpu")
    monkeypatch.setattr(jax, "default_backend", backend)
    yield
    backend.assert_called()


def stepped(core, xs, state, reset):
    """The step form, in a scan whose state is emptied by hand; -> (features [T, F], the last state)"""

    def body(state, given):
        features, state = core.step(given[0], resets.where(given[1], core.init_state(), state))
        return state, features

    return jax.lax.scan(body, state, (xs, reset))[::-1]


def streams(core):
    """Inputs, the states of streams that have begun, and random resets, some of them at the first step."""
    xs = inputs(STREAMS, STEPS + 1)
    states = jax.vmap(lambda x: core.step(x, core.init_state())[1])(xs[:, 0])
    reset = np.random.default_rng(2).random((STREAMS, STEPS)) < 0.25
    assert 0 < reset[:, 0].sum() < STREAMS
    assert reset[:, 1:].any()
    return xs[:, 1:], states, reset


@pytest.mark.usefixtures("accelerator")
@pytest.mark.parametrize(
    ("name", "num_layers"),
    [("gru", 1), ("gru", 2), ("lstm", 1), ("lstm", 2), ("state-space", 1), ("state-space", 2)],
)
def test_the_sequence_form_of_accelerators_equals_the_step_form(name, num_layers):
    """Features, and the gradient in all weights and in the state before."""
    core = made(name, num_layers)
    xs, states, reset = streams(core)
    weights = np.random.default_rng(3).normal(size=(STREAMS, STEPS, core.feature_size)).astype(np.float32)

    def value(form):
        def loss(core, states):
            features = jax.vmap(form, in_axes=(None, 0, 0, 0))(core, xs, states, reset)
            return (features * weights).sum(), features

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(core, states)

    (_, expected), expected_grads = value(lambda *given: stepped(*given)[0])
    (_, features), grads = value(lambda core, *given: core.unroll(*given))
    np.testing.assert_allclose(features, expected, atol=1e-5)
    for grad, expected_grad in zip(*map(jax.tree.leaves, (grads, expected_grads)), strict=True):
        assert np.abs(expected_grad).max() > 0
        np.testing.assert_allclose(grad, expected_grad, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("accelerator")
def test_a_state_space_on_an_accelerator_ends_in_the_state_of_the_step_form():
    core = made("state-space", 2)
    given = streams(core)
    expected = jax.jit(jax.vmap(lambda *given: stepped(core, *given)[1]))(*given)
    walked = jax.jit(jax.vmap(lambda xs, state, reset: core._walk(state, (xs, reset))[0]))(*given)
    np.testing.assert_allclose(walked, expected, atol=1e-5)
