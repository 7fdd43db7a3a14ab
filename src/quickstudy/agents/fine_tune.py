"""Fine-tuning: a task begins with the policy of the known tasks, and PPO goes on from there.

    a task's start:   π = π⁰, the global policy;   v = v⁰
    the first adaptations move the critic alone; then, for each epoch, for each minibatch of steps:
        L = PPO's L + c P(π, π⁰)
        θ ← Adam(θ, ∇L),   θ all or a part of the policy's weights;   w ← Adam(w, ∇L),   w the critic's

P is 0, a distance of the weights, or KL[π⁰ ‖ π] at the phase's own observations: in this direction, that of
distillation, π may drop nothing that π⁰ does and its deviation may not collapse, so it goes on trying.

Source: PPO by Schulman et al. 2017 (arXiv 1707.06347); penalties as in `transfer.elastic`, parts as in
`nets.partial`.
Differs from the papers: gradients of policy and critic are clipped each by itself, so that a large penalty
does not take the critic's share. The statistics of observations stay those of the known tasks.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.agents.blank import Blank
from quickstudy.agents.policy_gradient import Learner, PolicyGradient, Steps
from quickstudy.agents.ppo import minibatches, proximal_loss
from quickstudy.errors import require
from quickstudy.nets.actor_critic import ActorCritic, Critic
from quickstudy.nets.partial import Moved, Part, begin, merged, policy_weights
from quickstudy.normalisation import Statistics
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.schedules import decayed
from quickstudy.transfer.elastic import Penalty, divergence, squared_change, weighted_change
from quickstudy.types import MOST, Array, Key, PyTree, Transition, TrialShape


class Global(Blank):
    """The `meta_params`: what is known of the known tasks."""

    network: ActorCritic
    seen: Statistics | None
    """Of the known tasks' observations; None where they are taken as they are."""
    earned: Statistics | None
    """Of the known tasks' discounted returns; None where rewards are taken as they are."""
    fisher: PyTree
    """Like `policy_weights`: how much each mattered in the known tasks; zeros where nobody measured it."""

    def for_life(self, num_adapts: int) -> Global:
        """The same at the start of a life of another length, against which schedules are measured."""
        return dataclasses.replace(self, num_adapts=num_adapts)


class Tuned(NamedTuple):
    """The weights of a task, and likewise the states of their two optimizers."""

    policy: Moved | PyTree
    critic: Critic | PyTree


@dataclasses.dataclass(frozen=True)
class FineTune(PolicyGradient):
    """Fine-tuning of a policy of known tasks by PPO, held near it if wanted (Kirkpatrick et al. 2017)."""

    meta_learned: ClassVar[bool] = False
    needs_start: ClassVar[bool] = True
    """What `init` makes is untrained, and no life should begin with it unasked."""

    num_epochs: int = 10
    num_minibatches: int = 4
    """Of steps, in one epoch."""
    clip: float = 0.2
    part: Part = "all"
    """What moves of the policy: all of it, its weights without biases, its head, a low-rank change of every
    layer, or an adapter before the head."""
    rank: int = 4
    """Of a low-rank change; of an adapter its units."""
    penalty: Penalty = "none"
    """On the way from the start: l2 of the weights, ewc (l2 weighted by what mattered in the known tasks), or
    kl of the policies at what is seen."""
    coefficient: float = 1.0
    """c, the penalty's weight in the loss."""
    critic_warmup: int = 4
    """Adaptations in which the critic alone moves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            num_epochs=(1 <= self.num_epochs <= 10_000, "between 1 and 10,000"),
            num_minibatches=(1 <= self.num_minibatches <= 10_000, "between 1 and 10,000"),
            clip=(self.clip > 0, "above 0"),
            rank=(1 <= self.rank <= 10_000, "between 1 and 10,000"),
            coefficient=(self.coefficient >= 0, "0 or more"),
            critic_warmup=(0 <= self.critic_warmup <= MOST, f"between 0 and {MOST:,}"),
        )
        knows_weights = self.part != "adapter" or self.penalty != "ewc"
        require(self, penalty=(knows_weights, "none, l2 or kl: an adapter is no weight of the known tasks"))

    def init(self, env: Any, trial: TrialShape, key: Key) -> Global:
        """An untrained global policy, in whose place one of known tasks is put."""
        blank = super().init(env, trial, key)
        network = self._network(env, key)
        shape = env.observation_space.shape or ()
        return Global(
            blank.env,
            blank.num_adapts,
            network,
            _nothing(shape) if self.normalise_observations else None,
            _nothing(()) if self.normalise_rewards else None,
            jax.tree.map(jnp.zeros_like, policy_weights(network)),
        )

    def init_task(self, meta_params: Global, key: Key) -> Learner:  # pyright: ignore[reportIncompatibleMethodOverride]
        start = meta_params.network
        weights: PyTree = Tuned(begin(self.part, start, self.rank, key), start.critic)
        states = Tuned(*(clipped_adam(self.max_grad_norm).init(x) for x in weights))
        learner = self.begin(weights, meta_params.seen)
        return learner._replace(optimizer=states, earned=meta_params.earned)

    def network(self, meta_params: Global, weights: Tuned) -> ActorCritic:
        network = eqx.tree_at(lambda n: n.critic, meta_params.network, weights.critic)
        return merged(network, weights.policy)

    def adapt(self, meta_params: Global, task_params: Learner, transitions: Transition, key: Key) -> Learner:
        # A policy moves with its observations' statistics: these stay.
        return super().adapt(meta_params, task_params, transitions, key)._replace(seen=task_params.seen)

    def learn(self, meta_params: Global, learner: Learner, steps: Steps, progress: Array, key: Key) -> Learner:
        rows = minibatches(len(steps.mask), self.num_epochs, self.num_minibatches, key)

        def minibatch(learner: Learner, rows: Array) -> tuple[Learner, None]:
            some = jax.tree.map(lambda x: x[rows], steps)
            gradient = jax.grad(self.loss)(learner.weights, meta_params, some)
            return self.moved(learner, gradient, progress), None

        return jax.lax.scan(minibatch, learner, rows)[0]

    def loss(self, weights: Tuned, meta_params: Global, steps: Steps) -> Array:
        loss = proximal_loss(self, self.network(meta_params, weights), steps, self.clip)
        if self.penalty == "none" or self.coefficient == 0:
            return loss
        return loss + self.coefficient * self.distance(weights, meta_params, steps)

    def distance(self, weights: Tuned, meta_params: Global, steps: Steps) -> Array:
        """P, of the penalty that is set."""
        start = meta_params.network
        if self.penalty == "l2":
            return squared_change(start, weights.policy)
        if self.penalty == "ewc":
            return weighted_change(start, weights.policy, meta_params.fisher)
        return steps.mean(divergence(start, self.network(meta_params, weights), steps.observation))

    def moved(self, learner: Learner, gradient: Tuned, progress: Array) -> Learner:
        """One step against the gradient; while the critic warms up the policy stays."""
        rate = decayed(self.schedule, self.learning_rate, 0.0, progress)
        optimizer = clipped_adam(self.max_grad_norm)
        weights, states = learner.weights, learner.optimizer
        policy = descend(optimizer, weights.policy, states.policy, gradient.policy, rate)
        critic = descend(optimizer, weights.critic, states.critic, gradient.critic, rate)
        warm = learner.num_adapts >= self.critic_warmup
        policy = jax.tree.map(
            lambda new, old: jnp.where(warm, new, old), policy, (weights.policy, states.policy)
        )
        return learner._replace(weights=Tuned(policy[0], critic[0]), optimizer=Tuned(policy[1], critic[1]))


def _nothing(shape: tuple[int, ...]) -> Statistics:
    """Of nothing seen."""
    return Statistics(jnp.zeros(()), jnp.zeros(shape), jnp.ones(shape))
