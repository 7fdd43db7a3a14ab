"""What a policy gradient weighs the actions of recorded trials by: advantages, within a phase and beyond it.

    A_t = Σ_l (γλ)^l δ_{t+l},   δ_t = r_t + γ v_{t+1} - v_t,   target_t = A_t + v_t     by `maths.credit`

`phases` says whose rewards count, those of the last phase, of all but the first (what is earned after an
adaptation), or of all, and `credit` how far an action is
credited: to the end of its episode, or of the trial. Where a trial has adaptations, an action of an early phase
changes what is learned from it, and so all that is earned behind. With credit over the trial it is paid for
that, too:

    A of phase k  +  Σ_{j > k, j counts} R_j,     R_j the undiscounted return of phase j of all streams

which is the gradient of E[R_j] through the choice of what to learn from: E-MAML's credit for exploration. Its
baseline is its mean over the tasks, or, stream by stream, what would have been earned without the stream:
`outer.contributions`.

With `normalise_values` a critic speaks in units of its trials: u_t of v_t = m_t + s_t u_t, where m_t and s_t
are mean and deviation of the returns from step t on, over all tasks and streams. In a long trial returns differ
most by how much of it is left; what is left for the critic to tell is how this task and this history differ.

Source: Stadie et al. 2018 (arXiv 1803.01118), section 3, on exploration; Al-Shedivat et al. 2018 (arXiv
1710.03641), whose meta-gradient is the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.errors import wrong
from quickstudy.maths.credit import Baseline, Credit, advantages, with_values_of
from quickstudy.types import Array, PyTree, Transition, Trials

Phases = Literal["all", "adapted", "last"]
Contributor = Callable[[Array], Array]
"""The steps whose rewards count, 1 or 0 [N, K+1, S, T] -> what each stream contributed [N, K+1, S]."""

# Of returns that are all alike; smaller than any reward that is worth learning from.
LEAST_DEVIATION = 1e-3


class Batch(NamedTuple):
    """Trials, with what is known of their steps before anything is learned from them.

    [N, C, S, T], where the last C phases count: what is asked of no other need not be computed for it.
    """

    trials: Trials
    weight: Array
    """1 for each step that counts, else 0."""
    advantage: Array
    value_target: Array
    """In the critic's units."""

    def mean(self, x: Array) -> Array:
        """Over the steps that count."""
        return (x * self.weight).sum() / self.weight.sum()

    def counted(self, of_trials: PyTree) -> PyTree:
        """The phases that count, [N, K+1, ...] -> [N, C, ...]."""
        return jax.tree.map(lambda x: x[:, -self.weight.shape[1] :], of_trials)

    def first_streams(self, count: int) -> Batch:
        """The same of so many streams of each task."""
        if count == self.weight.shape[2]:
            return self
        phases, *rest = jax.tree.map(lambda x: x[:, :, :count], (self.trials.phases, *self[1:]))
        return Batch(self.trials._replace(phases=phases), *rest)

    @property
    def recorded(self) -> Transition:
        return self.counted(self.trials.phases)


def judge(
    trials: Trials,
    *,
    phases: Phases,
    credit: Credit,
    discount: float,
    gae_lambda: float,
    normalise: bool,
    baseline: Baseline = "critic",
    normalise_values: bool = False,
    contributed: Contributor | None = None,
) -> Batch:
    """Weights, advantages and value targets of all steps.

    `normalise` brings the advantages to mean 0 and deviation 1 over the steps that count, and credit beyond a
    phase to the same by itself: its scale beside them is then a matter of choice, not of the objective.
    With `contributed` that credit is each stream's own. It is divided by what the advantages are divided by, as
    the objective has it.
    Raises `InputError` for values that are to be normalised in credit over less than a trial, and for a single
    advantage that is to be.
    """
    recorded = trials.phases
    num_tasks, num_phases, num_streams, num_steps = recorded.reward.shape
    num_counted = num_tasks * (num_phases - first_that_counts(phases, num_phases)) * num_streams * num_steps
    if normalise and num_counted == 1:
        raise wrong("outer.normalise_advantages", True, "False where one step counts: it would be 0")
    if normalise_values and credit != "trial":
        raise wrong("outer.normalise_values", True, f"False where outer.credit is {credit!r}")
    mean, deviation = 0.0, 1.0
    if baseline != "critic":
        by_phase = jax.vmap(jax.vmap(lambda phase: with_values_of(baseline, phase, credit, discount)))
        recorded = by_phase(recorded)
    elif normalise_values:
        mean, deviation = _return_statistics(recorded, credit, discount)
        recorded = recorded._replace(value=mean + deviation * recorded.value)
    advantage = _advantages(recorded, credit, discount, gae_lambda)
    value_target = (advantage + recorded.value - mean) / deviation
    counts = _counts(recorded, phases)
    scale = _deviation(advantage, counts) if normalise else 1.0
    if normalise:
        advantage = _normalised(advantage, counts)
    if credit == "episode" or recorded.reward.shape[1] == 1:
        return _of_what_counts(Batch(trials, counts, advantage, value_target), phases)
    if contributed is None:
        beyond = _beyond(recorded, phases, baseline, normalise)[:, :, None]
    else:
        beyond = contributed(counts) / scale
    advantage = advantage * counts + beyond[..., None]
    return Batch(trials, recorded.mask.astype(jnp.float32), advantage * recorded.mask, value_target)


def _of_what_counts(batch: Batch, phases: Phases) -> Batch:
    first = first_that_counts(phases, batch.weight.shape[1])
    return Batch(batch.trials, *(x[:, first:] for x in batch[1:]))


def first_that_counts(phases: Phases, num_phases: int) -> int:
    """Index of the first phase whose rewards count."""
    last = num_phases - 1
    return {"all": 0, "adapted": min(1, last), "last": last}[phases]


def needs_critic(agent: Any, baseline: Baseline) -> None:
    """Raise `InputError` where advantages are to be measured from a critic that the agent has not."""
    while hasattr(agent, "agent"):
        # A setting around it.
        agent = agent.agent
    if baseline == "critic" and not getattr(agent, "has_critic", True):
        raise wrong("outer.baseline", baseline, "'linear' or 'none', for an agent without a critic")


def _counts(recorded: Transition, phases: Phases) -> Array:
    """1 for each step whose reward counts, else 0."""
    num_phases = recorded.mask.shape[1]
    counts = jnp.arange(num_phases) >= first_that_counts(phases, num_phases)
    return (recorded.mask & counts[:, None, None]).astype(jnp.float32)


def _normalised(x: Array, counts: Array) -> Array:
    mean = jnp.mean(x, where=counts > 0)
    return (x - mean) / _deviation(x, counts) * (counts > 0)


def _deviation(x: Array, counts: Array) -> Array:
    return jnp.std(x, where=counts > 0) + 1e-8


def _beyond(recorded: Transition, phases: Phases, baseline: Baseline, normalise: bool) -> Array:
    """The credit of all streams of a phase together, [N, K+1]."""
    beyond = _earned_beyond(recorded, phases)
    if baseline != "none":
        beyond -= beyond.mean(axis=0)
    return _normalised(beyond, jnp.ones_like(beyond).at[:, -1].set(0)) if normalise else beyond


def _earned_beyond(recorded: Transition, phases: Phases) -> Array:
    """What each phase is followed by, [N, K+1]: the returns that count of the later ones, over all streams."""
    earned = (recorded.reward * _counts(recorded, phases)).sum(axis=(2, 3))
    return jnp.cumsum(earned[:, ::-1], axis=1)[:, ::-1] - earned


def _advantages(recorded: Transition, credit: Credit, discount: float, gae_lambda: float) -> Array:
    """Of every stream, [N, K+1, S, T]."""
    of_stream = functools.partial(advantages, credit=credit, discount=discount, gae_lambda=gae_lambda)
    return jax.vmap(jax.vmap(jax.vmap(of_stream)))(recorded)


def _return_statistics(recorded: Transition, credit: Credit, discount: float) -> tuple[Array, Array]:
    """Mean and deviation of the returns from each step on, over tasks and streams, [1, K+1, 1, T] each."""
    zeros = jnp.zeros_like(recorded.reward)
    returns = _advantages(recorded._replace(value=zeros, next_value=zeros), credit, discount, gae_lambda=1.0)
    # Behind the last episode of all streams there is nothing to take a mean of.
    count = jnp.maximum(recorded.mask.sum(axis=(0, 2), keepdims=True), 1)
    mean = (returns * recorded.mask).sum(axis=(0, 2), keepdims=True) / count
    squares = ((returns - mean) ** 2 * recorded.mask).sum(axis=(0, 2), keepdims=True) / count
    return mean, jnp.maximum(jnp.sqrt(squares), LEAST_DEVIATION)
