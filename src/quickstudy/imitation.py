"""Imitation of a teacher as a start: a setting of any training whose outer loop follows gradients.

    for the first `share` of the updates, on the agent's own trials, for each minibatch of tasks:
        π*  ← replay(teacher, trials);   π, v ← replay(agent, θ, trials)
        L = KL[π* ‖ π] + c_v (v - R)² / 2
        θ ← Adam(θ, ∇L)
    then the outer loop goes on from there, with all of its own schedules

The agent acts and the teacher says what it would have done: the agent learns to do right behind its own
mistakes. A teacher is any agent that needs no training, and it sees what the agent sees. The critic learns
from the first update, so that the outer loop finds one.

Source: Ross et al. 2011 (arXiv 1011.0686), algorithm 3.1 with β = 0; the divergence as in Schmitt et al. 2018
(arXiv 1803.03835).
Differs from the papers: no trials are kept from one update to the next; the teacher's weight does not fade,
it ends.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from quickstudy.errors import InputError, require, unknown, wrong
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.advantages import Batch, judge
from quickstudy.outer.schedules import decayed
from quickstudy.registry import REGISTRIES, resolve
from quickstudy.rollout import replay
from quickstudy.types import Array, Key, PyTree, Trials, TrialShape


@dataclasses.dataclass(frozen=True)
class Imitation:
    """Learn from a teacher first."""

    teacher: str | None = None
    """Registry name of an agent that needs no training, for example bayes-planner; None: no imitation."""
    share: float = 0.5
    """Of the updates; the outer loop has the rest."""
    learning_rate: float = 3e-3
    """Falls along a cosine to a tenth of it."""
    num_minibatches: int = 4
    """Minibatches, of tasks, in which an update goes over its trials once."""
    value_coefficient: float = 0.5
    """Of the critic's loss beside the divergence."""
    max_grad_norm: float = 0.5
    """The gradient's global norm is clipped to this."""

    def __post_init__(self) -> None:
        require(
            self,
            share=(0 < self.share <= 1, "above 0, at most 1"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            num_minibatches=(1 <= self.num_minibatches <= 10_000, "between 1 and 10,000"),
            value_coefficient=(self.value_coefficient >= 0, "0 or more"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )
        if self.teacher is None:
            return
        # By its registry name alone: an experiment.json that somebody else made must not make us import a file.
        if self.teacher not in REGISTRIES["agent"]:
            raise unknown("imitation.teacher", self.teacher, REGISTRIES["agent"])
        if getattr(resolve("agent", self.teacher), "meta_learned", True):
            raise wrong("imitation.teacher", self.teacher, "an agent that needs no training, or None")


class ImitatingState(NamedTuple):
    outer: Any
    optimizer: PyTree

    @property
    def meta_params(self) -> PyTree:
        return self.outer.meta_params


@dataclasses.dataclass(frozen=True)
class Imitating:
    """An outer loop: imitation first, then `outer`."""

    outer: Any
    imitation: Imitation
    env: Any

    def __post_init__(self) -> None:
        if hasattr(self.outer, "propose"):
            raise InputError(
                "imitation.teacher: an outer loop that tries out many agents has no gradient to follow"
            )

    def init(self, agent: Any, meta_params: PyTree, key: Key) -> ImitatingState:
        optimizer = clipped_adam(self.imitation.max_grad_norm).init(meta_params)
        return ImitatingState(self.outer.init(agent, meta_params, key), optimizer)

    def update(
        self, agent: Any, state: ImitatingState, trials: Trials, progress: Array, key: Key
    ) -> tuple[ImitatingState, dict[str, Array]]:
        share = self.imitation.share

        def imitate() -> tuple[ImitatingState, dict[str, Array]]:
            return self._imitate(agent, state, trials, progress / share, key)

        def reinforce() -> tuple[ImitatingState, dict[str, Array]]:
            left = (progress - share) / (1 - share)
            outer, metrics = self.outer.update(agent, state.outer, trials, left, key)
            return state._replace(outer=outer), metrics

        if share == 1:
            return imitate()
        return jax.lax.cond(progress < share, *_with_same_metrics(imitate, reinforce))

    def _imitate(
        self, agent: Any, state: ImitatingState, trials: Trials, progress: Array, key: Key
    ) -> tuple[ImitatingState, dict[str, Array]]:
        num_tasks = trials.key.shape[0]
        size = num_tasks // self.imitation.num_minibatches
        if size * self.imitation.num_minibatches != num_tasks:
            parts = self.imitation.num_minibatches
            raise wrong("num_tasks", num_tasks, f"a multiple of imitation.num_minibatches, {parts}")
        batch = self._judged(trials)
        said = self._teacher_policy(trials)
        rate = decayed("cosine", self.imitation.learning_rate, 0.1 * self.imitation.learning_rate, progress)
        optimizer = clipped_adam(self.imitation.max_grad_norm)

        def minibatch(
            carry: tuple[PyTree, PyTree], rows: Array
        ) -> tuple[tuple[PyTree, PyTree], dict[str, Array]]:
            meta_params, moments = carry
            some = jax.tree.map(lambda x: x[rows], (batch, said))
            grads, metrics = jax.grad(lambda params: self._loss(agent, params, *some), has_aux=True)(
                meta_params
            )
            return descend(optimizer, meta_params, moments, grads, rate), metrics

        rows = jax.random.permutation(key, num_tasks).reshape(-1, size)
        carry = (state.outer.meta_params, state.optimizer)
        (meta_params, moments), metrics = jax.lax.scan(minibatch, carry, rows)
        outer = state.outer._replace(meta_params=meta_params)
        return ImitatingState(outer, moments), jax.tree.map(jnp.mean, metrics)

    def _loss(self, agent: Any, meta_params: PyTree, batch: Batch, said: Any) -> tuple[Array, dict[str, Array]]:
        output = batch.counted(replay(agent, meta_params, batch.trials))
        apart = batch.mean(batch.counted(said).kl(output.policy))
        value_loss = 0.5 * batch.mean((output.value - batch.value_target) ** 2)
        loss = apart + self.imitation.value_coefficient * value_loss
        return loss, {"loss": loss, "from_teacher": apart, "value_loss": value_loss}

    def _judged(self, trials: Trials) -> Batch:
        """The steps that count, and the critic's targets: those of the outer loop that comes."""
        num_phases = trials.phases.reward.shape[1]
        return judge(
            trials,
            phases=getattr(self.outer, "phases", "all"),
            credit="trial" if num_phases == 1 else "episode",
            discount=getattr(self.outer, "discount", 0.99),
            gae_lambda=getattr(self.outer, "gae_lambda", 0.95),
            normalise=False,
            normalise_values=getattr(self.outer, "normalise_values", False),
        )

    def _teacher_policy(self, trials: Trials) -> Any:
        """What the teacher would have done at every step, [N, K+1, S, T]."""
        _, num_phases, num_streams, num_steps = trials.phases.reward.shape
        # A stage of the curriculum has shorter trials, and so another horizon to plan for.
        trial = TrialShape(num_phases - 1, num_streams, num_steps // self.env.max_steps)
        assert self.imitation.teacher is not None
        teacher = resolve("agent", self.imitation.teacher)()
        # No key: a teacher's first meta-parameters are tables, not drawn.
        return replay(teacher, teacher.init(self.env, trial, jax.random.key(0)), trials).policy


def _with_same_metrics(*branches: Any) -> list[Any]:
    """The same branches, each with the metrics of all: 0 where it has none of that name."""
    shapes: dict[str, Any] = {}
    for branch in branches:
        shapes |= jax.eval_shape(branch)[1]

    def filled(branch: Any) -> Any:
        def run() -> tuple[Any, dict[str, Array]]:
            state, metrics = branch()
            return state, {name: metrics.get(name, jnp.zeros(x.shape, x.dtype)) for name, x in shapes.items()}

        return run

    return [filled(branch) for branch in branches]
