"""Diagonal linear state spaces in gated blocks: a memory whose whole sequence is one linear recurrence.

    u_t = LayerNorm(x_t);   z_t = λ ∘ z_{t-1} + γ ∘ (B u_t);   y_t = Re(C z_t) + d ∘ u_t      z complex
    x'_t = x_t + W_1 gelu(y_t) ∘ σ(W_2 gelu(y_t))
    λ = exp(-exp(ν) + i exp(θ)),  γ = √(1 - |λ|²)

A linear recurrence is a product of the pairs (λ, γ B u), which is associative: an accelerator takes all steps
in log T passes. A CPU goes through them one by one, several times as fast, and takes a long sequence in chunks
that its caches hold. Of these it keeps the states between them alone, and makes the rest again for the
gradient: its memory is what it would wait for. A reset at t puts 0 in the place of λ: since the initial z is 0,
z_t is then what it would be at the start.

Source: the layer is that of Orvieto et al. 2023 (arXiv 2303.06349), the block with its gate that of Smith et
al. 2022 (S5, arXiv 2208.04933); resets for RL by Lu et al. 2023 (arXiv 2303.03982).
Differs from the papers:
- Lu et al. carry a flag of the reset through the operator; a λ of 0 does the same in the plain one.
- Orvieto et al. draw λ evenly from a ring |λ| > r_min, of small arg λ for long memories. Here the steps that an
  entry of z lasts for, 1 / exp(ν), begin evenly in their logarithm, and so does the angle exp(θ): the task may
  be of ten steps or of a thousand. In a ring from 0.5 to 0.999 one or two of 64 lasted for more than 100 steps.
- Theirs trains γ by itself from √(1 - |λ|²) on; here it stays tied to λ. B and Re C have biases.
- gelu is its approximation by a tanh. What comes in is made `hidden_size` wide by a linear layer, what goes out
  is normalised once more.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.layers import LayerNorm, Linear
from quickstudy.types import Array, Key

SHORTEST, LONGEST = 2.0, 10_000.0
"""Steps after which 1/e is left of an entry of z, at first."""
MIN_PHASE, MAX_PHASE = 1e-3, math.pi
"""arg λ at first: from about no turn in a thousand steps to half a turn in each."""
# Long sequences come few at a time: a chunk then holds about as much at all lengths; measured, docs/cores.md.
MOST_CHUNKS, SHORTEST_CHUNK, LONGEST_CHUNK = 64, 2, 64


class StateSpaceBlock(eqx.Module):
    """Acts on one example: x [hidden], z [hidden] complex."""

    norm: LayerNorm
    log_decay: Array
    """ν"""
    log_phase: Array
    """θ"""
    to_real: Linear
    to_imaginary: Linear
    from_real: Linear
    from_imaginary: Array
    skip: Array
    """d"""
    gate: Linear
    """W_1 and W_2"""

    def __init__(self, size: int, key: Key):
        keys = jax.random.split(key, 7)
        self.log_decay = _log_uniform(keys[0], size, 1 / LONGEST, 1 / SHORTEST)
        self.log_phase = _log_uniform(keys[1], size, MIN_PHASE, MAX_PHASE)
        self.norm = LayerNorm(size)
        # The real and the imaginary part have half the variance each.
        self.to_real, self.to_imaginary = (Linear(size, size, k, math.sqrt(0.5)) for k in keys[2:4])
        self.from_real = Linear(size, size, keys[4], math.sqrt(0.5))
        self.from_imaginary = Linear(size, size, keys[5], math.sqrt(0.5)).weight
        self.skip = jnp.ones(size)
        self.gate = Linear(size, 2 * size, keys[6])

    def init_state(self) -> Array:
        return jnp.zeros(self.skip.shape, jnp.result_type(self.skip, jnp.complex64))

    def step(self, x: Array, z: Array) -> tuple[Array, Array]:
        u = self.norm(x)
        z = self._eigenvalues() * z + self._inputs(u)
        return self._outputs(x, u, z), z

    def unroll(self, xs: Array, z: Array, resets: Array | None) -> tuple[Array, Array]:
        """-> (x' [T, hidden], z after the last step)"""
        us = self.norm(xs)
        factors = jnp.broadcast_to(self._eigenvalues(), us.shape)
        if resets is not None:
            factors = jnp.where(resets[:, None], 0.0, factors)
        inputs = self._inputs(us)
        zs = linear_recurrence(factors, inputs.at[0].add(factors[0] * z))
        return self._outputs(xs, us, zs), zs[-1]

    def _eigenvalues(self) -> Array:
        phase = jnp.exp(self.log_phase)
        return jnp.exp(jax.lax.complex(-jnp.exp(self.log_decay), phase))

    def _inputs(self, u: Array) -> Array:
        """γ ∘ (B u), so that z has the variance of B u whatever |λ|."""
        scale = jnp.sqrt(-jnp.expm1(-2 * jnp.exp(self.log_decay)))
        return jax.lax.complex(scale * self.to_real(u), scale * self.to_imaginary(u))

    def _outputs(self, x: Array, u: Array, z: Array) -> Array:
        y = self.from_real(z.real) - z.imag @ self.from_imaginary + self.skip * u
        value, gate = jnp.split(self.gate(jax.nn.gelu(y)), 2, axis=-1)
        return x + value * jax.nn.sigmoid(gate)


def _log_uniform(key: Key, size: int, low: float, high: float) -> Array:
    """Logarithms, evenly between those of `low` and `high`."""
    return jax.random.uniform(key, (size,), minval=math.log(low), maxval=math.log(high))


class StateSpace(eqx.Module):
    """Acts on one example: x [in], state [layers, hidden] complex; features [hidden]."""

    embed: Linear
    blocks: tuple[StateSpaceBlock, ...]
    norm: LayerNorm

    def __init__(self, in_size: int, hidden_size: int, num_layers: int, key: Key):
        k_embed, *k_blocks = jax.random.split(key, num_layers + 1)
        self.embed = Linear(in_size, hidden_size, k_embed)
        self.blocks = tuple(StateSpaceBlock(hidden_size, k) for k in k_blocks)
        # Longer features make a loud first critic, and a policy that is sure before it has learned.
        self.norm = LayerNorm(hidden_size, hidden_size**-0.5)

    @property
    def feature_size(self) -> int:
        return self.norm.scale.shape[0]

    def init_state(self) -> Array:
        return jnp.stack([block.init_state() for block in self.blocks])

    def step(self, x: Array, state: Array) -> tuple[Array, Array]:
        """x [in] -> (features [hidden], state)"""
        x, after = self.embed(x), []
        for block, z in zip(self.blocks, state, strict=True):
            x, z = block.step(x, z)
            after.append(z)
        return self.norm(x), jnp.stack(after)

    def unroll(self, xs: Array, state: Array, resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, hidden]"""
        if jax.default_backend() != "cpu":
            return self._walk(state, (xs, resets))[1]
        num_steps = len(xs)
        size = min(max(SHORTEST_CHUNK, num_steps // MOST_CHUNKS), LONGEST_CHUNK)

        def cut(x: Array) -> Array:
            x = jnp.pad(x, [(0, -num_steps % size)] + [(0, 0)] * (x.ndim - 1))
            return x.reshape(-1, size, *x.shape[1:])

        walk = jax.checkpoint(lambda state, given: self._walk(state, given))
        features = jax.lax.scan(walk, state, jax.tree.map(cut, (xs, resets)))[1]
        return features.reshape(-1, self.feature_size)[:num_steps]

    def _walk(self, state: Array, given: tuple[Array, Array | None]) -> tuple[Array, Array]:
        """All steps at once; -> (state, features [T, hidden])"""
        (xs, resets), after = given, []
        xs = self.embed(xs)
        for block, z in zip(self.blocks, state, strict=True):
            xs, z = block.unroll(xs, z, resets)
            after.append(z)
        return jnp.stack(after), self.norm(xs)


@jax.custom_jvp
def linear_recurrence(factors: Array, inputs: Array) -> Array:
    """z_t = a_t z_{t-1} + b_t from z_{-1} = 0, for a and b [T, ...] -> z [T, ...].

    Its derivative is a recurrence with the same factors, dz_t = a_t dz_{t-1} + (da_t z_{t-1} + db_t). To say so
    spares all that a scan would keep for its gradient, but z.
    """
    recurrence = one_by_one if jax.default_backend() == "cpu" else in_parallel
    return recurrence(factors, inputs)


@linear_recurrence.defjvp
def _linear_recurrence_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (factors, inputs), (factors_dot, inputs_dot) = primals, tangents
    z = linear_recurrence(factors, inputs)
    earlier = jnp.concatenate([jnp.zeros_like(z[:1]), z[:-1]])
    return z, linear_recurrence(factors, factors_dot * earlier + inputs_dot)


def one_by_one(factors: Array, inputs: Array) -> Array:
    """`linear_recurrence` in T steps."""

    def body(z: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        z = step[0] * z + step[1]
        return z, z

    return jax.lax.scan(body, jnp.zeros_like(inputs[0]), (factors, inputs))[1]


def in_parallel(factors: Array, inputs: Array) -> Array:
    """`linear_recurrence` in log T passes."""

    def then(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
        return second[0] * first[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(then, (factors, inputs))[1]
