"""XLand-MiniGrid's own RL² training, stated anew from its structure, to be measured beside ours.

    each meta-update: draw rule sets, reset all environments and memories; then, again and again,
        live `steps_per_update` steps, each a network call on sequences of one step and an environment that
        resets itself, with the reset computed in every step
        advantages to the end of these steps, with no end at an episode's
        one epoch of minibatches of environments: clipped PPO with a clipped value, from the memory at the start

Source: Nikulin et al. 2023 (arXiv 2312.12044), `train_meta_task.py` with its network and its update in the
package's repository: 2×2 convolutions on the numbers of tiles and colours, an embedded action, a GRU whose
products with its input stand inside the scan, two heads of one hidden layer; flax and optax, as there.
Differs from the script: no evaluation in between, one device; rule sets are our training split, since
its benchmark is a download; a categorical distribution by hand, for distrax.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from quickstudy.evaluation import training_split

nn = importlib.import_module("flax.linen")
wrappers = importlib.import_module("xminigrid.wrappers")
types = importlib.import_module("xminigrid.types")
xminigrid = importlib.import_module("xminigrid")
orthogonal = nn.initializers.orthogonal


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Both trainings' sizes and hyper-parameters: the script's, but for what must be smaller on a CPU."""

    num_envs: int = 256
    """8192 in the script."""
    num_episodes: int = 2
    """Of the longest, that an environment lives in a meta-update; 4096 steps in the script."""
    steps_per_update: int = 27
    """32 in the script, which does not divide the steps of an episode."""
    num_minibatches: int = 2
    """16 in the script, of 8192 environments."""
    hidden_size: int = 64
    """1024 in the script."""
    head_size: int = 64
    """256 in the script."""
    action_size: int = 16
    learning_rate: float = 1e-3
    clip: float = 0.2
    discount: float = 0.99
    gae_lambda: float = 0.95
    entropy_coefficient: float = 0.01
    value_coefficient: float = 0.5
    max_grad_norm: float = 0.5


class GRU(nn.Module):
    """One sequence xs [T, in], from h [hidden]."""

    hidden_size: int

    @nn.compact
    def __call__(self, xs: Any, h: Any) -> Any:
        size, in_size = self.hidden_size, xs.shape[-1]
        w_input = self.param("w_input", nn.initializers.glorot_normal(1, 0), (3 * size, in_size))
        w_hidden = self.param("w_hidden", orthogonal(column_axis=0), (3 * size, size))
        bias = self.param("bias", nn.initializers.zeros, (3 * size,))
        bias_candidate = self.param("bias_candidate", nn.initializers.zeros, (size,))

        def step(h: Any, x: Any) -> Any:
            r_x, z_x, n_x = jnp.split(w_input @ x + bias, 3)
            r_h, z_h, n_h = jnp.split(w_hidden @ h, 3)
            r, z = nn.sigmoid(r_x + r_h), nn.sigmoid(z_x + z_h)
            h = (1 - z) * nn.tanh(n_x + r * (n_h + bias_candidate)) + z * h
            return h, h

        return jax.lax.scan(step, h, xs)[::-1]


class Network(nn.Module):
    """Views [B, T, 5, 5, 2], previous actions and rewards [B, T], h [B, hidden]."""

    sizes: Sizes
    num_actions: int = 6

    @nn.compact
    def __call__(self, view: Any, action: Any, reward: Any, h: Any) -> Any:
        x = view
        for channels in (16, 32, 64):
            x = nn.relu(nn.Conv(channels, (2, 2), padding="VALID", kernel_init=orthogonal(math.sqrt(2)))(x))
        embedded = nn.Embed(self.num_actions, self.sizes.action_size)(action)
        x = jnp.concatenate([x.reshape(*view.shape[:2], -1), embedded, reward[..., None]], axis=-1)
        batched = nn.vmap(GRU, variable_axes={"params": None}, split_rngs={"params": False})
        x, h = batched(self.sizes.hidden_size)(x, h)

        def head(size: int, scale: float) -> Any:
            hidden = nn.tanh(nn.Dense(self.sizes.head_size, kernel_init=orthogonal(2.0))(x))
            return nn.Dense(size, kernel_init=orthogonal(scale))(hidden)

        return nn.log_softmax(head(self.num_actions, 0.01)), head(1, 1.0)[..., 0], h


def make(family: Any, sizes: Sizes, num_meta_updates: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """-> (first, train): `first(key)` is (params, optimizer), `train(state, update, key)` one meta-update."""
    bare, env_params = xminigrid.make(family.id)
    env = wrappers.GymAutoResetWrapper(bare)
    network, family = Network(sizes), training_split(family)
    num_steps = sizes.num_episodes * family.max_steps
    num_updates = num_steps // sizes.steps_per_update
    per_meta_update = num_updates * sizes.num_minibatches
    optimizer = optax.chain(
        optax.clip_by_global_norm(sizes.max_grad_norm),
        optax.adam(lambda count: sizes.learning_rate * (1 - (count // per_meta_update) / num_meta_updates)),
    )

    def say(params: Any, timestep: Any, action: Any, reward: Any, h: Any) -> Any:
        log_probs, value, h = network.apply(
            params, timestep.observation[:, None], action[:, None], reward[:, None], h
        )
        return log_probs[:, 0], value[:, 0], h

    def first(key: Any) -> Any:
        view = jnp.zeros((sizes.num_envs, 1, 5, 5, 2))
        action, reward = jnp.zeros((sizes.num_envs, 1), int), jnp.zeros((sizes.num_envs, 1))
        params = network.init(key, view, action, reward, jnp.zeros((sizes.num_envs, sizes.hidden_size)))
        return params, optimizer.init(params)

    def loss(params: Any, batch: Any) -> Any:
        h, seen, target, advantage = batch
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        log_probs, value, _ = network.apply(params, seen["view"], seen["previous"], seen["earned"], h)
        chosen = jnp.take_along_axis(log_probs, seen["action"][..., None], -1)[..., 0]
        ratio = jnp.exp(chosen - seen["log_prob"])
        clipped = jnp.clip(ratio, 1 - sizes.clip, 1 + sizes.clip)
        policy_loss = -jnp.minimum(ratio * advantage, clipped * advantage).mean()
        near = seen["value"] + jnp.clip(value - seen["value"], -sizes.clip, sizes.clip)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1).mean()
        return policy_loss + sizes.value_coefficient * value_loss - sizes.entropy_coefficient * entropy

    def descend(state: Any, batch: Any) -> Any:
        params, moments = state
        updates, moments = optimizer.update(jax.grad(loss)(params, batch), moments, params)
        return (optax.apply_updates(params, updates), moments), None

    def advantages(seen: Any, last_value: Any) -> Any:
        def body(carry: Any, step: Any) -> Any:
            advantage, after = carry
            delta = step["reward"] + sizes.discount * after - step["value"]
            advantage = delta + sizes.discount * sizes.gae_lambda * advantage
            return (advantage, step["value"]), advantage

        return jax.lax.scan(body, (jnp.zeros_like(last_value), last_value), seen, reverse=True)[1]

    def update(carry: Any, task_params: Any, key: Any) -> Any:
        state, timestep, action, reward, h = carry
        k_act, k_order = jax.random.split(key)

        def live(carry: Any, key: Any) -> Any:
            timestep, previous, earned, h = carry
            log_probs, value, h = say(state[0], timestep, previous, earned, h)
            action = jax.random.categorical(key, log_probs)
            after = jax.vmap(env.step)(task_params, timestep, action)
            log_prob = jnp.take_along_axis(log_probs, action[:, None], -1)[:, 0]
            seen = {"view": timestep.observation, "previous": previous, "earned": earned, "action": action}
            seen |= {"log_prob": log_prob, "value": value, "reward": after.reward}
            return (after, action, after.reward, h), seen

        start, keys = h, jax.random.split(k_act, sizes.steps_per_update)
        (timestep, action, reward, h), seen = jax.lax.scan(live, (timestep, action, reward, h), keys)
        advantage = advantages(seen, say(state[0], timestep, action, reward, h)[1])
        batch = (start[None], seen, advantage + seen["value"], advantage)
        batch = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), batch)
        batch = (batch[0][:, 0], *batch[1:])
        order = jax.random.permutation(k_order, sizes.num_envs)
        parts = jax.tree.map(lambda x: x[order].reshape(sizes.num_minibatches, -1, *x.shape[1:]), batch)
        state, _ = jax.lax.scan(descend, state, parts)
        return state, timestep, action, reward, h

    @jax.jit
    def train(state: Any, key: Any) -> Any:
        k_task, k_reset, k_updates = jax.random.split(key, 3)
        tasks = jax.vmap(family.sample_task)(jax.random.split(k_task, sizes.num_envs))
        stacked = jax.vmap(lambda t: env_params.replace(ruleset=types.RuleSet(t.goal, t.rules, t.init_tiles)))
        task_params = stacked(tasks)
        timestep = jax.vmap(env.reset)(task_params, jax.random.split(k_reset, sizes.num_envs))
        zeros = jnp.zeros(sizes.num_envs)
        carry = (state, timestep, zeros.astype(int), zeros, jnp.zeros((sizes.num_envs, sizes.hidden_size)))
        keys = jax.random.split(k_updates, num_updates)
        return jax.lax.scan(lambda carry, key: (update(carry, task_params, key), None), carry, keys)[0][0]

    return first, train
