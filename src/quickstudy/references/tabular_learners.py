"""Classical learners of tabular MDPs: what each plans for at the first step of an episode.

    GreedyPlanner           the posterior mean of rewards and transitions
    EpsilonGreedyPlanner    the same, but with probability ε any action
    PSRL                    one process drawn from the posterior
    OPSRL                   the highest Q(s, a) of several processes drawn from the posterior
    UCRL2                   the best process within the confidence widths
                                c σ sqrt(7/2 log(2 S A t/δ) / max(n, 1))    of a mean reward
                                c   sqrt(14 S log(2 A t/δ) / max(n, 1))     of transitions, in L1
    BEB                     the posterior mean, with β / (1 + n) added to the rewards

n are the visits of (s, a) and t the steps so far; what they share stands in `tabular_learning`.

Source: the baselines of Duan et al. 2016 (arXiv 1611.02779), section 3.2; Strens 2000 and Osband et al. 2013
(arXiv 1306.0940) for PSRL; Osband and Van Roy 2017 (arXiv 1607.00215), section 4, for OPSRL; Jaksch et al. 2010
for UCRL2; Kolter and Ng 2009 for BEB.
Differs from the paper:
- The prior is the true one, N(1, 1) and Dirichlet(1). The published rows look like a prior mean of 0, PSRL and
  OPSRL with the weight of one reward, the others with hardly any (`prior_std=100, prior_moves=1e-4`). That is
  inferred from the figures: greedy and ε-greedy fit it in 10 to 100 episodes; with these bonuses UCRL2 and
  BEB do not (docs/reproduce.md). Over 10 episodes, 2048 processes, errors 0.6 (published: 1000, about 0.9):

                     true prior   mean 0   published
      greedy              154.5    135.4       134.8
      ε-greedy, .1        149.7    134.3       132.8
      UCRL2               154.9    146.0       146.6    c = 0.1, with mean 0 c = 0.05
      BEB                 157.2    145.9       150.2    β = 0.5, with mean 0 β = 1
      PSRL                133.7    137.9       138.1
      OPSRL, 10 draws     135.0    142.8       144.1

  A mean below the truth makes what was seen look better than what was not: the greedy planner explores less,
  and those that explore too much for 10 episodes explore less, too.
- UCRL2 plans at the first step of each episode, not when the visits of a pair have doubled, and its means begin
  with the prior. BEB divides by 1 + n, where Kolter and Ng count the prior's moves, too, and plans once an
  episode, not at every step. c = 1 and β = 2 H² are those with a guarantee.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from quickstudy.errors import require
from quickstudy.references.choice import mixed
from quickstudy.references.tabular_learning import Counts, Posterior, Tables, TabularLearner, posterior
from quickstudy.references.value_iteration import action_values, optimistic_action_values
from quickstudy.types import Array, Key


@dataclasses.dataclass(frozen=True)
class GreedyPlanner(TabularLearner):
    """Plan for what is most likely of a tabular MDP, once an episode; explore by chance alone."""

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        return _mean_values(tables, posterior(tables, counts))


@dataclasses.dataclass(frozen=True)
class EpsilonGreedyPlanner(TabularLearner):
    """The greedy planner, but with probability `epsilon` any action."""

    epsilon: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, epsilon=(0.0 <= self.epsilon <= 1.0, "between 0 and 1"))

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        return _mean_values(tables, posterior(tables, counts))

    def choose(self, values: Array) -> Array:
        return mixed(super().choose(values), self.epsilon)


@dataclasses.dataclass(frozen=True)
class PSRL(TabularLearner):
    """Posterior sampling: plan for a tabular MDP drawn from the posterior, once an episode."""

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        return _sampled_values(tables, posterior(tables, counts), key)


@dataclasses.dataclass(frozen=True)
class OPSRL(TabularLearner):
    """Posterior sampling that believes the best of several draws, pair by pair of state and action."""

    num_samples: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, num_samples=(self.num_samples >= 1, "at least 1"))

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        believed = posterior(tables, counts)

        def highest(values: Array, key: Key) -> tuple[Array, None]:
            return jnp.maximum(values, _sampled_values(tables, believed, key)), None

        lowest = jnp.full((tables.horizon, *counts.visits.shape), -jnp.inf)
        return jax.lax.scan(highest, lowest, jax.random.split(key, self.num_samples))[0]


@dataclasses.dataclass(frozen=True)
class UCRL2(TabularLearner):
    """Plan for the best tabular MDP within confidence widths, once an episode (Jaksch et al. 2010)."""

    scale: float = 0.1
    """c; 1 is Jaksch's. 0.03 to 0.15 earn the same at 10 episodes, within the error."""
    failure_probability: float = 0.05
    """δ: of the widths, were they those of the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            scale=(self.scale >= 0.0, "0 or more"),
            failure_probability=(0.0 < self.failure_probability < 1.0, "between 0 and 1, both excluded"),
        )

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        believed = posterior(tables, counts)
        S, A = counts.visits.shape
        t = jnp.maximum(counts.num_steps, 1)
        visits, moves = (jnp.maximum(n, 1.0) for n in (counts.visits, counts.moves.sum(-1)))
        of_reward = jnp.sqrt(3.5 * jnp.log(2 * S * A * t / self.failure_probability) / visits)
        of_transitions = jnp.sqrt(14 * S * jnp.log(2 * A * t / self.failure_probability) / moves)
        return optimistic_action_values(
            believed.reward_mean + self.scale * tables.noise_std * of_reward,
            believed.transitions,
            self.scale * of_transitions,
            tables.horizon,
        )


@dataclasses.dataclass(frozen=True)
class BEB(TabularLearner):
    """The greedy planner with a bonus for what was seldom tried (Bayesian exploration bonus)."""

    bonus: float = 0.5
    """β; the best at 10 episodes, where 0.3 and 0.6 earn as much and 2.0 less than no bonus."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, bonus=(self.bonus >= 0.0, "0 or more"))

    def plan(self, tables: Tables, counts: Counts, key: Key) -> Array:
        return _mean_values(tables, posterior(tables, counts), self.bonus / (1.0 + counts.visits))


def _mean_values(tables: Tables, believed: Posterior, bonus: Array | float = 0.0) -> Array:
    return action_values(believed.reward_mean + bonus, believed.transitions, tables.horizon)


def _sampled_values(tables: Tables, believed: Posterior, key: Key) -> Array:
    k_rewards, k_transitions = jax.random.split(key)
    noise = jax.random.normal(k_rewards, believed.reward_mean.shape)
    rewards = believed.reward_mean + believed.reward_std * noise
    return action_values(rewards, _sampled_transitions(tables, believed, k_transitions), tables.horizon)


def _sampled_transitions(tables: Tables, believed: Posterior, key: Key) -> Array:
    """One draw of every Dirichlet distribution [S, A, S]: gamma variates over their sum.

    Gamma(α + m) is Gamma(α) + Gamma(m), and the second is drawn where a move was seen, in no more cells than a
    trial has steps: a gamma variate costs as much as fourteen exponential ones, which serve where α = 1.
    """
    k_prior, k_seen = jax.random.split(key)
    shape, alpha = believed.moves.shape, tables.prior_moves
    prior = jax.random.exponential(k_prior, shape) if alpha == 1.0 else jax.random.gamma(k_prior, alpha, shape)
    num_seen = min(believed.moves.size, tables.num_steps)
    seen, cells = jax.lax.top_k(believed.moves.ravel() - alpha, num_seen)
    more = jnp.where(seen > 0.5, jax.random.gamma(k_seen, jnp.maximum(seen, 1.0)), 0.0)
    weights = prior.ravel().at[cells].add(more).reshape(shape)
    return weights / weights.sum(-1, keepdims=True)
