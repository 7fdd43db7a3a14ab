"""What all agents share that learn one task by gradients of a policy and a critic, from scratch.

    a task's start:   new weights
    a phase:          T steps of S streams by π, which remembers nothing
    an adaptation:    A_t by generalised advantages, which go on behind the last step by the critic's word
                      R_t = A_t + v_t;   weights ← learn(weights, o, a, A, R)

How `learn` uses them is each agent's own.

Source: Sutton et al. 2000, "Policy gradient methods for reinforcement learning with function approximation";
advantages by Schulman et al. 2016 (arXiv 1506.02438).
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from quickstudy.agents.blank import Blank
from quickstudy.errors import require, wrong
from quickstudy.maths.credit import advantages
from quickstudy.nets.actor_critic import ACTIVATIONS, Activation, ActorCritic
from quickstudy.normalisation import Statistics
from quickstudy.outer.adam import clipped_adam, descend
from quickstudy.outer.schedules import Schedule, decayed
from quickstudy.types import Array, Key, Output, PyTree, TimeStep, Transition, TrialShape


class Learner(NamedTuple):
    """The `task_params`."""

    weights: PyTree
    """Of which `PolicyGradient.network` makes policy and critic."""
    optimizer: PyTree
    seen: Statistics | None
    """Of the observations so far; None where they are taken as they are."""
    earned: Statistics | None
    """Of the discounted returns so far; None where rewards are taken as they are."""
    num_adapts: Array
    """int32"""


class Steps(NamedTuple):
    """What is learned from: n = S T steps."""

    observation: PyTree
    """[n, ...], as the network sees them."""
    action: Array
    log_prob: Array
    """[n], of the action when it was taken."""
    advantage: Array
    target: Array
    """[n], for the critic."""
    mask: Array
    """[n], 1.0 where a step counts."""

    def mean(self, x: Array) -> Array:
        """Over the steps that count."""
        return (x * self.mask).sum() / jnp.maximum(self.mask.sum(), 1)


@dataclasses.dataclass(frozen=True)
class PolicyGradient(abc.ABC):
    """A policy and a critic, two networks, that learn within one task alone."""

    meta_learned: ClassVar[bool] = False

    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units of each hidden layer, of the policy and of the critic."""
    activation: Activation = "tanh"
    learning_rate: float = 3e-4
    schedule: Schedule = "constant"
    """How the learning rate falls over the life, to 0."""
    discount: float = 0.99
    gae_lambda: float = 0.95
    entropy_coefficient: float = 0.0
    value_coefficient: float = 0.5
    """The critic's weight in the loss."""
    max_grad_norm: float = 0.5
    """The gradient's global norm is clipped to this."""
    normalise_advantages: bool = True
    """To mean 0 and deviation 1 over what a gradient is taken of."""
    normalise_observations: bool = False
    """To mean 0 and deviation 1, by all that was seen in this task."""
    normalise_rewards: bool = False
    """To discounted returns of deviation 1, by all that was earned in this task."""
    initial_log_std: float = 0.0
    """Of continuous actions, in half ranges of their bounds."""

    def __post_init__(self) -> None:
        require(
            self,
            hidden_sizes=(all(n >= 1 for n in self.hidden_sizes), "at least 1 each"),
            activation=(self.activation in ACTIVATIONS, f"one of {', '.join(ACTIVATIONS)}"),
            learning_rate=(self.learning_rate > 0, "above 0"),
            discount=(0 <= self.discount <= 1, "between 0 and 1"),
            gae_lambda=(0 <= self.gae_lambda <= 1, "between 0 and 1"),
            entropy_coefficient=(self.entropy_coefficient >= 0, "0 or more"),
            value_coefficient=(self.value_coefficient >= 0, "0 or more"),
            max_grad_norm=(self.max_grad_norm > 0, "above 0"),
        )

    @abc.abstractmethod
    def learn(self, meta_params: Any, learner: Learner, steps: Steps, progress: Array, key: Key) -> Learner:
        """Better weights; `progress` in [0, 1] is the share of the life that is over."""

    def network(self, meta_params: Any, weights: Any) -> ActorCritic:
        """Policy and critic of what is learned."""
        return weights

    def init(self, env: Any, trial: TrialShape, key: Key) -> Blank:
        if self.normalise_observations and not isinstance(env.observation_space, spaces.Box):
            raise wrong("normalise_observations", True, f"False for the space {env.observation_space}, no Box")
        # It says what is wrong with a space here, before anything is compiled.
        jax.eval_shape(lambda key: self._network(env, key), key)
        return Blank(env, trial.num_adapts)

    def init_task(self, meta_params: Blank, key: Key) -> Learner:
        shape = meta_params.env.observation_space.shape or ()
        seen = Statistics(jnp.zeros(()), jnp.zeros(shape), jnp.ones(shape))
        return self.begin(self._network(meta_params.env, key), seen if self.normalise_observations else None)

    def begin(self, weights: PyTree, seen: Statistics | None) -> Learner:
        """A learner at the start of its life."""
        earned = Statistics(jnp.zeros(()), jnp.zeros(()), jnp.ones(())) if self.normalise_rewards else None
        optimizer = clipped_adam(self.max_grad_norm).init(weights)
        return Learner(weights, optimizer, seen, earned, jnp.zeros((), jnp.int32))

    def init_memory(self, meta_params: Any, task_params: Learner) -> PyTree:
        return ()

    def step(
        self, meta_params: Any, task_params: Learner, memory: PyTree, timestep: TimeStep, key: Key
    ) -> tuple[Output, PyTree]:
        network = self.network(meta_params, task_params.weights)
        policy, value = network(_as_seen(task_params, timestep.observation))
        return Output(policy, value, {}), memory

    def unroll(self, meta_params: Any, task_params: Learner, memory: PyTree, timesteps: TimeStep) -> Output:
        network = self.network(meta_params, task_params.weights)
        policy, value = jax.vmap(network)(_as_seen(task_params, timesteps.observation))
        return Output(policy, value, {})

    def adapt(self, meta_params: Any, task_params: Learner, transitions: Transition, key: Key) -> Learner:
        steps = self.judge(meta_params, task_params, transitions)
        progress = task_params.num_adapts / max(1, meta_params.num_adapts)
        learner = self.learn(meta_params, task_params, steps, progress, key)
        seen, earned = learner.seen, learner.earned
        if seen is not None:
            flat = _flat(transitions)
            seen = seen.including(flat.timestep.observation, flat.mask)
        if earned is not None:
            earned = self.earning(earned, transitions)
        return Learner(learner.weights, learner.optimizer, seen, earned, learner.num_adapts + 1)

    def earning(self, earned: Statistics, transitions: Transition) -> Statistics:
        """With the discounted returns of streams [S, T]."""
        # Reward by reward from the segment's first step on: what came before it is not known here.
        returns = jax.vmap(lambda s: _discounted(s, self.discount))(transitions)
        return earned.including(returns.reshape(-1), transitions.mask.reshape(-1))

    def judge(self, meta_params: Any, learner: Learner, transitions: Transition) -> Steps:
        """Advantages and targets of one phase, transitions [S, T]."""
        scale = 1.0 if learner.earned is None else 1 / jnp.sqrt(learner.earned.variance + 1e-8)
        network = self.network(meta_params, learner.weights)
        phase = _going_on(network, learner, transitions._replace(reward=transitions.reward * scale))
        advantage = jax.vmap(lambda s: advantages(s, "episode", self.discount, self.gae_lambda))(phase)
        flat = _flat(phase)
        advantage = advantage.reshape(-1)
        observation = _as_seen(learner, flat.timestep.observation)
        mask = flat.mask.astype(jnp.float32)
        return Steps(observation, flat.action, flat.log_prob, advantage, advantage + flat.value, mask)

    def centred(self, steps: Steps) -> Array:
        """The advantages [n] as a gradient takes them."""
        if not self.normalise_advantages:
            return steps.advantage
        apart = steps.advantage - steps.mean(steps.advantage)
        return apart / (jnp.sqrt(steps.mean(apart**2)) + 1e-8)

    def descend(self, meta_params: Any, learner: Learner, loss: Any, progress: Array) -> Learner:
        """One step against the gradient of `loss(network)`."""
        gradient = jax.grad(lambda weights: loss(self.network(meta_params, weights)))(learner.weights)
        rate = decayed(self.schedule, self.learning_rate, 0.0, progress)
        optimizer = clipped_adam(self.max_grad_norm)
        weights, state = descend(optimizer, learner.weights, learner.optimizer, gradient, rate)
        return learner._replace(weights=weights, optimizer=state)

    def _network(self, env: Any, key: Key) -> ActorCritic:
        """A new one."""
        network = ActorCritic(env, self.hidden_sizes, self.activation, key, critic=True)
        if network.head.actions.log_std is None:
            return network
        return eqx.tree_at(
            lambda n: n.head.actions.log_std, network, replace_fn=lambda x: x + self.initial_log_std
        )


def _as_seen(learner: Learner, observation: PyTree) -> PyTree:
    return observation if learner.seen is None else learner.seen.normalise(observation)


def _going_on(network: ActorCritic, learner: Learner, phase: Transition) -> Transition:
    """A phase whose streams, where they end in mid-episode, are worth what the critic says lies behind."""
    last = jax.tree.map(lambda x: x[:, -1], phase.next_observation)
    _, behind = jax.vmap(network)(_as_seen(learner, last))
    is_last = jnp.arange(phase.mask.shape[1]) == phase.mask.shape[1] - 1
    cut = is_last & ~phase.terminated & ~phase.truncated & phase.mask
    next_value = jnp.where(cut, behind[:, None], phase.next_value)
    return phase._replace(truncated=phase.truncated | cut, next_value=next_value)


def _discounted(stream: Transition, discount: float) -> Array:
    """The discounted sum of what an episode has earned up to each step, [T]."""

    def add(total: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        reward, first = step
        total = jnp.where(first, 0.0, discount * total) + reward
        return total, total

    return jax.lax.scan(add, jnp.zeros(()), (stream.reward, stream.timestep.first))[1]


def _flat(transitions: Transition) -> Transition:
    """[S, T, ...] -> [S T, ...]"""
    kept = transitions._replace(extras={})
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), kept)
