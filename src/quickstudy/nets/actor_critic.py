"""A feed-forward policy, and a critic beside it where one is asked for: networks of agents without a memory.

    π = head(mlp(o));   V = w mlp'(o), a network of its own

Source: the shapes of Duan et al. 2016 (arXiv 1604.06778), on which MAML and its successors were published.
Differs from the paper: orthogonal weights; the last layer is small, so that a policy begins in the middle of
its actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from quickstudy.nets.images import ImageEncoder, is_image
from quickstudy.nets.layers import Linear
from quickstudy.nets.spaces import Encoder, PolicyHead
from quickstudy.types import Array, Key

Activation = Literal["relu", "tanh"]
ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], float]] = {
    # With the scale of the weights that keeps the size of what passes.
    "relu": (jax.nn.relu, 2**0.5),
    "tanh": (jnp.tanh, 5 / 3),
}


class MLP(eqx.Module):
    """x [..., in] -> features [..., F], an activation behind every layer."""

    layers: tuple[Linear, ...]
    activation: str = eqx.field(static=True)

    def __init__(self, in_size: int, sizes: tuple[int, ...], activation: Activation, key: Key):
        scale = ACTIVATIONS[activation][1]
        ends = (in_size, *sizes)
        keys = jax.random.split(key, len(sizes))
        pairs = zip(ends[:-1], sizes, keys, strict=True)
        self.layers, self.activation = tuple(Linear(a, b, k, scale) for a, b, k in pairs), activation

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = ACTIVATIONS[self.activation][0](layer(x))
        return x


class Critic(eqx.Module):
    """x [..., in] -> value [...]"""

    mlp: MLP
    out: Linear

    def __init__(self, in_size: int, sizes: tuple[int, ...], activation: Activation, key: Key):
        k_mlp, k_out = jax.random.split(key)
        self.mlp = MLP(in_size, sizes, activation, k_mlp)
        self.out = Linear((in_size, *sizes)[-1], 1, k_out)

    def __call__(self, x: Array) -> Array:
        return self.out(self.mlp(x))[..., 0]


class ActorCritic(eqx.Module):
    """An observation, of one step -> (policy, value); the value is 0 without a critic.

    `num_contexts` numbers beside the observation may tell the policy, and the critic, of the task.

    `log_ratios` are not asked for here: an agent that learns within its task knows how often it has.
    """

    encoder: Encoder | ImageEncoder
    actor: MLP
    head: PolicyHead
    critic: Critic | None
    log_ratios: Array | None
    """Of the deviation of continuous actions to the head's, after 1, 2, … adaptations, one after
    the other, [number, A]; None: it stays the head's."""

    def __init__(
        self,
        env: Any,
        sizes: tuple[int, ...],
        activation: Activation,
        key: Key,
        *,
        critic: bool,
        num_contexts: int = 0,
        deviations: tuple[float, ...] = (),
    ):
        k_image, k_actor, k_head, k_critic = jax.random.split(key, 4)
        space = env.observation_space
        self.encoder = ImageEncoder(space, k_image) if is_image(space) else Encoder(space)
        size = self.encoder.size + num_contexts
        self.actor = MLP(size, sizes, activation, k_actor)
        self.head = PolicyHead((size, *sizes)[-1], env.action_space, k_head)
        self.critic = Critic(size, sizes, activation, k_critic) if critic else None
        first = jnp.log(jnp.asarray(deviations))[:, None]
        self.log_ratios = jnp.repeat(first, self.head.actions.size, axis=1) if deviations else None

    def __call__(self, observation: Any, context: Array | None = None) -> tuple[Any, Array]:
        x = self.encoder(observation)
        x = x if context is None else jnp.concatenate([x, context])
        return self.head(self.actor(x)), self.value(x)

    def without_ratios(self) -> ActorCritic:
        return self.with_ratios(None)

    def with_ratios(self, log_ratios: Array | None) -> ActorCritic:
        return eqx.tree_at(lambda n: n.log_ratios, self, log_ratios, is_leaf=lambda x: x is None)

    def value(self, x: Array) -> Array:
        """Of an encoded observation."""
        return jnp.zeros((), x.dtype) if self.critic is None else self.critic(x)
