"""Evolution strategies: the return itself, measured at P points around θ, says where to go.

    ε_1 … ε_{P/2} ~ N(0, I);   members θ + σ ε_i and θ - σ ε_i, both in the same tasks with the same keys
    u = centred ranks of the members' fitness, in [-½, ½]
    g = Σ_i (u_i - u_{i+P/2}) ε_i / (P σ);   θ ← Adam(θ, -g)

No gradient runs through an agent, so that any will do: one that is not differentiable, or that takes many
adaptations, whose credit is no matter either. Fitness is the undiscounted return.

Own code, though evosax (0.3.2) has the same algorithm, whose step equals g on the same noise and fitness, with
ties and without: its `tell` asks for the whole population [P, D] again, where here the noise is drawn anew from
its key, and it needs flax, matplotlib and dotmap.

Source: Salimans et al. 2017 (arXiv 1703.03864), algorithm 1 and section 2.
Differs from the paper: members of equal fitness share their mean rank, which matters where returns are small
whole numbers; σ and the learning rate may fall over the training; no batch normalisation.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from quickstudy.errors import require, wrong
from quickstudy.outer.adam import descend
from quickstudy.outer.advantages import Phases, first_that_counts
from quickstudy.outer.schedules import Schedule, decayed
from quickstudy.types import Array, Key, PyTree, Trials


class EvolutionState(NamedTuple):
    meta_params: PyTree
    optimizer: PyTree
    key: Key
    """Of the next population's noise, which is drawn again where it is needed and kept nowhere."""
    sigma: Array
    """Of the next population."""


@dataclasses.dataclass(frozen=True)
class Evolution:
    """Evolution strategies (Salimans et al. 2017): perturbed meta-parameters, weighed by their returns."""

    population_size: int = 256
    """P, the members of an update, in pairs; it must divide num_tasks."""
    sigma: float = 0.3
    """Standard deviation of the perturbations; large networks want less."""
    final_sigma: float | None = None
    """Where sigma falls to along the schedule; None keeps it."""
    learning_rate: float = 0.1
    schedule: Schedule = "linear"
    """How the learning rate falls over the training, to `final_learning_rate`, and sigma with it."""
    final_learning_rate: float = 0.0
    weight_decay: float = 0.0
    """This many times the meta-parameters are added to the gradient that Adam descends."""
    phases: Phases = "all"
    """Whose return a member is judged by: of all phases, of those after an adaptation, of the last."""

    def __post_init__(self) -> None:
        require(
            self,
            population_size=(
                2 <= self.population_size <= 1_000_000 and self.population_size % 2 == 0,
                "an even number between 2 and 1,000,000",
            ),
            sigma=(self.sigma > 0, "above 0"),
            final_sigma=(self.final_sigma is None or self.final_sigma > 0, "above 0, or None"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            final_learning_rate=(self.final_learning_rate >= 0, "0 or more"),
            weight_decay=(self.weight_decay >= 0, "0 or more"),
        )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> EvolutionState:
        optimizer = optax.scale_by_adam().init(meta_params)
        return EvolutionState(meta_params, optimizer, key, jnp.asarray(self.sigma, jnp.float32))

    def propose(self, agent: Any, state: EvolutionState) -> PyTree:
        """The members' meta-parameters, [P, ...]; members i and i + P/2 are a pair."""

        def around(centre: Array, noise: Array) -> Array:
            return centre + state.sigma * jnp.concatenate([noise, -noise])

        return jax.tree.map(around, state.meta_params, self._noise(state))

    def update(
        self, agent: Any, state: EvolutionState, trials: Trials, progress: Array, key: Key
    ) -> tuple[EvolutionState, dict[str, Array]]:
        """Trials member by member: those of member i are the i-th of P equal shares of the tasks."""
        fitness = self.fitness(trials)
        gradient = self._gradient(state, centred_ranks(fitness))
        grads = jax.tree.map(lambda g, p: self.weight_decay * p - g, gradient, state.meta_params)
        rate = decayed(self.schedule, self.learning_rate, self.final_learning_rate, progress)
        meta_params, optimizer = descend(optax.scale_by_adam(), state.meta_params, state.optimizer, grads, rate)
        moved = optax.tree.norm(optax.tree.sub(meta_params, state.meta_params))
        return EvolutionState(meta_params, optimizer, key, self._sigma(progress)), {
            "fitness": fitness.mean(),
            "best_fitness": fitness.max(),
            "sigma": state.sigma,
            "update_norm": moved,
        }

    def fitness(self, trials: Trials) -> Array:
        """Each member's mean return over its tasks and streams, [P]."""
        reward = trials.phases.reward * trials.phases.mask
        num_tasks = len(reward)
        if num_tasks % self.population_size:
            raise wrong("num_tasks", num_tasks, f"a multiple of outer.population_size, {self.population_size}")
        first = first_that_counts(self.phases, reward.shape[1])
        returns = reward[:, first:].sum(axis=(1, 3)).mean(axis=1)
        return returns.reshape(self.population_size, -1).mean(axis=1)

    def _gradient(self, state: EvolutionState, utility: Array) -> PyTree:
        """The estimated ascent direction of the mean utility of points around θ."""
        plus, minus = jnp.split(utility, 2)
        scale = 1 / (self.population_size * state.sigma)
        return jax.tree.map(lambda noise: scale * jnp.tensordot(plus - minus, noise, 1), self._noise(state))

    def _noise(self, state: EvolutionState) -> PyTree:
        """Half of the population's, [P/2, ...]; the other half is its negative."""
        leaves, structure = jax.tree.flatten(state.meta_params)
        half = self.population_size // 2
        draws = [
            jax.random.normal(key, (half, *leaf.shape), leaf.dtype)
            for key, leaf in zip(jax.random.split(state.key, len(leaves)), leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, draws)

    def _sigma(self, progress: Array) -> Array:
        end = self.sigma if self.final_sigma is None else self.final_sigma
        return jnp.asarray(decayed(self.schedule, self.sigma, end, progress), jnp.float32)


def centred_ranks(fitness: Array) -> Array:
    """Fitness [P] -> utility [P]: -½ for the worst, ½ for the best, the mean of their ranks for equals."""
    ranks = jax.scipy.stats.rankdata(fitness)
    return (ranks - 1) / (len(fitness) - 1) - 0.5
