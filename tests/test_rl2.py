"""RL² with each memory and setting: lived and replayed alike, and every leaf learns."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy.agents.rl2 import RL2
from quickstudy.errors import InputError
from quickstudy.nets.heads import LinearHeads
from quickstudy.nets.recurrent import GRU
from quickstudy.outer.ppo import PPO
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import Outcome
from tests.probes import TRIAL, ContinuousProbe, DiscreteProbe, MultiDiscreteProbe


@dataclasses.dataclass(frozen=True)
class TilesProbe(DiscreteProbe):
    """`DiscreteProbe`, seen as a grid of tiles."""

    @property
    def observation_space(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        return spaces.Box(0, 3, (3, 2, 1), np.int32)

    def reset(self, task, key):
        state, observation = super().reset(task, key)
        return state, self._seen(observation)

    def step(self, task, state, action, key):
        state, outcome = super().step(task, state, action, key)
        return state, Outcome(self._seen(outcome.observation), *outcome[1:])

    def _seen(self, observation):
        return (jnp.abs(observation[0]) * 10 + jnp.arange(6)).astype(jnp.int32).reshape(3, 2, 1) % 4


CASES = {
    "lstm in layers": (
        RL2(core="lstm", num_layers=2, feed_previous=True, feed_trial_time=True, feed_episode_time=True),
        DiscreteProbe(),
    ),
    "state-space that is reset": (RL2(core="state-space", reset="episode"), ContinuousProbe()),
    "transformer of many numbers": (RL2(core="transformer", num_heads=2, context=4), MultiDiscreteProbe()),
    "snail that is reset": (RL2(core="snail", context=3, reset="episode"), DiscreteProbe()),
    "memory, squashed": (RL2(core="memory", num_heads=2, num_slots=4, squash=True), ContinuousProbe()),
    "hypernetwork of a transformer": (
        RL2(core="transformer", head="hypernetwork", head_size=4, num_heads=2, context=4),
        ContinuousProbe(),
    ),
    "hypernetwork on tiles": (RL2(head="hypernetwork", head_size=4, feed_action=False), TilesProbe()),
}
each_case = pytest.mark.parametrize("name", CASES)


@functools.cache
def lived(name):
    """-> (agent, meta-parameters, trials)"""
    agent, env = CASES[name]
    agent = dataclasses.replace(agent, hidden_size=6)
    meta_params = jax.jit(lambda key: agent.init(env, TRIAL, key))(jax.random.key(0))
    if agent.head == "hypernetwork":
        # It begins with W = 0, which lets no gradient through to the memory.
        learned = 0.05 * jax.random.normal(jax.random.key(1), meta_params.heads.weight.shape)
        meta_params = eqx.tree_at(lambda params: params.heads.weight, meta_params, learned)
    k_tasks, k_trials = jax.random.split(jax.random.key(2))

    @jax.jit
    def live(meta_params):
        tasks = sample_tasks(env, jax.random.split(k_tasks, 4))
        return collect(agent, env, TRIAL, meta_params, tasks, jax.random.split(k_trials, 4))

    return agent, meta_params, live(meta_params)


@each_case
def test_replay_reproduces_what_was_lived_and_every_leaf_learns(name):
    agent, meta_params, trials = lived(name)
    assert all(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(meta_params))

    def loss(meta_params):
        output = replay(agent, meta_params, trials)
        log_prob = output.policy.log_prob(trials.phases.action)
        weights = jnp.arange(output.value.size).reshape(output.value.shape)
        return (jnp.sin(weights) * (log_prob + output.value)).sum() + output.policy.entropy().mean(), (
            output.value,
            log_prob,
        )

    grads, (value, log_prob) = jax.jit(jax.grad(loss, has_aux=True))(meta_params)
    np.testing.assert_allclose(value, trials.phases.value, atol=1e-5)
    np.testing.assert_allclose(log_prob, trials.phases.log_prob, atol=1e-5)
    for path, grad in jax.tree_util.tree_leaves_with_path(grads):
        assert np.isfinite(grad).all(), path
        assert np.abs(grad).max() > 0, f"{jax.tree_util.keystr(path)} has no gradient"


@pytest.mark.parametrize("phases", ["all", "last"])
def test_entropy_is_worth_less_the_later_the_step_with_a_lead(phases):
    """From 1 to 0.25; half way, a lead of 3 has it at 0.25 + 0.75 max(0, 1 - 0.5 (1 + 3u))."""
    agent, meta_params, trials = lived("lstm in layers")
    bare = PPO(entropy_coefficient=0.0, phases=phases)
    led = PPO(entropy_coefficient=1.0, final_entropy_coefficient=0.25, entropy_lead=3.0, phases=phases)
    batch = bare.batch(trials)
    bonus = bare.loss(agent, meta_params, batch, 0.5)[0] - led.loss(agent, meta_params, batch, 0.5)[0]

    entropy, mask = replay(agent, meta_params, trials).policy.entropy(), np.asarray(trials.phases.mask)
    _, num_phases, _, num_steps = mask.shape
    u = np.arange(num_phases * num_steps).reshape(num_phases, 1, num_steps) / (num_phases * num_steps)
    weight = mask * (0.25 + 0.75 * np.maximum(0, 1 - 0.5 * (1 + 3 * u)))
    counted = slice(-1 if phases == "last" else 0, None)
    expected = (entropy * weight)[:, counted].sum() / mask[:, counted].sum()
    np.testing.assert_allclose(bonus, expected, rtol=1e-4)


def test_a_lead_needs_an_end():
    with pytest.raises(InputError, match=r"entropy_lead: got 1.0; expected 0, or above 0 and with a final"):
        PPO(entropy_lead=1.0)


def test_squashed_actions_are_within_their_bounds():
    actions = lived("memory, squashed")[2].phases.action
    space = ContinuousProbe().action_space
    assert space.low.min() < actions.min() < actions.max() < space.high.max()
    assert np.abs(actions).max() > 0.9 * space.high.max()


def test_the_default_is_the_gru_of_before():
    """The published figures were made with these first weights: a GRU of key 0 of three, heads of 1 and 2."""
    k_core, k_policy, k_value = jax.random.split(jax.random.key(3), 3)
    meta_params = RL2(hidden_size=4).init(DiscreteProbe(), TRIAL, jax.random.key(3))
    k_input = jax.random.split(k_core)[0]
    in_size = 2 + 3 + 2
    assert isinstance(meta_params.core, GRU)
    assert isinstance(meta_params.heads, LinearHeads)
    np.testing.assert_array_equal(
        meta_params.core.w_input, jax.nn.initializers.lecun_normal()(k_input, (in_size, 12))
    )
    orthogonal = jax.nn.initializers.orthogonal
    np.testing.assert_array_equal(meta_params.heads.policy.linear.weight, orthogonal(0.01)(k_policy, (4, 3)))
    np.testing.assert_array_equal(meta_params.heads.value.weight, orthogonal(1.0)(k_value, (4, 1)))
