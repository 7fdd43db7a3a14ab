"""The inner loop of every agent that learns within a task by gradients of its own policy.

    task's start:   φ = start(θ)
    a phase:        S streams of experience by π_φ, which remembers nothing
    an adaptation:  L(φ) = -mean over the phase's steps of J(φ)  (+ c_v (V_φ - R)² / 2);   φ ← move(φ, ∇L)

J is one of `maths.surrogates`. Its advantages are numbers, measured from a regression on the phase's returns or
from the agent's critic, and brought to mean 0 and deviation 1. What φ is, how π comes of it and how a gradient
moves it is each agent's own: `start`, `says` and `move`. An outer loop that follows gradients follows them
through all this; `first_order` takes the inner gradient for a number.

With `first_deviation` σ_0 continuous actions are as wide as what is known of the task asks for:

    the first phase, which nothing pays for looking around:   σ_0
    after k adaptations:                                      r_k σ, r meta-learned

Source: Finn et al. 2017 (MAML, arXiv 1703.03400), algorithm 3.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from gymnasium import spaces

from quickstudy.errors import require, wrong
from quickstudy.maths import surrogates
from quickstudy.maths.credit import Baseline, advantages, with_values_of
from quickstudy.maths.surrogates import Estimator
from quickstudy.nets.actor_critic import ACTIVATIONS, Activation, ActorCritic
from quickstudy.nets.distributions import Normal
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class TaskParams(NamedTuple):
    adapted: PyTree
    """φ"""
    num_adapts: Array
    """int32"""


class Judged(NamedTuple):
    """A phase, with what is known of its steps before anything is learned from them, [S, T]."""

    phase: Transition
    """Its values are the baseline's."""
    advantage: Array
    """By `normalise_advantages` of mean 0 and deviation 1."""
    mean: Array
    """Of the advantages before that, [], 0 without it."""
    deviation: Array


@dataclasses.dataclass(frozen=True)
class InnerLoop(abc.ABC):
    """What all agents share that take gradient steps within a task."""

    hidden_sizes: tuple[int, ...] = (100, 100)
    """Units of each hidden layer, of the policy and of the critic."""
    activation: Activation = "relu"
    first_deviation: float | None = None
    """Of continuous actions before a first adaptation, in half ranges of bounded ones. A number: after each
    adaptation it is what is meta-learned for so many of them; None: it is the network's, before as after."""
    later_deviation: float = 1.0
    """Where those of later begin, with a first one."""
    inner_rate: float = 0.1
    """Of the gradient step of a task's first adaptation."""
    later_inner_rate: float | None = None
    """Of those after the first; None: the same."""
    estimator: Estimator = "reinforce"
    """Of the inner gradient: what its own derivative knows of the choice of actions; `maths.surrogates`."""
    first_order: bool = False
    """Take the inner gradient for a number, that does not depend on where it was taken."""
    baseline: Baseline = "linear"
    """What inner advantages are measured from: the agent's critic, a regression on the phase, or nothing."""
    discount: float = 0.99
    """Of the inner advantages."""
    gae_lambda: float = 1.0
    """Of the inner advantages; 1 for the estimator dice."""
    normalise_advantages: bool = True
    """The inner ones, to mean 0 and deviation 1 over a phase; for the estimator dice this is a baseline."""
    value_coefficient: float = 0.5
    """The critic's weight in the inner loss."""
    rematerialise: bool = False
    """Compute the inner steps again where their gradient is taken, instead of keeping what they computed."""

    def __post_init__(self) -> None:
        require(
            self,
            hidden_sizes=(all(n >= 1 for n in self.hidden_sizes), "at least 1 each"),
            activation=(self.activation in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
            first_deviation=(
                self.first_deviation is None or self.first_deviation > 0,
                "above 0, or None",
            ),
            later_deviation=(
                self.later_deviation > 0 and (self.first_deviation is not None or self.later_deviation == 1),
                "above 0, and 1 without a first_deviation",
            ),
            inner_rate=(self.inner_rate >= 0, "0 or more"),
            later_inner_rate=(
                self.later_inner_rate is None or self.later_inner_rate >= 0,
                "0 or more, or None",
            ),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            gae_lambda=(
                0 <= self.gae_lambda <= 1 and (self.estimator != "dice" or self.gae_lambda == 1),
                "between 0 and 1, and 1 for the estimator dice",
            ),
            value_coefficient=(self.value_coefficient >= 0, "0 or more"),
        )

    @property
    def has_critic(self) -> bool:
        return self.baseline == "critic"

    def network(self, env: Any, trial: TrialShape, key: Key, *, num_contexts: int = 0) -> ActorCritic:
        """A first policy, with a critic where there is one; raises `InputError`."""
        wide = self.first_deviation is not None
        if wide and not isinstance(env.action_space, spaces.Box):
            raise wrong(
                "agent.first_deviation", self.first_deviation, "None, for actions that are not continuous"
            )
        return ActorCritic(
            env,
            self.hidden_sizes,
            self.activation,
            key,
            critic=self.has_critic,
            num_contexts=num_contexts,
            deviations=(self.later_deviation,) * max(trial.num_adapts, 1) if wide else (),
        )

    def meta_network(self, meta_params: Any) -> ActorCritic:
        """What became of `network` in the meta-parameters."""
        return meta_params

    @abc.abstractmethod
    def start(self, meta_params: Any) -> PyTree:
        """φ of a new task."""

    @abc.abstractmethod
    def says(self, meta_params: Any, adapted: Any, observation: PyTree) -> tuple[Any, Array]:
        """One observation -> (policy, value)."""

    def move(self, meta_params: Any, adapted: PyTree, gradient: PyTree, rate: Array) -> PyTree:
        """φ after a step against the gradient."""
        return jax.tree.map(lambda p, g: p - rate * g, adapted, gradient)

    def init_task(self, meta_params: Any, key: Key) -> TaskParams:
        return TaskParams(self.start(meta_params), jnp.zeros((), jnp.int32))

    def init_memory(self, meta_params: Any, task_params: TaskParams) -> PyTree:
        return ()

    def step(
        self, meta_params: Any, task_params: TaskParams, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        policy, value = self.says(meta_params, task_params.adapted, timestep.observation)
        return Output(self.as_wide(meta_params, policy, task_params.num_adapts), value, {}), memory

    def unroll(self, meta_params: Any, task_params: TaskParams, memory: PyTree, timesteps: TimeStep) -> Output:
        def say(meta_params: Any, adapted: PyTree) -> tuple[Any, Array]:
            return jax.vmap(lambda o: self.says(meta_params, adapted, o))(timesteps.observation)

        policy, value = self._kept(say)(meta_params, task_params.adapted)
        return Output(self.as_wide(meta_params, policy, task_params.num_adapts), value, {})

    def adapt(self, meta_params: Any, task_params: TaskParams, transitions: Transition, key: Key) -> TaskParams:
        judged, num_adapts = self.judge(transitions), task_params.num_adapts

        def learn(meta_params: Any, adapted: PyTree) -> PyTree:
            gradient = self.gradient(meta_params, adapted, judged, num_adapts)
            return self.move(meta_params, adapted, gradient, self.rate(num_adapts))

        return TaskParams(self._kept(learn)(meta_params, task_params.adapted), num_adapts + 1)

    def gradient(self, meta_params: Any, adapted: PyTree, judged: Judged, num_adapts: Array) -> PyTree:
        """∇L at φ, which came of so many adaptations."""
        gradient = jax.grad(lambda adapted: self.loss(meta_params, adapted, judged, num_adapts))(adapted)
        return jax.lax.stop_gradient(gradient) if self.first_order else gradient

    def loss(self, meta_params: Any, adapted: PyTree, judged: Judged, num_adapts: Array) -> Array:
        """L(φ)"""
        phase = judged.phase
        say = jax.vmap(jax.vmap(lambda observation: self.says(meta_params, adapted, observation)))
        policy, value = say(phase.timestep.observation)
        policy = self.as_wide(meta_params, policy, num_adapts)
        gain = self._surrogate(policy.log_prob(phase.action), judged)
        if self.has_critic:
            target = judged.advantage * judged.deviation + judged.mean + phase.value
            gain -= 0.5 * self.value_coefficient * (value - target) ** 2
        return -(gain * phase.mask).sum() / phase.mask.sum()

    def as_wide(self, meta_params: Any, policy: Any, num_adapts: Array) -> Any:
        """The policy with the deviation of so many adaptations."""
        if self.first_deviation is None:
            return policy
        network = self.meta_network(meta_params)
        rows = network.log_ratios
        assert rows is not None
        first = jnp.log(self.first_deviation * jnp.asarray(network.head.actions.half_range))
        later = policy.log_std + rows[jnp.clip(num_adapts - 1, 0, len(rows) - 1)]
        return Normal(policy.mean, jnp.where(num_adapts == 0, first.astype(later.dtype), later))

    def judge(self, transitions: Transition) -> Judged:
        """Advantages of one phase; nothing here depends on φ."""
        phase = with_values_of(self.baseline, transitions, "episode", self.discount)
        advantage = jax.vmap(lambda s: advantages(s, "episode", self.discount, self.gae_lambda))(phase)
        mean, deviation = jnp.zeros(()), jnp.ones(())
        if self.normalise_advantages:
            mean = jnp.mean(advantage, where=phase.mask)
            deviation = jnp.std(advantage, where=phase.mask) + 1e-8
            advantage = (advantage - mean) / deviation
        return Judged(phase, advantage, mean, deviation)

    def rate(self, num_adapts: Array) -> Array:
        """Of the step that comes after so many."""
        later = self.inner_rate if self.later_inner_rate is None else self.later_inner_rate
        return jnp.where(num_adapts == 0, self.inner_rate, later)

    def _surrogate(self, log_prob: Array, judged: Judged) -> Array:
        """J of each step [S, T]."""
        if self.estimator != "dice":
            return getattr(surrogates, self.estimator)(log_prob, judged.advantage)
        phase = judged.phase
        # What lies behind the last episode is neither chosen nor earned.
        log_prob, reward = log_prob * phase.mask, phase.reward * phase.mask / judged.deviation
        baseline = (phase.value + judged.mean) * phase.mask / judged.deviation

        def dice(log_prob: Array, reward: Array, baseline: Array, first: Array) -> Array:
            return surrogates.dice(log_prob, reward, baseline, first, self.discount)

        return jax.vmap(dice)(log_prob, reward, baseline, phase.timestep.first)

    def _kept(self, function: Any) -> Any:
        return jax.checkpoint(function) if self.rematerialise else function
