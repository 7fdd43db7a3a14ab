"""What the learners of tabular MDPs share: they count, know the posterior, plan, and act by their plan.

    n, x, m     visits of (s, a), the sum of the rewards there, moves from there to each s'
    r(s, a)     posterior Normal with precision 1/σ0² + n/σ² and mean (μ0/σ0² + x/σ²) / (1/σ0² + n/σ²)
    P(·|s, a)   posterior Dirichlet(α + m)
    at the first step of each episode     Q[h, s, a] = plan(posterior)
    at its step h                         any of the actions that maximise Q[h, s, a]

The prior is the family's own where it tells it (`reward_mean`, `reward_mean_std`, `reward_std`), else
N(1, 1) with unit noise, unless an agent's fields say otherwise. The state behind an episode's last step is
never seen, so that step counts as a visit and a reward, and as no move.

Source: the baselines of Duan et al. 2016 (arXiv 1611.02779), section 3.2.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from quickstudy.errors import require, wrong
from quickstudy.references.choice import best, policy
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape

TIE = 1e-4
"""Values this near are equal: above the rounding of sums of tens on any device, and nothing in earnings."""

LEAST_STD = 1e-3
"""A prior or noise without any spread is taken for one of this, so that no precision is infinite."""


class Tables(eqx.Module):
    """What a learner has to know before it counts; no array."""

    num_states: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True)
    horizon: int = eqx.field(static=True)
    """H, the steps of an episode."""
    num_steps: int = eqx.field(static=True)
    """T, the steps of a trial."""
    prior_mean: float = eqx.field(static=True)
    """μ0"""
    prior_std: float = eqx.field(static=True)
    """σ0"""
    prior_moves: float = eqx.field(static=True)
    """α"""
    noise_std: float = eqx.field(static=True)
    """σ"""


class Counts(NamedTuple):
    """What was seen of a process."""

    visits: Array
    """[S, A]"""
    rewards: Array
    """[S, A], their sums."""
    moves: Array
    """[S, A, S]"""
    num_steps: Array
    """Time steps seen, the present one included once it is absorbed."""


class Posterior(NamedTuple):
    """What is known of a process."""

    reward_mean: Array
    """[S, A]"""
    reward_std: Array
    """[S, A], of the mean reward, not of a reward."""
    moves: Array
    """[S, A, S], the parameters of the Dirichlet distributions."""

    @property
    def transitions(self) -> Array:
        """[S, A, S], their means."""
        return self.moves / self.moves.sum(-1, keepdims=True)


class Memory(NamedTuple):
    counts: Counts
    state: Array
    """The last one."""
    step_in_episode: Array
    plan: Array
    """[H, S, A]"""


@dataclasses.dataclass(frozen=True)
class TabularLearner(abc.ABC):
    """All of a learner but its plan."""

    meta_learned: ClassVar[bool] = False
    every_step: ClassVar[bool] = False
    """Plan again at every step, not only at the first of an episode."""

    prior_mean: float | None = None
    """Of the mean rewards; None: the family's own."""
    prior_std: float | None = None
    """Of the mean rewards; None: the family's own."""
    prior_moves: float = 1.0
    """Moves to each next state that count as seen beforehand, the Dirichlet prior's α."""

    def __post_init__(self) -> None:
        require(
            self,
            prior_std=(self.prior_std is None or self.prior_std >= 0.0, "0 or more"),
            prior_moves=(self.prior_moves > 0.0, "above 0"),
        )

    @abc.abstractmethod
    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        """The values [H, S, A] to act by."""

    def choose(self, values: Array) -> Array:
        """The probability of each action [A] by the values [A] of the present state and step."""
        return best(values, TIE)

    def init(self, env: Any, trial: TrialShape, key: Key) -> Tables:
        """Raises `InputError` where observations or actions are not counted, 0 to n - 1."""
        return Tables(
            num_states=count_of("observation_space", env.observation_space),
            num_actions=count_of("action_space", env.action_space),
            horizon=env.max_steps,
            num_steps=trial.num_steps(env),
            prior_mean=float(_given(self.prior_mean, getattr(env, "reward_mean", 1.0))),
            prior_std=max(float(_given(self.prior_std, getattr(env, "reward_mean_std", 1.0))), LEAST_STD),
            prior_moves=float(self.prior_moves),
            noise_std=max(float(getattr(env, "reward_std", 1.0)), LEAST_STD),
        )

    def init_task(self, meta_params: Tables, key: Key) -> PyTree:
        return ()

    def init_memory(self, meta_params: Tables, task_params: PyTree) -> Memory:
        S, A, H = meta_params.num_states, meta_params.num_actions, meta_params.horizon
        zero = jnp.zeros((), jnp.int32)
        counts = Counts(jnp.zeros((S, A)), jnp.zeros((S, A)), jnp.zeros((S, A, S)), zero)
        return Memory(counts, zero, zero, jnp.zeros((H, S, A)))

    def step(
        self, meta_params: Tables, task_params: PyTree, memory: Memory, timestep: TimeStep, key: Key
    ) -> tuple[Output, Memory]:
        counts = absorb(memory.counts, memory.state, timestep)
        needed = timestep.first | self.every_step
        plan = branch_where(needed, lambda: self.plan(meta_params, counts, key), memory.plan)
        h = jnp.where(timestep.first, 0, memory.step_in_episode + 1)
        probabilities = self.choose(plan[h, timestep.observation])
        memory = Memory(counts, timestep.observation.astype(jnp.int32), h, plan)
        return Output(policy(probabilities), jnp.zeros(()), {}), memory

    def adapt(self, meta_params: Tables, task_params: PyTree, transitions: Transition, key: Key) -> PyTree:
        return task_params


def absorb(counts: Counts, state: Array, timestep: TimeStep) -> Counts:
    """Count what the last action, in `state`, led to; at the first step of a trial there was none."""
    S, A = counts.visits.shape
    pair = (jnp.arange(S) == state)[:, None] & (jnp.arange(A) == timestep.action) & (counts.num_steps > 0)
    moved = (pair & ~timestep.first)[:, :, None] & (jnp.arange(S) == timestep.observation)
    return Counts(
        counts.visits + pair,
        counts.rewards + pair * timestep.reward,
        counts.moves + moved,
        counts.num_steps + 1,
    )


def posterior(tables: Tables, counts: Counts) -> Posterior:
    prior, noise = tables.prior_std**-2, tables.noise_std**-2
    precision = prior + noise * counts.visits
    mean = (prior * tables.prior_mean + noise * counts.rewards) / precision
    return Posterior(mean, precision**-0.5, tables.prior_moves + counts.moves)


def branch_where(needed: Array, make: Callable[[], Array], otherwise: Array) -> Array:
    """`make()` where needed, else `otherwise`; in a batch, nothing is made if none is needed.

    A loop of at most one round: a batch of loops goes on while any of them does, where a batch of `cond`
    takes both branches at every step.
    """
    return jax.lax.while_loop(
        lambda carry: carry[0], lambda carry: (jnp.zeros_like(carry[0]), make()), (needed, otherwise)
    )[1]


def _given(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def count_of(field: str, space: spaces.Space) -> int:
    if not isinstance(space, spaces.Discrete) or space.start != 0:
        raise wrong(field, space, "Discrete from 0, for a learner that counts states and actions")
    return int(space.n)
