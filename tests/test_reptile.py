"""Reptile, the agent and the outer loop, against closed forms."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import registry
from quickstudy.agents.maml import MAML
from quickstudy.agents.reptile import Reptile, clipped_ratio
from quickstudy.errors import InputError
from quickstudy.nets.distributions import Categorical
from quickstudy.outer import reptile as outer
from quickstudy.rollout import learned
from quickstudy.types import Transition, Trials, TrialShape
from tests.gradient_checks import SMALL, check_meta_gradient, live_in, lived
from tests.one_state import Arms, Softmax
from tests.probes import AdaptingProbe, ContinuousProbe, DiscreteProbe

CONSTANT = outer.Reptile(learning_rate=0.5, schedule="constant")
# One state, no hidden layer, advantages that are the rewards themselves.
PLAIN = {"hidden_sizes": (), "baseline": "none", "normalise_advantages": False}
PROBES = {"discrete": DiscreteProbe(), "continuous": ContinuousProbe()}


def updated(loop, agent, meta_params, trials):
    state = loop.init(agent, meta_params, jax.random.key(0))
    return loop.update(agent, state, trials, jnp.float32(0.5), jax.random.key(1))


@pytest.mark.parametrize("agent", [Reptile(**PLAIN, num_inner_steps=1), MAML(**PLAIN)])
def test_one_step_is_the_plain_policy_gradient(agent):
    """θ moves by ε α times the mean of r (onehot(a) - π), in the bias as in the only row of the weights."""
    env, trial = Arms((1.0, 3.0)), TrialShape(0, 5, 1)
    meta_params = agent.init(env, trial, jax.random.key(3))
    keys = jax.random.split(jax.random.key(4), 6)
    trials = live_in(agent, env, trial, meta_params, jnp.zeros(6), keys)
    state, metrics = updated(CONSTANT, agent, meta_params, trials)
    policy = jax.nn.softmax(meta_params.head.linear.weight[0] + meta_params.head.linear.bias)
    actions = np.asarray(trials.phases.action).reshape(6, 5)
    steps = 0.1 * (np.array(env.pays)[actions][..., None] * (np.eye(2)[actions] - policy)).mean(axis=1)
    for leaf in ("weight", "bias"):
        moved = getattr(state.meta_params.head.linear, leaf) - getattr(meta_params.head.linear, leaf)
        np.testing.assert_allclose(np.ravel(moved), 0.5 * steps.mean(axis=0), atol=1e-6)
    # Both leaves went the same way.
    distances = np.sqrt(2) * np.linalg.norm(steps, axis=1)
    np.testing.assert_allclose(metrics["distance"], distances.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["mean_distance"], 2 * metrics["update_norm"], rtol=1e-5)


def test_adam_goes_by_the_rate_towards_what_was_learned():
    agent, env, trial = MAML(**PLAIN), Arms((1.0, 3.0)), TrialShape(0, 5, 1)
    meta_params = agent.init(env, trial, jax.random.key(3))
    keys = jax.random.split(jax.random.key(4), 6)
    trials = live_in(agent, env, trial, meta_params, jnp.zeros(6), keys)
    plain = updated(CONSTANT, agent, meta_params, trials)[0].meta_params.head.linear.bias
    loop = outer.Reptile(learning_rate=0.01, schedule="constant", optimizer="adam")
    found = updated(loop, agent, meta_params, trials)[0].meta_params.head.linear.bias
    np.testing.assert_allclose(found, 0.01 * np.sign(plain), rtol=1e-3)


class Descended(NamedTuple):
    adapted: jax.Array


@dataclasses.dataclass(frozen=True)
class Descent:
    """Gradient steps on h (θ - c)² / 2, where c and h are what is observed."""

    rate: float = 0.1
    num_steps: int = 3

    def init_task(self, meta_params, key):
        return Descended(meta_params)

    def adapt(self, meta_params, task_params, transitions, key):
        c, h = transitions.timestep
        theta = task_params.adapted
        for _ in range(self.num_steps):
            theta = theta - self.rate * h * (theta - c)
        return Descended(theta)


def bowls(centres, curvatures, num_phases):
    """Trials whose time steps are what a task's quadratic is, and nothing else."""

    def shown(x):
        return jnp.broadcast_to(jnp.asarray(x, jnp.float32)[:, None], (len(x), num_phases))

    empty = Transition(**dict.fromkeys(Transition._fields))  # pyright: ignore[reportArgumentType]
    phases = empty._replace(timestep=(shown(centres), shown(curvatures)), reward=shown(centres))
    return Trials(None, jax.random.split(jax.random.key(0), len(centres)), phases)


def test_reptile_rests_between_the_optima():
    """Where Σ w_i (θ - c_i) = 0, w_i = 1 - (1 - α h_i)^n the share of its way that task i goes in n steps."""
    centres, curvatures = np.array([-1.0, 0.5, 4.0]), np.array([1.0, 3.0, 0.2])
    trials, agent = bowls(centres, curvatures, num_phases=2), Descent()
    state = CONSTANT.init(agent, jnp.float32(10.0), jax.random.key(0))

    def once(state, _):
        state, metrics = CONSTANT.update(agent, state, trials, jnp.float32(0.0), jax.random.key(1))
        return state, metrics["mean_distance"]

    state, distances = jax.jit(lambda s: jax.lax.scan(once, s, length=100))(state)
    weights = 1 - (1 - 0.1 * curvatures) ** 6
    np.testing.assert_allclose(state.meta_params, (weights * centres).sum() / weights.sum(), rtol=1e-5)
    # It gets nearer at every update, by the same share.
    share = 1 - 0.5 * weights.mean()
    np.testing.assert_allclose(distances[1:5] / distances[:4], share, rtol=1e-5)


def test_the_rate_falls_over_the_training():
    agent, trials = Descent(), bowls([1.0], [1.0], 1)
    loop = outer.Reptile()
    state = loop.init(agent, jnp.float32(0.0), jax.random.key(0))
    ends = [loop.update(agent, state, trials, jnp.float32(p), jax.random.key(1))[0] for p in (0.0, 0.75)]
    np.testing.assert_allclose([end.meta_params for end in ends], [0.271, 0.271 / 4], rtol=1e-5)


class Wandering(Softmax):
    """Everything in which a key is used moves its logits."""

    def init_task(self, meta_params, key):
        return meta_params["logits"] + jax.random.normal(key, (2,))

    def adapt(self, meta_params, task_params, transitions, key):
        return super().adapt(meta_params, task_params, transitions, key) + jax.random.normal(key, (2,))


def test_learned_walks_with_the_keys_of_the_trial():
    """What `learned` leaves behind all phases but the last is what lived the last."""
    agent, env, trial = Wandering(), Arms((1.0, 3.0)), TrialShape(2, 3, 1)
    meta_params = agent.init(env, trial, jax.random.key(0))
    trials = live_in(agent, env, trial, meta_params, jnp.zeros(4), jax.random.split(jax.random.key(4), 4))
    before, last = (jax.tree.map(lambda x, part=part: x[:, part], trials.phases) for part in (slice(-1), -1))
    logits = learned(agent, meta_params, trials._replace(phases=before))
    said = jax.vmap(lambda logits, actions: Categorical(logits).log_prob(actions))(logits, last.action)
    np.testing.assert_allclose(said, last.log_prob, atol=1e-5)


@pytest.mark.parametrize("name", ["rl2", "anil", "meta-sgd", "cavia", "leo", "mmaml", "learned-optimizer"])
def test_an_agent_without_weights_of_its_own_is_refused(name):
    agent = registry.resolve("agent", name)()
    refused(agent, type(agent).__name__)


def test_a_probe_is_refused():
    refused(AdaptingProbe(), "AdaptingProbe")


def refused(agent, name):
    meta_params = agent.init(PROBES["discrete"], TrialShape(1, 2, 1), jax.random.key(0))
    with pytest.raises(InputError, match=f"agent: got '{name}'; expected one that adapts all"):
        outer.Reptile().init(agent, meta_params, jax.random.key(0))


@pytest.mark.parametrize(
    ("env", "num_adapts", "baseline"),
    [
        pytest.param("continuous", 1, "linear", marks=pytest.mark.slow),
        ("discrete", 3, "critic"),
        pytest.param("continuous", 3, "critic", marks=pytest.mark.slow),
    ],
)
def test_meta_gradient_through_the_steps(env, num_adapts, baseline):
    """Not first order, and with a ratio that is never cut: a cut is a jump of the inner gradient."""
    agent = Reptile(**SMALL, num_inner_steps=3, first_order=False, clip=1e6, baseline=baseline)
    check_meta_gradient(agent, PROBES[env], num_adapts)


def test_no_derivative_runs_through_its_steps():
    agent = Reptile(**SMALL, baseline="critic")
    meta_params, trials = lived(agent, PROBES["discrete"], 1)

    def end(meta_params):
        return learned(agent, meta_params, trials).adapted

    reached, backward = jax.jit(lambda p: jax.vjp(end, p))(meta_params)
    (gradient,) = backward(jax.tree.map(jnp.ones_like, reached))
    jax.tree.map(lambda g: np.testing.assert_array_equal(g, trials.key.size), gradient)
    assert np.abs(reached.head.linear.weight - meta_params.head.linear.weight).max() > 1e-3


def test_a_ratio_beyond_the_clip_gains_nothing():
    """J and its derivative in log π, for ratios of 1/2, 1 and 2, and advantages of 3 and -3."""
    ratio, advantage = jnp.array([0.5, 1.0, 2.0] * 2), jnp.array([3.0] * 3 + [-3.0] * 3)
    expected = [1.5, 3.0, 3.6, -2.4, -3.0, -6.0]
    slopes = [1.5, 3.0, 0.0, 0.0, -3.0, -6.0]
    found, found_slopes = jax.vmap(jax.value_and_grad(clipped_ratio), in_axes=(0, None, 0, None))(
        jnp.log(ratio) - 1.0, jnp.float32(-1.0), advantage, 0.2
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    np.testing.assert_allclose(found_slopes, slopes, rtol=1e-5)


def test_settings_are_checked():
    with pytest.raises(InputError, match=r"Reptile\.num_inner_steps: got 0; expected between 1"):
        Reptile(num_inner_steps=0)
    with pytest.raises(InputError, match=r"Reptile\.optimizer: got 'lamb'; expected one of sgd, adam"):
        outer.Reptile(optimizer="lamb")  # pyright: ignore[reportArgumentType]
