"""The Bayes-optimal agent of the two-step task: an exact filter, and the choice that pays best now.

    w[i, j]   the belief that place i was good when the episode began, and place j is now
    after each choice     w[i, j] <- w[i, j] P(reward | j), then j swaps with probability s
    a new episode         w[i, j] <- 1[i = j] Σ_k w[i, k]
    the choice            argmax_a c P(reward | place a) + (1 - c) P(reward | the other place)

No choice tells more than another, so the one that pays best now is optimal. It earns 70.586 in the first
episode of 100 choices, and a little more in later ones, as it learns which place is good at first.

Source: the task of Wang et al. 2016 (arXiv 1611.05763), section 3.2; the filter is that of Baum et al. 1970.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from quickstudy.envs.two_step import TwoStep
from quickstudy.references.choice import best, policy
from quickstudy.references.family import require_family
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape

TIE = 1e-6
"""Choices that pay as much; above the rounding of a probability."""


class Rules(eqx.Module):
    """The task's probabilities; no array."""

    common: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    swap: float = eqx.field(static=True)


class Belief(NamedTuple):
    """The memory."""

    good: Array
    """[2, 2]: at the episode's start, and now."""
    place: Array
    """The last one seen; 0 in the first stage."""


@dataclasses.dataclass(frozen=True)
class TwoStepBayes:
    """Exactly Bayes-optimal in the two-step task: it filters which place is the good one, and goes there."""

    meta_learned: ClassVar[bool] = False

    def init(self, env: Any, trial: TrialShape, key: Key) -> Rules:
        """Raises `InputError` in any other family."""
        require_family(env, TwoStep, "two-step")
        return Rules(env.common_probability, env.high_probability, env.swap_probability)

    def init_task(self, meta_params: Rules, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: Rules, task_params: PyTree) -> Belief:
        return Belief(jnp.eye(2) / 2.0, jnp.zeros((), jnp.int32))

    def step(
        self, meta_params: Rules, task_params: PyTree, memory: Belief, timestep: TimeStep, key: Key
    ) -> tuple[Output, Belief]:
        good = jnp.where(memory.place > 0, _told(meta_params, memory, timestep.reward), memory.good)
        good = jnp.where(timestep.first, jnp.diag(good.sum(1)), good)
        # What places 1 and 2 pay, and what actions 0 and 1 do.
        places = _pays(meta_params) @ good.sum(0)
        actions = meta_params.common * places + (1.0 - meta_params.common) * places[::-1]
        memory = Belief(good, timestep.observation.astype(jnp.int32))
        return Output(policy(best(actions, TIE)), jnp.zeros(()), {}), memory

    def adapt(self, meta_params: Rules, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params


def _pays(rules: Rules) -> Array:
    """[place, good]: the probability of a reward."""
    return jnp.where(jnp.eye(2, dtype=bool), rules.high, 1.0 - rules.high)


def _told(rules: Rules, memory: Belief, reward: Array) -> Array:
    """The belief after a reward, or its lack, in `memory.place`, and a swap that may have followed."""
    pays = jnp.where(memory.place == 1, _pays(rules)[0], _pays(rules)[1])
    joint = memory.good * jnp.where(reward > 0, pays, 1.0 - pays)
    swap = jnp.where(jnp.eye(2, dtype=bool), 1.0 - rules.swap, rules.swap)
    return joint / joint.sum() @ swap
