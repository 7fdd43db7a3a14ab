"""Fine-tuning begins with the global policy exactly, moves the part that it says, is held by its penalty."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import lives
from quickstudy.agents.fine_tune import FineTune
from quickstudy.errors import InputError
from quickstudy.nets.partial import policy_weights
from quickstudy.normalisation import Statistics
from quickstudy.rollout import collect, sample_tasks
from quickstudy.transfer import coefficient
from quickstudy.transfer.coefficient import choose_coefficient
from quickstudy.transfer.elastic import divergence, fisher
from quickstudy.transfer.forgetting import fine_tune_through
from quickstudy.types import TimeStep, TrialShape
from tests.probes import ContinuousProbe, DiscreteProbe

PROBES = {"discrete": DiscreteProbe(), "continuous": ContinuousProbe()}
PARTS = ("all", "weights", "head", "low-rank", "adapter")
SHAPE = lives.LifeShape(5, 2, 16)
AGENT = FineTune(
    hidden_sizes=(8,),
    num_epochs=2,
    num_minibatches=2,
    learning_rate=3e-3,
    critic_warmup=1,
    rank=1,
    normalise_observations=True,
    normalise_rewards=True,
)
OBSERVATIONS = {
    name: jax.random.normal(jax.random.key(8), (64, *env.observation_space.shape))
    for name, env in PROBES.items()
}
adapt = jax.jit(lambda agent, *given: agent.adapt(*given), static_argnums=0)


def known_policy(agent, env, key=0):
    """A global policy that has opinions."""
    known = agent.init(env, lives.as_trial(SHAPE, env), jax.random.key(key))
    head = jax.random.normal(jax.random.key(1), known.network.head.linear.weight.shape)
    return eqx.tree_at(lambda k: k.network.head.linear.weight, known, head)


@functools.cache
def recorded(name):
    """One phase of the global policy, [S, T], whose streams end in padding."""
    env, keys = PROBES[name], jax.random.split(jax.random.key(3), 1)
    known, trial = known_policy(AGENT, env), TrialShape(0, 4, 6)
    collected = jax.jit(lambda: collect(AGENT, env, trial, known, sample_tasks(env, keys), keys))()
    return jax.tree.map(lambda x: x[0, 0], collected.phases)


def tuned(agent, name, known, num_adapts=3):
    """By the same phase, again and again."""
    learner = agent.init_task(known, jax.random.key(4))
    for i in range(num_adapts):
        learner = adapt(agent, known, learner, recorded(name), jax.random.key(i))
    return learner


def apart(agent, name, known, learner):
    """Mean KL of the policy from the global one."""
    network = agent.network(known, learner.weights)
    return float(divergence(known.network, network, OBSERVATIONS[name]).mean())


def same(ours, theirs):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("part", PARTS)
def test_before_any_adaptation_the_policy_is_the_global_one_bit_for_bit(name, part):
    agent = dataclasses.replace(AGENT, part=part)
    known = known_policy(agent, PROBES[name])
    shape = OBSERVATIONS[name].shape[1:]
    known = dataclasses.replace(
        known, seen=Statistics(jnp.float32(9), jnp.full(shape, 0.3), jnp.full(shape, 2.0))
    )
    learner = agent.init_task(known, jax.random.key(4))
    observation = OBSERVATIONS[name][0]
    timestep = TimeStep(observation, jnp.zeros(()), jnp.zeros(()), jnp.array(True))
    output, _ = agent.step(known, learner, (), timestep, jax.random.key(5))
    assert known.seen is not None
    expected = known.network(known.seen.normalise(observation))
    assert same((output.policy, output.value), expected)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_moves_and_nothing_else_does(part):
    agent = dataclasses.replace(AGENT, part=part)
    known = known_policy(agent, PROBES["continuous"])
    learner = tuned(agent, "continuous", known)
    assert apart(agent, "continuous", known, learner) > 1e-3
    now = agent.network(known, learner.weights._replace(policy=learner.weights.policy._replace(adapter=None)))
    moved = {
        "".join(map(str, path)): not np.array_equal(x, y)
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(policy_weights(now)),
            jax.tree.leaves(policy_weights(known.network)),
            strict=True,
        )
    }
    hidden, head, deviation = "[1].layers[0]", "[2].linear", "[2].actions.log_std"
    expected = {
        "all": {f"{hidden}.weight", f"{hidden}.bias", f"{head}.weight", f"{head}.bias"},
        "weights": {f"{hidden}.weight", f"{head}.weight"},
        "head": {f"{head}.weight", f"{head}.bias"},
        "low-rank": {f"{hidden}.weight", f"{head}.weight"},
        "adapter": set(),
    }[part]
    assert {name for name, has in moved.items() if has} == expected | {deviation}
    if part == "low-rank":
        change = now.actor.layers[0].weight - known.network.actor.layers[0].weight
        assert np.linalg.matrix_rank(change, tol=1e-5) == agent.rank


@pytest.mark.parametrize(
    ("penalty", "name"), [("l2", "continuous"), ("ewc", "discrete"), ("kl", "discrete"), ("kl", "continuous")]
)
def test_an_enormous_coefficient_holds_the_policy(penalty, name):
    held = dataclasses.replace(AGENT, penalty=penalty, coefficient=1e6)
    known = known_policy(AGENT, PROBES[name])
    found = fisher(known.network, OBSERVATIONS[name], jax.random.key(6))
    known = dataclasses.replace(known, fisher=found)
    went, stayed = (apart(a, name, known, tuned(a, name, known, 20)) for a in (AGENT, held))
    assert stayed < 0.05 * went
    assert stayed < 1e-3


def test_without_a_coefficient_a_penalty_is_none_bit_for_bit():
    known = known_policy(AGENT, PROBES["discrete"])
    plain = tuned(AGENT, "discrete", known)
    for penalty in ("l2", "ewc", "kl"):
        free = dataclasses.replace(AGENT, penalty=penalty, coefficient=0.0)
        assert same(plain, tuned(free, "discrete", known))


def test_the_critic_warms_up_alone():
    known = known_policy(AGENT, PROBES["continuous"])
    learner = tuned(AGENT, "continuous", known, 1)
    assert same(policy_weights(AGENT.network(known, learner.weights)), policy_weights(known.network))
    assert not same(learner.weights.critic, known.network.critic)
    assert apart(AGENT, "continuous", known, tuned(AGENT, "continuous", known, 2)) > 0


def test_statistics_of_observations_stay_and_those_of_returns_go_on():
    known = known_policy(AGENT, PROBES["continuous"])
    learner = tuned(AGENT, "continuous", known)
    assert same(learner.seen, known.seen)
    assert learner.earned is not None
    assert learner.earned.seen == 3 * recorded("continuous").mask.sum()


def test_padding_counts_for_nothing():
    agent = dataclasses.replace(AGENT, penalty="kl", coefficient=1e6, critic_warmup=0)
    known, phase = known_policy(agent, PROBES["discrete"]), recorded("discrete")
    assert not phase.mask.all()
    noise = jnp.where(phase.mask, 0.0, 7.0)
    observation = phase.timestep.observation + noise[..., None]
    padded = phase._replace(
        timestep=phase.timestep._replace(observation=observation), reward=phase.reward + noise
    )
    learner = agent.init_task(known, jax.random.key(4))
    ours, theirs = (adapt(agent, known, learner, x, jax.random.key(5)) for x in (phase, padded))
    for x, y in zip(jax.tree.leaves(ours.weights), jax.tree.leaves(theirs.weights), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)


def test_fisher_of_a_linear_softmax_policy():
    """E (∂ log π / ∂W_ia)² = x_i² p_a (1 - p_a)."""
    env = PROBES["discrete"]
    known = known_policy(FineTune(hidden_sizes=()), env)
    x = jax.random.normal(jax.random.key(9), (20_000, 2))
    probability = jax.nn.softmax(jax.vmap(known.network)(x)[0].logits)
    spread = probability * (1 - probability)
    _, _, head = fisher(known.network, x, jax.random.key(10))
    np.testing.assert_allclose(head.linear.bias, spread.mean(0), rtol=0.05)
    np.testing.assert_allclose(head.linear.weight, jnp.einsum("ni,na->ia", x**2, spread) / len(x), rtol=0.05)


def test_fisher_of_a_linear_normal_policy():
    """In half ranges E (∂ log π / ∂W_ia)² = x_i² / σ_a², E (∂ log π / ∂ log σ_a)² = 2."""
    env = PROBES["continuous"]
    known = known_policy(FineTune(hidden_sizes=(), initial_log_std=-0.5), env)
    x = jax.random.normal(jax.random.key(9), (20_000, 3))
    _, _, head = fisher(known.network, x, jax.random.key(10))
    precision = jnp.exp(1.0)
    np.testing.assert_allclose(head.actions.log_std, 2.0, rtol=0.08)
    np.testing.assert_allclose(head.linear.bias, precision, rtol=0.05)
    expected = jnp.broadcast_to((x**2).mean(0)[:, None] * precision, head.linear.weight.shape)
    np.testing.assert_allclose(head.linear.weight, expected, rtol=0.08)


# Two actions: the known tasks pay for 0, the new ones for 1.
TWO = dataclasses.replace(PROBES["discrete"], num_actions=2)
FREE = dataclasses.replace(AGENT, learning_rate=3e-2, critic_warmup=0)
LIFE = lives.LifeShape(12, 8, 16)


@functools.cache
def certain_of_0():
    known = known_policy(FREE, TWO)
    known = eqx.tree_at(lambda k: k.network.head.linear.bias, known, jnp.array([1.5, -1.5]))
    found = fisher(known.network, OBSERVATIONS["discrete"], jax.random.key(6))
    return dataclasses.replace(known, fisher=found)


def test_through_new_tasks_a_penalty_keeps_what_was_known():
    known = certain_of_0()
    known_tasks, new_tasks = jnp.zeros(2, jnp.int32), jnp.ones(2, jnp.int32)
    held = dataclasses.replace(FREE, penalty="ewc", coefficient=1e6)
    walked = (TWO, LIFE, known, known_tasks, new_tasks, jax.random.key(12), 4)
    went, stayed = (fine_tune_through(agent, *walked) for agent in (FREE, held))
    assert went.known.shape == (3, 2, 4)
    assert went.new.shape == (3, 2, 4)
    assert np.array_equal(went.known[0], stayed.known[0])
    assert went.new[-1].mean() > went.new[0].mean() + 1
    assert went.known[-1].mean() < went.known[0].mean() - 1
    assert stayed.known[-1].mean() > went.known[-1].mean() + 1
    assert (stayed.last.fisher[2].linear.bias > known.fisher[2].linear.bias).all()


def test_a_coefficient_is_judged_by_what_was_learned_with_it():
    """The same life as above, in which a task that pays for 1 is learned."""
    keys = jax.random.split(jax.random.key(11), 1)
    choice = choose_coefficient(FREE, TWO, LIFE, certain_of_0(), jnp.ones(1, jnp.int32), keys, (1.0,), 4)
    assert choice.coefficient == 1.0
    assert choice.returns.shape == (1, 1)
    assert choice.returns.mean() > 1


def test_of_equal_coefficients_the_largest_is_chosen_and_none_that_diverged(monkeypatch):
    earned = {0.0: 1.0, 0.5: 3.0, 2.0: 3.0, 9.0: np.nan}
    monkeypatch.setattr(coefficient, "_tuned_returns", lambda agent, *_: np.full(2, earned[agent.coefficient]))
    keys = jax.random.split(jax.random.key(11), 1)
    choice = choose_coefficient(FREE, TWO, LIFE, None, None, keys, (9.0, 0.5, 2.0, 0.0))
    assert choice.coefficient == 2.0
    assert choice.coefficients.tolist() == [0.0, 0.5, 2.0, 9.0]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"part": "tail"}, "part"),
        ({"penalty": "l1"}, "penalty"),
        ({"penalty": "ewc", "part": "adapter"}, "adapter"),
        ({"coefficient": -1.0}, "coefficient"),
        ({"rank": 0}, "rank"),
        ({"critic_warmup": -1}, "critic_warmup"),
    ],
)
def test_what_is_wrong_is_named(wrong, named):
    with pytest.raises(InputError, match=named):
        FineTune(**wrong)


def test_a_sequence_needs_one_structure():
    env = PROBES["discrete"]
    agent = dataclasses.replace(AGENT, part="adapter")
    with pytest.raises(InputError, match="adapter"):
        fine_tune_through(agent, env, SHAPE, known_policy(agent, env), None, None, jax.random.key(0))
