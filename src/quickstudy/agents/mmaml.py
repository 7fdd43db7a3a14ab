"""MMAML: the first experience of a task modulates the network from which gradient steps then go on.

    the first phase:        by the initialisation θ as it is
    the first adaptation:   e = mean over streams of GRU(o_t, a_t, r_t);   scale and shift of hidden units by e
    every later one:        φ ← φ - α ∇L(φ), from φ = θ, under that modulation, which stays

One initialisation cannot be near to every task where tasks are of several kinds; the modulation brings it near.
With one adaptation the modulation is all that is learned of a task.

Source: Vuorio et al. 2019 (arXiv 1910.13616), algorithm 1.
Differs from the paper:
- The first modulation is all but none, so that a training begins as MAML's.
- It is of the policy alone; the critic, where there is one, learns by the gradient steps.
- The paper's outer loop is ProMP, `--outer ppo` with a penalty; here it is whichever is asked for.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.agents.inner_loop import InnerLoop, TaskParams
from quickstudy.errors import require
from quickstudy.nets.actor_critic import ActorCritic
from quickstudy.nets.film import FiLM, Modulation, modulated, unmodulated
from quickstudy.nets.spaces import Encoder
from quickstudy.nets.task_encoders import RecurrentEncoder, described
from quickstudy.types import Array, Key, PyTree, Transition, TrialShape


class MMAMLParams(NamedTuple):
    network: ActorCritic
    actions: Encoder
    """Of what was done; it has no parameters."""
    task: RecurrentEncoder
    film: FiLM


class Modulated(NamedTuple):
    network: ActorCritic
    modulation: Modulation


@dataclasses.dataclass(frozen=True)
class MMAML(InnerLoop):
    """MMAML (Vuorio et al. 2019): a network modulated by the first phase, then moved by gradient steps."""

    task_size: int = 32
    """Units of the GRU that reads the first phase."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            hidden_sizes=(len(self.hidden_sizes) >= 1, "at least one layer, to be modulated"),
            task_size=(self.task_size >= 1, "at least 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> MMAMLParams:
        k_network, k_task, k_film = jax.random.split(key, 3)
        network = self.network(env, trial, k_network)
        actions = Encoder(env.action_space)
        task = RecurrentEncoder(network.encoder.size + actions.size + 1, self.task_size, k_task)
        return MMAMLParams(network, actions, task, FiLM(self.task_size, network.actor, k_film))

    def meta_network(self, meta_params: MMAMLParams) -> ActorCritic:
        return meta_params.network

    def start(self, meta_params: MMAMLParams) -> Modulated:
        return Modulated(meta_params.network.without_ratios(), unmodulated(meta_params.network.actor))

    def says(self, meta_params: MMAMLParams, adapted: Modulated, observation: PyTree) -> tuple[Any, Array]:
        network = adapted.network
        x = network.encoder(observation)
        return network.head(modulated(network.actor, x, adapted.modulation)), network.value(x)

    def adapt(
        self, meta_params: MMAMLParams, task_params: TaskParams, transitions: Transition, key: Key
    ) -> TaskParams:
        first, before = task_params.num_adapts == 0, task_params.adapted.modulation
        x = described(transitions, meta_params.network.encoder, meta_params.actions)
        read = meta_params.film(meta_params.task(x, transitions.mask))
        modulation = jax.tree.map(lambda new, old: jnp.where(first, new, old), read, before)
        stepped = super().adapt(meta_params, task_params, transitions, key)
        return stepped._replace(adapted=stepped.adapted._replace(modulation=modulation))

    def move(self, meta_params: MMAMLParams, adapted: Modulated, gradient: Modulated, rate: Array) -> Modulated:
        return adapted._replace(network=super().move(meta_params, adapted.network, gradient.network, rate))

    def rate(self, num_adapts: Array) -> Array:
        # The first adaptation takes no step, and the first step is that of the second.
        return jnp.where(num_adapts == 0, 0.0, super().rate(num_adapts - 1))
