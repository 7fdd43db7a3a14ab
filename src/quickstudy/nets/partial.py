"""The part of a trained policy that a new task moves; what is left out stays as it was.

    all        W, b
    weights    W                      without the biases
    head       W, b of the last layer
    low-rank   W + A B,  A [in, r], B [r, out],  B = 0 at the start
    adapter    f + U act(f D + d),  f the last features,  U = 0 at the start

Every part begins with the trained policy itself, bit for bit. The deviation of continuous actions moves with
every part.

Source: low rank by Hu et al. 2021 (arXiv 2106.09685); adapters by Houlsby et al. 2019 (arXiv 1902.00751).
Differs from the papers: a low-rank change of every linear layer, not scaled; one adapter, before the head.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.actor_critic import ACTIVATIONS, MLP, ActorCritic
from quickstudy.nets.layers import Linear
from quickstudy.types import Array, Key, PyTree

Part = Literal["all", "weights", "head", "low-rank", "adapter"]


class Factors(NamedTuple):
    """A B, the change of one layer's W."""

    a: Array
    """[in, r]"""
    b: Array
    """[r, out]"""


class Adapter(eqx.Module):
    """f [..., F] -> f + U act(f D + d) [..., F]"""

    down: Linear
    up: Array
    """U [r, F]"""
    activation: str = eqx.field(static=True)

    def __call__(self, features: Array) -> Array:
        return features + ACTIVATIONS[self.activation][0](self.down(features)) @ self.up


class AdaptedMLP(eqx.Module):
    """x [..., in] -> features [..., F], an adapter behind them."""

    mlp: MLP
    adapter: Adapter

    def __call__(self, x: Array) -> Array:
        return self.adapter(self.mlp(x))


class Moved(NamedTuple):
    """What is learned of a policy."""

    own: PyTree
    """Those of `policy_weights` that move themselves, None for the others."""
    factors: tuple[Factors, ...]
    """Of each linear layer, in their order; empty without low rank."""
    adapter: Adapter | None


def policy_weights(network: ActorCritic) -> tuple[PyTree, PyTree, PyTree]:
    """All of the network but its critic."""
    return network.encoder, network.actor, network.head


def begin(part: Part, network: ActorCritic, rank: int, key: Key) -> Moved:
    """What moves, at its start; `rank` is r."""
    weights = policy_weights(network)
    factors, adapter = (), None
    if part == "low-rank":
        linears = [x for x in _linears_or_leaves(weights) if isinstance(x, Linear)]
        keys = jax.random.split(key, len(linears))
        factors = tuple(_factors(layer, rank, k) for layer, k in zip(linears, keys, strict=True))
    if part == "adapter":
        size = network.head.linear.weight.shape[0]
        scale = ACTIVATIONS[network.actor.activation][1]
        adapter = Adapter(Linear(size, rank, key, scale), jnp.zeros((rank, size)), network.actor.activation)
    return Moved(_own(part, weights), factors, adapter)


def merged(network: ActorCritic, moved: Moved) -> ActorCritic:
    """`network` with the policy that was learned."""
    weights = _with_own(network, moved)
    if moved.factors:
        weights = _with_factors(weights, moved.factors)
    network = eqx.tree_at(policy_weights, network, weights)
    if moved.adapter is None:
        return network
    return eqx.tree_at(lambda n: n.actor, network, AdaptedMLP(network.actor, moved.adapter))


def change(network: ActorCritic, moved: Moved) -> PyTree:
    """How far the `policy_weights` are from those of `network`; an adapter is no part of them."""
    now = policy_weights(merged(network, moved._replace(adapter=None)))
    return jax.tree.map(jnp.subtract, now, policy_weights(network))


def _own(part: Part, weights: PyTree) -> PyTree:
    def moves(path: tuple[Any, ...], _: Array) -> bool:
        # The first entry is the place in `policy_weights`, 2 for the head; the last is the array's name.
        is_head, name = path[0].idx == 2, path[-1].name
        chosen = {"all": True, "weights": name != "bias", "head": is_head}
        return name == "log_std" or chosen.get(part, False)

    return eqx.filter(weights, jax.tree_util.tree_map_with_path(moves, weights))


def _with_own(network: ActorCritic, moved: Moved) -> PyTree:
    return eqx.combine(moved.own, policy_weights(network))


def _with_factors(weights: PyTree, factors: tuple[Factors, ...]) -> PyTree:
    rest = iter(factors)

    def add(node: Any) -> Any:
        if not isinstance(node, Linear):
            return node
        a, b = next(rest)
        return eqx.tree_at(lambda n: n.weight, node, node.weight + a @ b)

    return jax.tree.map(add, weights, is_leaf=lambda x: isinstance(x, Linear))


def _factors(layer: Linear, rank: int, key: Key) -> Factors:
    in_size, out_size = layer.weight.shape
    # A's columns are of about length 1: a step of B moves the features as a step of W would.
    a = jax.random.normal(key, (in_size, rank)) / jnp.sqrt(in_size)
    return Factors(a, jnp.zeros((rank, out_size)))


def _linears_or_leaves(weights: PyTree) -> list[Any]:
    return jax.tree.leaves(weights, is_leaf=lambda x: isinstance(x, Linear))
