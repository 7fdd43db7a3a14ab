"""Networks of value-based learners: Q of every discrete action, Q of one continuous action, and SAC's actor.

    Q(o, ·) = W mlp(o)                              dueling: V(o) + A(o, ·) - mean A(o, ·)
    Q(o, a) = w mlp(o, a), a in half ranges of its bounds from their centre
    π(· | o) = TanhNormal(m, log s), m and log s of one network

Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning"; dueling by Wang et al. 2016
(arXiv 1511.06581), equation 9; the actor of Haarnoja et al. 2018 (arXiv 1812.05905).
Differs from the papers: orthogonal weights, small in an actor's last layer. Of a dueling network all layers but
the last hidden one are shared.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from gymnasium import spaces

from quickstudy.nets.actor_critic import MLP, Activation, Critic
from quickstudy.nets.distributions import Categorical, TanhNormal
from quickstudy.nets.images import ImageEncoder, is_image
from quickstudy.nets.layers import Linear
from quickstudy.nets.spaces import Actions, Encoder
from quickstudy.types import Array, Key, PyTree

# Of the deviation of u: below it a policy is as good as certain, above it all actions lie on the bounds.
LOG_STD_RANGE = (-10.0, 2.0)
# A normal u of this deviation is nearly uniform behind the tanh: its density is within a tenth over most of it.
UNIFORM_STD = 0.9


class DiscreteQ(eqx.Module):
    """One observation -> Q of every action [A]."""

    encoder: Encoder | ImageEncoder
    torso: MLP
    advantage: MLP
    """The last hidden layer, as is `value`."""
    advantage_out: Linear
    value: Critic | None

    def __init__(
        self, env: Any, sizes: tuple[int, ...], activation: Activation, key: Key, *, dueling: bool = False
    ):
        k_image, k_torso, k_advantage, k_out, k_value = jax.random.split(key, 5)
        self.encoder = _encoder(env, k_image)
        self.torso = MLP(self.encoder.size, sizes[:-1], activation, k_torso)
        size = (self.encoder.size, *sizes)[-2]
        self.advantage = MLP(size, sizes[-1:], activation, k_advantage)
        self.advantage_out = Linear(sizes[-1], int(env.action_space.n), k_out)
        self.value = Critic(size, sizes[-1:], activation, k_value) if dueling else None

    def __call__(self, observation: PyTree) -> Array:
        x = self.torso(self.encoder(observation))
        advantage = self.advantage_out(self.advantage(x))
        if self.value is None:
            return advantage
        return self.value(x) + advantage - advantage.mean()


class ContinuousQ(eqx.Module):
    """One observation and one action -> Q []."""

    encoder: Encoder | ImageEncoder
    critic: Critic
    centre: tuple[float, ...] = eqx.field(static=True)
    half_range: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, env: Any, sizes: tuple[int, ...], activation: Activation, key: Key):
        k_image, k_critic = jax.random.split(key)
        self.encoder = _encoder(env, k_image)
        actions = Actions(env.action_space, squash=True)
        self.centre, self.half_range = actions.centre, actions.half_range
        self.critic = Critic(self.encoder.size + actions.size, sizes, activation, k_critic)

    def __call__(self, observation: PyTree, action: Array) -> Array:
        unit = (action - jnp.asarray(self.centre)) / jnp.asarray(self.half_range)
        return self.critic(jnp.concatenate([self.encoder(observation), unit]))


class Actor(eqx.Module):
    """One observation -> a policy: `Categorical`, or a `TanhNormal` whose deviation depends on the state."""

    encoder: Encoder | ImageEncoder
    mlp: MLP
    out: Linear
    centre: tuple[float, ...] | None = eqx.field(static=True)
    """None for discrete actions."""
    half_range: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, env: Any, sizes: tuple[int, ...], activation: Activation, key: Key):
        k_image, k_mlp, k_out = jax.random.split(key, 3)
        discrete = isinstance(env.action_space, spaces.Discrete)
        actions = Actions(env.action_space, squash=not discrete)
        self.centre, self.half_range = (None if discrete else actions.centre), actions.half_range
        self.encoder = _encoder(env, k_image)
        self.mlp = MLP(self.encoder.size, sizes, activation, k_mlp)
        num_outs = actions.size if discrete else 2 * actions.size
        self.out = Linear((self.encoder.size, *sizes)[-1], num_outs, k_out, 0.01)

    def __call__(self, observation: PyTree) -> Categorical | TanhNormal:
        out = self.out(self.mlp(self.encoder(observation)))
        return self.policy(out)

    def policy(self, out: Array) -> Categorical | TanhNormal:
        """Of the last layer's numbers."""
        if self.centre is None:
            return Categorical(out)
        mean, log_std = jnp.split(out, 2)
        return TanhNormal(
            mean, jnp.clip(log_std, *LOG_STD_RANGE), jnp.asarray(self.centre), jnp.asarray(self.half_range)
        )


def nearly_uniform(policy: Categorical | TanhNormal) -> Categorical | TanhNormal:
    """A policy of the same kind that knows nothing."""
    if isinstance(policy, Categorical):
        return Categorical(jnp.zeros_like(policy.logits))
    log_std = jnp.full_like(policy.log_std, jnp.log(UNIFORM_STD))
    return TanhNormal(jnp.zeros_like(policy.mean), log_std, policy.centre, policy.half_range)


def _encoder(env: Any, key: Key) -> Encoder | ImageEncoder:
    space = env.observation_space
    return ImageEncoder(space, key) if is_image(space) else Encoder(space)
