"""Classical learners of Bernoulli bandits: they count what each arm paid, and choose by the counts alone.

    s_a, f_a   successes and failures of arm a; the posterior is Beta(1 + s_a, 1 + f_a)
    μ_a        its mean, (s_a + 1)/(s_a + f_a + 2)

    Thompson             argmax_a x_a,  x_a drawn from the posterior
    OptimisticThompson   argmax_a max(x_a, μ_a)
    UCB1                 argmax_a μ_a + c sqrt(2 log t / (s_a + f_a + 2)),  t the pulls so far
    Greedy               argmax_a μ_a
    EpsilonGreedy        the same, but with probability ε any arm
    Gittins              argmax_a λ(pulls left, s_a, f_a), the finite-horizon index of `gittins.py`

A reward outside [0, 1] is clipped; one inside counts as that fraction of a success and the rest of a
failure. A policy is uniform over the arms that tie, so the learners that draw nothing have no use for their
key.

Source: the baselines of Duan et al. 2016 (arXiv 1611.02779), section 3.1; Thompson 1933; May et al. 2012
(optimistic); Auer et al. 2002 (UCB1, whose counts start at 0); Whittle 1980 (the index).
Differs from the paper, whose authors' script is public; [n, k] is the cell of its Table 1:
- The paper gives ties to the first arm. Here any of them may be pulled, unless `first_of_ties`, and that is
  better: Greedy earns 79.1 instead of 77.6 at [100, 10] (published 77.1), 80.2 instead of 78.0 at [100, 50]
  (78.0).
- Its "optimistic Thompson sampling" is another rule: of up to 20 posterior draws it follows the one of the
  highest density, which does give the published row. max(x, μ) earns 5.97 at [10, 5] (6.5) and 75.9 at
  [100, 5] (77.9), little more than Thompson sampling where there are many arms.
- Its Gittins row is the discounted index of an endless trial, the best of four discounts; the
  finite-horizon index earns more (83.5 against 82.8 at [100, 10]).
- It tunes c and ε in each cell, on the 1000 instances that it reports; ε = 0 is among its values.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from quickstudy.errors import require, wrong
from quickstudy.references.choice import best, mixed, policy
from quickstudy.references.gittins import gittins_indices, position
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape

TIE = 1e-6
"""Scores this near are equal: above the rounding of a quotient on any device, below the least distance of two
posterior means, which is 1.6e-5 after 500 pulls in all."""


class Arms(eqx.Module):
    """What a learner has to know before it counts; no array."""

    num_arms: int = eqx.field(static=True)


class IndexedArms(eqx.Module):
    """The same with the indices of `gittins_indices(horizon)`."""

    num_arms: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    indices: Array


class Counts(NamedTuple):
    """The memory."""

    successes: Array
    """[k] float"""
    failures: Array
    """[k] float"""
    num_steps: Array
    """Time steps seen, the present one included once it is absorbed."""

    @property
    def pulls(self) -> Array:
        """[k]"""
        return self.successes + self.failures

    @property
    def mean(self) -> Array:
        """[k], of the posterior."""
        return (self.successes + 1.0) / (self.pulls + 2.0)


class _Counter(abc.ABC):
    """All of a learner but its rule."""

    meta_learned: ClassVar[bool] = False

    @abc.abstractmethod
    def choose(self, meta_params: Any, counts: Counts, key: Key) -> Array:
        """The probability of pulling each arm, [k]."""

    def init(self, env: Any, trial: TrialShape, key: Key) -> Any:
        return Arms(_num_arms(env.action_space))

    def init_task(self, meta_params: Any, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: Any, task_params: PyTree) -> Counts:
        zeros = jnp.zeros(meta_params.num_arms)
        return Counts(zeros, zeros, jnp.zeros((), jnp.int32))

    def step(
        self, meta_params: Any, task_params: PyTree, memory: Counts, timestep: TimeStep, key: Key
    ) -> tuple[Output, Counts]:
        memory = _absorb(memory, timestep)
        return Output(policy(self.choose(meta_params, memory, key)), jnp.zeros(()), {}), memory

    def adapt(self, meta_params: Any, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params


@dataclasses.dataclass(frozen=True)
class Thompson(_Counter):
    """Pull an arm with the probability that it is the best."""

    def choose(self, meta_params: Arms, counts: Counts, key: Key) -> Array:
        return best(_sample(counts, key), TIE)


@dataclasses.dataclass(frozen=True)
class OptimisticThompson(_Counter):
    """Thompson sampling that never takes an arm for worse than its mean (May et al. 2012)."""

    def choose(self, meta_params: Arms, counts: Counts, key: Key) -> Array:
        return best(jnp.maximum(_sample(counts, key), counts.mean), TIE)


@dataclasses.dataclass(frozen=True)
class UCB1(_Counter):
    """The arm of the highest upper confidence bound (Auer et al. 2002)."""

    exploration: float = 0.2
    """c; 1 is Auer's. Of the paper's grid 0, 0.1, …, 1 the best with 5, 10 and 50 arms is 0.1 at 10 pulls
    (6.657 with 5 arms, where 0.2 earns 6.642) and 0.2 at 100 and 500."""

    def __post_init__(self) -> None:
        require(self, exploration=(self.exploration >= 0.0, "0 or more"))

    def choose(self, meta_params: Arms, counts: Counts, key: Key) -> Array:
        num_pulls = jnp.maximum(counts.num_steps - 1, 1)  # at the first pull all arms tie, whatever the bonus
        bonus = jnp.sqrt(2.0 * jnp.log(num_pulls) / (counts.pulls + 2.0))
        return best(counts.mean + self.exploration * bonus, TIE)


@dataclasses.dataclass(frozen=True)
class Greedy(_Counter):
    """The arm of the highest posterior mean."""

    first_of_ties: bool = False
    """The first of the arms that tie, as in the paper, where else any of them."""

    def choose(self, meta_params: Arms, counts: Counts, key: Key) -> Array:
        return best(counts.mean, TIE, self.first_of_ties)


@dataclasses.dataclass(frozen=True)
class EpsilonGreedy(_Counter):
    """The arm of the highest posterior mean, or with probability `epsilon` any arm."""

    epsilon: float = 0.1
    """0 is best at 10 pulls, 0 or 0.1 at 100, 0.1 at 500."""
    first_of_ties: bool = False
    """The first of the arms that tie, as in the paper, where else any of them."""

    def __post_init__(self) -> None:
        require(self, epsilon=(0.0 <= self.epsilon <= 1.0, "between 0 and 1"))

    def choose(self, meta_params: Arms, counts: Counts, key: Key) -> Array:
        return mixed(best(counts.mean, TIE, self.first_of_ties), self.epsilon)


@dataclasses.dataclass(frozen=True)
class Gittins(_Counter):
    """The arm of the highest finite-horizon index; the horizon is the trial's T.

    It earns the Bayes-optimal 6.660, 6.714 and 6.714 at 10 pulls of 5, 10 and 50 arms, and 64.912 of 64.918
    at 100 pulls of two; making its table takes 38 s for 500 pulls.

    Fractional successes are rounded. After the horizon, and at the last pull, the index is the posterior mean.
    """

    def init(self, env: Any, trial: TrialShape, key: Key) -> IndexedArms:
        """Raises `InputError` where T is above `gittins.MAX_HORIZON`, too."""
        num_arms, horizon = _num_arms(env.action_space), trial.num_steps(env)
        return IndexedArms(num_arms, horizon, jnp.asarray(gittins_indices(horizon)))

    def choose(self, meta_params: IndexedArms, counts: Counts, key: Key) -> Array:
        step = counts.num_steps - 1
        pulls, successes = (jnp.round(x).astype(jnp.int32) for x in (counts.pulls, counts.successes))
        # Where step ≥ horizon the place is past the table's end, and what is read there is not used.
        indices = meta_params.indices[position(step, pulls, successes)]
        return best(jnp.where(step < meta_params.horizon, indices, counts.mean), TIE)


def _num_arms(space: spaces.Space) -> int:
    if not isinstance(space, spaces.Discrete):
        raise wrong("action_space", space, "Discrete, for a learner that counts the pulls of each action")
    return int(space.n)


def _absorb(counts: Counts, timestep: TimeStep) -> Counts:
    """Count what the last action earned; at the first step of a trial there was none."""
    pulled = (jnp.arange(counts.successes.shape[0]) == timestep.action) & (counts.num_steps > 0)
    reward = jnp.clip(timestep.reward, 0.0, 1.0)
    return Counts(
        counts.successes + pulled * reward, counts.failures + pulled * (1.0 - reward), counts.num_steps + 1
    )


def _sample(counts: Counts, key: Key) -> Array:
    """One draw of every arm's posterior, [k]."""
    return jax.random.beta(key, counts.successes + 1.0, counts.failures + 1.0)
