"""A learned optimizer: a small recurrent network says how each weight moves, from its own gradients so far.

    φ_0 = θ;  h_0 = 0;   for each weight i by itself, with the same network:
    h_i ← GRU(x_i, h_i);   φ_i ← φ_i - (α g_i + e^s u · h_i),   g = ∇L(φ)
    x_i = (log |g_i| / p, sign g_i)  where |g_i| > e^-p,  (-1, e^p g_i)  where |g_i| < e^-p,  in one smooth form

α, s, u, the GRU and θ are meta-learned. It begins as MAML, gradient descent at α = `inner_rate`, with little of
the network. The recurrent states are kept over the adaptations of a task.

Source: Andrychowicz et al. 2016 (arXiv 1606.04474), section 2.1 and appendix A (x, p = 10); in reinforcement
learning Li and Malik 2017 (arXiv 1606.01885).
Differs from the papers:
- One GRU in place of two layers of LSTM; the plain term α g, and a scale that is learned.
- The two cases of x are joined by √(g² + e^-2p) in the place of |g|.
- The first weights are learned, too, unless `learn_start` is off; the papers draw them anew.
- The derivative runs through the gradients that the network reads; the papers take them for numbers, which here
  is `first_order`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.errors import require
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.nets.layers import Linear
from quickstudy.nets.recurrent import GRU
from quickstudy.types import Array, Key, PyTree, TrialShape

LOG_RANGE = 10.0
"""p: gradients below e^-p are as good as 0; the paper's."""
FIRST_SCALE = 3e-4
"""e^s at first: at 1e-3 the network's part was a third to the whole of a step at a rate of 0.1."""


class Optimizer(NamedTuple):
    rate: Array
    """α []"""
    core: GRU
    out: Linear
    """u"""
    log_scale: Array
    """s []"""


class LearnedOptimizerParams(NamedTuple):
    start: ActorCritic
    """θ"""
    optimizer: Optimizer


class Optimised(NamedTuple):
    network: ActorCritic
    """φ, of P weights."""
    states: Array
    """h [P, H]"""


@dataclasses.dataclass(frozen=True)
class LearnedOptimizer(InnerLoop):
    """A learned optimizer (Andrychowicz et al. 2016), from weights that are learned, too."""

    optimizer_size: int = 20
    """Units of the network that every weight is moved by."""
    learn_start: bool = True
    """False leaves the first weights as they were drawn to an outer loop that follows gradients."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            inner_rate=(self.inner_rate > 0, "above 0"),
            optimizer_size=(self.optimizer_size >= 1, "at least 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> LearnedOptimizerParams:
        k_network, k_core, k_out = jax.random.split(key, 3)
        optimizer = Optimizer(
            rate=jnp.asarray(self.inner_rate, jnp.float32),
            core=GRU(2, self.optimizer_size, k_core),
            out=Linear(self.optimizer_size, 1, k_out),
            log_scale=jnp.asarray(math.log(FIRST_SCALE), jnp.float32),
        )
        network = self.network(env, trial, k_network)
        return LearnedOptimizerParams(network, optimizer)

    def meta_network(self, meta_params: LearnedOptimizerParams) -> ActorCritic:
        return meta_params.start

    def start(self, meta_params: LearnedOptimizerParams) -> Optimised:
        network = meta_params.start.without_ratios()
        network = network if self.learn_start else jax.lax.stop_gradient(network)
        num_weights = sum(x.size for x in jax.tree.leaves(network))
        state = meta_params.optimizer.core.init_state()
        return Optimised(network, jnp.zeros((num_weights, state.size), state.dtype))

    def says(
        self, meta_params: LearnedOptimizerParams, adapted: Optimised, observation: PyTree
    ) -> tuple[Any, Array]:
        return adapted.network(observation)

    def move(
        self, meta_params: LearnedOptimizerParams, adapted: Optimised, gradient: Optimised, rate: Array
    ) -> Optimised:
        optimizer, share = meta_params.optimizer, rate / self.inner_rate
        flat, shaped = ravel_pytree(gradient.network)
        out, states = optimizer.core.step(preprocessed(flat), adapted.states)
        said = jnp.exp(optimizer.log_scale) * optimizer.out(out)[:, 0]
        step = shaped(share * (optimizer.rate * flat + said))
        return Optimised(jax.tree.map(jnp.subtract, adapted.network, step), states)


def preprocessed(gradient: Array) -> Array:
    """g [P] -> size and sign of each on scales that a network can read, [P, 2]."""
    size = jnp.sqrt(gradient**2 + math.exp(-2 * LOG_RANGE))
    return jnp.stack([jnp.log(size) / LOG_RANGE, gradient / size], axis=-1)
