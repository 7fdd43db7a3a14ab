"""Memories by name, and the one contract that they all keep.

    s_0 = init_state();   y_t, s_{t+1} = step(x_t, s_t)
    unroll(x_0 … x_{T-1}, s_0) = y_0 … y_{T-1}

`unroll` says the same for a whole sequence at once, as parallel as the memory allows.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import jax

from quickstudy.errors import unknown
from quickstudy.nets.external_memory import ExternalMemory
from quickstudy.nets.fast_weights import FastWeights
from quickstudy.nets.lstm import LSTM
from quickstudy.nets.recurrent import GRU
from quickstudy.nets.snail import SNAIL
from quickstudy.nets.stack import Stack
from quickstudy.nets.state_space import StateSpace
from quickstudy.nets.transformer import Transformer
from quickstudy.types import Array, Key, PyTree

CoreName = Literal["gru", "lstm", "state-space", "transformer", "snail", "fast-weights", "memory"]


class Core(Protocol):
    """A network with a memory; it acts on one example, and every leaf is a float array."""

    @property
    def feature_size(self) -> int:
        """F"""
        ...

    def init_state(self) -> PyTree:
        """The state in which nothing is remembered."""
        ...

    def step(self, x: Array, state: Any) -> tuple[Array, PyTree]:
        """x [in] -> (features [F], the state after it)"""
        ...

    def unroll(self, xs: Array, state: Any, resets: Array | None = None) -> Array:
        """xs [T, in] -> features [T, F]; where `resets` [T] is True, x_t meets the initial state."""
        ...


def make(
    name: CoreName,
    in_size: int,
    hidden_size: int,
    key: Key,
    *,
    num_layers: int = 1,
    num_heads: int = 4,
    context: int = 256,
    num_slots: int = 32,
) -> Core:
    """The core of a name; raises `InputError` for an unknown one.

    `num_heads` is of transformer, fast weights and memory, `context` of transformer and snail, `num_slots` of
    memory.
    """
    if name == "transformer":
        return Transformer(in_size, hidden_size, num_layers, num_heads, context, key)
    if name == "fast-weights":
        return FastWeights(in_size, hidden_size, num_layers, num_heads, key)
    if name == "snail":
        return SNAIL(in_size, hidden_size, num_layers, context, key)
    if name == "state-space":
        return StateSpace(in_size, hidden_size, num_layers, key)

    def layer(in_size: int, key: Key) -> Core:
        if name == "memory":
            return ExternalMemory(in_size, hidden_size, num_heads, num_slots, key)
        if name not in ("gru", "lstm"):
            raise unknown("core", name, get_args(CoreName))
        return (GRU if name == "gru" else LSTM)(in_size, hidden_size, key)

    if num_layers == 1:
        return layer(in_size, key)
    layers: list[Core] = []
    for k in jax.random.split(key, num_layers):
        layers.append(layer(layers[-1].feature_size if layers else in_size, k))
    return Stack(tuple(layers))
