"""Fast weights: sums and counts by hand, sequences longer than a chunk, what one step files under another."""

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy.nets import resets
from quickstudy.nets.fast_weights import CHUNK, FastWeights, Tables, _read

HEADS, SIZE = 2, 3


def test_one_hot_keys_count_and_sum():
    """Steps with key 0, 1, 0, 0 and values 1, 10, 2, 4; each asks for key 0."""
    k = jax.nn.one_hot(jnp.array([0, 1, 0, 0]), SIZE)[:, None, :]
    v = jnp.array([1.0, 10.0, 2.0, 4.0])[:, None, None]
    q = jnp.broadcast_to(k[:1], k.shape)
    empty = Tables(jnp.zeros((1, SIZE, 1)), jnp.zeros((1, SIZE)), jnp.zeros((1, SIZE)))
    sums, counts, (all_sums, all_counts) = _read(q, k, v, empty, jnp.arange(4))
    np.testing.assert_allclose(sums[:, 0, 0], [1, 1, 3, 7])
    np.testing.assert_allclose(counts[:, 0], [1, 1, 2, 3])
    np.testing.assert_allclose(all_sums[0, :, 0], [7, 10, 0])
    np.testing.assert_allclose(all_counts[0], [3, 1, 0])


def test_sequences_of_many_chunks_equal_single_steps():
    """With resets before, at and behind the borders of chunks."""
    core = FastWeights(4, HEADS * SIZE, 2, HEADS, jax.random.key(0))
    num_steps = 2 * CHUNK + 40
    xs = jax.random.normal(jax.random.key(1), (num_steps, 4))
    at = jnp.zeros(num_steps, bool).at[jnp.array([0, 50, CHUNK, CHUNK + 1, 2 * CHUNK - 1])].set(True)
    for reset in (None, at, at.at[0].set(False)):
        state = core.step(xs[0], core.init_state())[1]
        one_by_one = resets.scan(core.step, xs, state, core.init_state(), reset)
        np.testing.assert_allclose(core.unroll(xs, state, reset), one_by_one, atol=2e-5)


def test_what_follows_is_filed_under_what_it_followed():
    """A state that was seen before finds what came after it then, before it comes again."""
    core = FastWeights(4, HEADS * SIZE, 1, HEADS, jax.random.key(0))
    seen, other, after = jnp.eye(4)[0], jnp.eye(4)[1], 5 * jnp.eye(4)[2]
    told = core.unroll(jnp.stack([seen, after, other, seen]), core.init_state())[-1]
    not_told = core.unroll(jnp.stack([seen, -after, other, seen]), core.init_state())[-1]
    assert float(jnp.abs(told - not_told).max()) > 1e-3
    # Behind a reset nothing is filed under what came before it.
    cut = jnp.array([False, True, False, False])
    state = core.step(other, core.init_state())[1]
    fresh = core.unroll(jnp.stack([after, other, seen]), core.init_state())
    np.testing.assert_allclose(
        core.unroll(jnp.stack([seen, after, other, seen]), state, cut)[1:], fresh, atol=1e-6
    )
