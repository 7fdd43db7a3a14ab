"""RL²: a recurrent network whose memory is the learning algorithm.

    h_t = GRU(h_{t-1}, (o_t, a_{t-1}, r_{t-1}, first_t));   π(·|h_t), V(h_t)

The memory is kept over the episodes of a trial and starts empty in a new task; what is learned
within a task lives there alone, and the outer loop learns the network.

Source: Duan et al. 2016 (arXiv 1611.02779); Wang et al. 2016 (arXiv 1611.05763).
Differs from the paper: policy and value share the core; the paper's GRU had 256 units.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax

from quickstudy.errors import require
from quickstudy.nets.layers import Linear
from quickstudy.nets.recurrent import GRU
from quickstudy.nets.spaces import PolicyHead, TimeStepEncoder
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class RL2Params(eqx.Module):
    encoder: TimeStepEncoder
    core: GRU
    policy: PolicyHead
    value: Linear


@dataclasses.dataclass(frozen=True)
class RL2:
    """RL² (Duan et al. 2016): a recurrent network whose memory is the learning algorithm."""

    hidden_size: int = 64
    """Units of the GRU."""

    def __post_init__(self) -> None:
        require(self, hidden_size=(self.hidden_size >= 1, "at least 1"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> RL2Params:
        k_core, k_policy, k_value = jax.random.split(key, 3)
        encoder = TimeStepEncoder(env)
        return RL2Params(
            encoder=encoder,
            core=GRU(encoder.size, self.hidden_size, k_core),
            policy=PolicyHead(self.hidden_size, env.action_space, k_policy),
            value=Linear(self.hidden_size, 1, k_value),
        )

    def init_task(self, meta_params: RL2Params, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: RL2Params, task_params: PyTree) -> Array:
        return meta_params.core.init_state()

    def step(
        self, meta_params: RL2Params, task_params: PyTree, memory: Array, timestep: TimeStep, key: Key
    ) -> tuple[Output, Array]:
        memory = meta_params.core.step(meta_params.encoder(timestep), memory)
        return self._output(meta_params, memory), memory

    def unroll(self, meta_params: RL2Params, task_params: PyTree, memory: Array, timesteps: TimeStep) -> Output:
        states = meta_params.core.unroll(jax.vmap(meta_params.encoder)(timesteps), memory)
        return self._output(meta_params, states)

    def adapt(self, meta_params: RL2Params, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params

    def _output(self, meta_params: RL2Params, features: Array) -> Output:
        return Output(meta_params.policy(features), meta_params.value(features)[..., 0], {})
