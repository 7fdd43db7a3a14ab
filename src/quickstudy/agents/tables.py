"""What the learners with a table share: its rows, the ε-greedy policy, and their two ways to learn.

    row h of Q [H, S, A]    the step of the episode, for a finite horizon; else the only one
    π(· | h, s)             any action with chance ε, else one that maximises Q[h, s, ·]
    ε                       from `epsilon` to `final_epsilon`, linearly in the adaptations behind it
    without a model         Q[h, s, a] ← Q[h, s, a] + α (target - Q[h, s, a]),   α = learning_rate / n^ω,
                            n the visits of the entry; step by step, in the order of time
    with a model            count visits, rewards and moves; plan for their means (`maths.planning`)

A family with a time limit is a process with a finite horizon, whose best actions depend on the time left. With
`horizon` "finite" a cut is therefore an end, and every step of the episode has a table of its own; with
"discounted" there is one table, and the value behind a cut counts. A model has no use for more data where there
are more tables, so the first is the default of learners with one, and the second of those without.

Source: Sutton and Barto 2018, "Reinforcement learning", chapters 4 to 6; Even-Dar and Mansour 2003, "Learning
rates for Q-learning", for α; Pardo et al. 2018 (arXiv 1712.00378) for time limits.
Differs from the paper: the policy is that of the last adaptation; with one stream of one step it learns online.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.agents.blank import Blank
from quickstudy.errors import require, wrong
from quickstudy.maths import planning
from quickstudy.maths.planning import Counts
from quickstudy.nets.distributions import Categorical
from quickstudy.types import MOST, Array, Key, Output, PyTree, TimeStep, Transition, TrialShape

Horizon = Literal["finite", "discounted"]
LEAST_CHANCE = 1e-30
"""Of an action that is not chosen; above 0, so that its logarithm is finite."""


class EpsilonGreedy(Categorical):
    """Actions by chance, whose mode is the best one even where all are as likely."""

    values: Array
    """[..., A]"""

    def mode(self) -> Array:
        return jnp.argmax(self.values, axis=-1)


class Steps(NamedTuple):
    """Transitions as numbers of rows of a table; any leading axes."""

    row: Array
    state: Array
    action: Array
    reward: Array
    next_row: Array
    next_state: Array
    ends: Array
    """bool: nothing behind this step counts."""
    mask: Array


class Learned(NamedTuple):
    """The `task_params`."""

    values: Array
    """Q [H, S, A]"""
    evidence: Array | Counts
    """Visits [H, S, A], or what the model is made of."""
    num_adapts: Array
    """int32, those behind."""


@dataclasses.dataclass(frozen=True)
class TableLearner(abc.ABC):
    """All of a learner with a table but how it learns."""

    meta_learned: ClassVar[bool] = False
    has_model: ClassVar[bool] = False

    horizon: Horizon = "finite"
    """finite: a table for each step of the episode, whose time limit is an end; discounted: one table, and the
    value behind a time limit counts."""
    discount: float = 1.0
    """γ; below 1 for the horizon discounted."""
    epsilon: float = 1.0
    """Chance of an action without regard to its value, at the beginning."""
    final_epsilon: float = 0.05
    """The same, at the end."""
    exploration_share: float = 0.8
    """Of the adaptations, in which that chance falls from the one to the other, linearly."""

    def __post_init__(self) -> None:
        lasting = self.horizon == "discounted"
        require(
            self,
            discount=(
                0.0 < self.discount < 1.0 or (self.discount == 1.0 and not lasting),
                "above 0 and below 1 for the horizon discounted" if lasting else "above 0, at most 1",
            ),
            epsilon=(0.0 <= self.epsilon <= 1.0, "between 0 and 1"),
            final_epsilon=(0.0 <= self.final_epsilon <= 1.0, "between 0 and 1"),
            exploration_share=(0.0 <= self.exploration_share <= 1.0, "between 0 and 1"),
        )

    def init(self, env: Any, trial: TrialShape, key: Key) -> Blank:
        """Raises `InputError` where observations or actions are not counted, or are too many for a table."""
        H, S, A = self.shape(env)
        deep = max(H, S) if self.has_model else H
        if deep * S * A > MOST:
            raise wrong(
                "env", type(env).__name__, f"a table of at most {MOST:,} entries, not {deep} × {S} × {A}"
            )
        return Blank(env, trial.num_adapts)

    @abc.abstractmethod
    def init_task(self, meta_params: Blank, key: Key) -> Learned: ...

    @abc.abstractmethod
    def adapt(self, meta_params: Blank, task_params: Learned, transitions: Transition, key: Key) -> Learned: ...

    def init_memory(self, meta_params: Blank, task_params: Learned) -> Array:
        """Steps of the episode behind the coming one, should that not open another; int32."""
        return jnp.zeros((), jnp.int32)

    def step(
        self, meta_params: Blank, task_params: Learned, memory: Array, timestep: TimeStep, key: Key
    ) -> tuple[Output, Array]:
        time = jnp.where(timestep.first, 0, memory)
        state = number(meta_params.env.observation_space, timestep.observation)
        values = task_params.values[self._row(meta_params, time), state]
        policy = epsilon_greedy(values, self.epsilon_after(meta_params, task_params.num_adapts))
        return Output(policy, jnp.zeros(()), {"step_in_episode": time}), time + 1

    def shape(self, env: Any) -> tuple[int, int, int]:
        """H, S and A of the table."""
        states = math.prod(_sizes(env.observation_space))
        actions = env.action_space
        if not (isinstance(actions, spaces.Discrete) and actions.start == 0):
            raise wrong("action_space", actions, "Discrete from 0, for a learner with a table")
        return (env.max_steps if self.horizon == "finite" else 1), states, int(actions.n)

    def epsilon_after(self, meta_params: Blank, num_adapts: Array) -> Array:
        """ε after so many adaptations."""
        falling = max(self.exploration_share * meta_params.num_adapts, 1.0)
        return self.epsilon + (self.final_epsilon - self.epsilon) * jnp.minimum(num_adapts / falling, 1.0)

    def steps(self, meta_params: Blank, transitions: Transition) -> Steps:
        """Transitions [...] -> Steps [...]"""
        space, time = meta_params.env.observation_space, transitions.extras["step_in_episode"]
        cut = transitions.truncated if self.horizon == "finite" else jnp.zeros_like(transitions.truncated)
        return Steps(
            row=self._row(meta_params, time),
            state=number(space, transitions.timestep.observation),
            action=transitions.action,
            reward=transitions.reward,
            next_row=self._row(meta_params, time + 1),
            next_state=number(space, transitions.next_observation),
            ends=transitions.terminated | cut,
            mask=transitions.mask,
        )

    def _row(self, meta_params: Blank, time: Array) -> Array:
        # Behind the last step there is no row, and nothing that counts.
        return jnp.minimum(time, self.shape(meta_params.env)[0] - 1)


@dataclasses.dataclass(frozen=True)
class ModelFree(TableLearner):
    """A learner that moves the entries of its table towards targets."""

    horizon: Horizon = "discounted"
    """finite: a table for each step of the episode, whose time limit is an end, which takes as many
    times the experience; discounted: one table, and the value behind a time limit counts."""
    discount: float = 0.9
    """γ; below 1 for the horizon discounted."""
    learning_rate: float = 1.0
    """Of an entry's first visit."""
    rate_decay: float = 0.7
    """ω, the power of the visits by which that is divided; 0 for a constant rate, 1 for a mean."""
    initial_value: float = 0.0
    """Of every entry; a high one lets all actions be tried."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            learning_rate=(0.0 <= self.learning_rate <= 1.0, "between 0 and 1"),
            rate_decay=(0.0 <= self.rate_decay <= 1.0, "between 0 and 1"),
            initial_value=(math.isfinite(self.initial_value), "a finite number"),
        )

    def init_task(self, meta_params: Blank, key: Key) -> Learned:
        shape = self.shape(meta_params.env)
        return Learned(jnp.full(shape, self.initial_value), jnp.zeros(shape), jnp.zeros((), jnp.int32))

    def learn(self, learned: Learned, known: PyTree, target: Callable[[Array, Any], Array]) -> Learned:
        """From `known`, (Steps, ...) [S, T], in the order of time; `target(values, known of one step)` []."""

        def move(carry: tuple[Array, Array], known: Any) -> tuple[tuple[Array, Array], None]:
            values, visits = carry
            step: Steps = known[0]
            entry = step.row, step.state, step.action
            visits = visits.at[entry].add(step.mask)
            # At least one, for a masked step may be of an entry without a visit.
            rate = self.learning_rate / jnp.maximum(visits[entry], 1.0) ** self.rate_decay
            change = rate * (target(values, known) - values[entry])
            return (values.at[entry].add(jnp.where(step.mask, change, 0.0)), visits), None

        in_time = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:]), known)
        assert isinstance(learned.evidence, Array)
        values, visits = jax.lax.scan(move, (learned.values, learned.evidence), in_time)[0]
        return Learned(values, visits, learned.num_adapts + 1)


@dataclasses.dataclass(frozen=True)
class ModelBased(TableLearner):
    """A learner that counts, and plans for the means of what it counted."""

    has_model: ClassVar[bool] = True

    prior_visits: float = 0.0
    """Times that each action counts as taken beforehand, in each state; at least once where it never was."""
    prior_reward: float = 0.0
    """What it earned then, with a move to any state alike; a high one lets all actions be tried."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            prior_visits=(0.0 <= self.prior_visits < math.inf, "0 or more"),
            prior_reward=(math.isfinite(self.prior_reward), "a finite number"),
        )

    @abc.abstractmethod
    def plan(self, rewards: Array, transitions: Array, values: Array) -> Array:
        """The best Q [H, S, A] of rewards [S, A] and transitions [S, A, S]; `values` is the last plan."""

    def init_task(self, meta_params: Blank, key: Key) -> Learned:
        H, S, A = self.shape(meta_params.env)
        return Learned(jnp.zeros((H, S, A)), planning.no_counts(S, A), jnp.zeros((), jnp.int32))

    def adapt(self, meta_params: Blank, task_params: Learned, transitions: Transition, key: Key) -> Learned:
        assert isinstance(task_params.evidence, Counts)
        counts = counted(task_params.evidence, self.steps(meta_params, transitions), transitions.terminated)
        rewards, transition_means = planning.most_likely(counts, self.prior_visits, self.prior_reward)
        values = self.plan(rewards, transition_means, task_params.values)
        return Learned(values, counts, task_params.num_adapts + 1)


def epsilon_greedy(values: Array, epsilon: Array | float) -> EpsilonGreedy:
    """By values [A]; among equal ones any, and the mode the first of them."""
    best = values >= values.max()
    chances = (1.0 - epsilon) * best / best.sum() + epsilon / values.shape[0]
    return EpsilonGreedy(jnp.log(jnp.maximum(chances, LEAST_CHANCE)), values)


def expected_value(values: Array, epsilon: Array | float) -> Array:
    """Of the ε-greedy policy by values [A]."""
    return (1.0 - epsilon) * values.max() + epsilon * values.mean()


def counted(counts: Counts, steps: Steps, terminated: Array) -> Counts:
    """With the steps [S, T] beside those of before. What lies behind a cut was seen: it is a move."""
    pair, seen = (steps.state, steps.action), steps.mask.astype(jnp.float32)
    return Counts(
        counts.visits.at[pair].add(seen),
        counts.rewards.at[pair].add(seen * steps.reward),
        counts.moves.at[(*pair, steps.next_state)].add(seen * ~terminated),
    )


def number(space: spaces.Space, observation: Array) -> Array:
    """The state's, from 0, of observations [...] of a `Discrete`, [..., n] of a `MultiDiscrete` space."""
    if isinstance(space, spaces.Discrete):
        return observation.astype(jnp.int32)
    sizes = _sizes(space)
    strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return (observation.astype(jnp.int32) * jnp.asarray(strides)).sum(-1)


def _sizes(space: spaces.Space) -> tuple[int, ...]:
    if isinstance(space, spaces.Discrete) and space.start == 0:
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete) and len(space.shape) == 1 and not np.any(space.start):
        return tuple(int(n) for n in space.nvec)
    raise wrong("observation_space", space, "Discrete or MultiDiscrete from 0, for a learner with a table")
