"""An agent whose meta-parameters are in part not the outer loop's to improve, as an outer loop may improve it.

What stands beside the improved part (`normalisation`: statistics; `sharing`: experience) is given, so that no
gradient, no perturbation and no weight decay reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from quickstudy.types import PyTree


class Bound:
    """`agent` with the meta-parameters of the agent within it; `whole` makes those of `agent` of them."""

    def __init__(self, agent: Any, whole: Callable[[PyTree], PyTree]):
        self._whole, self.agent = whole, agent.agent
        for name in ("init_task", "init_memory", "step", "adapt", "unroll"):
            if hasattr(agent, name):
                setattr(self, name, self._given(getattr(agent, name)))

    def _given(self, method: Any) -> Any:
        def given(meta_params: PyTree, *rest: Any) -> Any:
            return method(self._whole(meta_params), *rest)

        return given


def for_members(beside: PyTree, members: PyTree) -> PyTree:
    """The same for each of P agents that an outer loop tries out; members [P, ...] -> [P, ...]"""
    num_members = jax.tree.leaves(members)[0].shape[0]
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (num_members, *x.shape)), beside)
