"""Agents that take gradient steps: meta-gradients against finite differences, enumerations and closed forms."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys
from quickstudy.agents.anil import ANIL
from quickstudy.agents.cavia import CAVIA
from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.agents.maml import MAML
from quickstudy.agents.meta_sgd import MetaSGD
from quickstudy.errors import InputError
from quickstudy.nets.distributions import Categorical, Normal
from quickstudy.outer.a2c import A2C
from quickstudy.outer.contributions import contributions
from quickstudy.outer.ppo import PPO
from quickstudy.outer.trpo import TRPO
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TimeStep, Transition, Trials, TrialShape
from tests.probes import ContinuousProbe, DiscreteProbe

SMALL = {"hidden_sizes": (4, 4), "activation": "tanh"}
AGENTS = {
    "maml": MAML(**SMALL),
    "maml-critic": MAML(**SMALL, baseline="critic"),
    "maml-rematerialised": MAML(**SMALL, rematerialise=True),
    "anil": ANIL(**SMALL),
    "meta-sgd": MetaSGD(**SMALL),
    "cavia": CAVIA(**SMALL),
}
QUICK = {("maml", 3), ("meta-sgd", 1), ("maml-critic", 1), ("anil", 1), ("cavia", 1)}
FIRST = jnp.int32(0)
"""Adaptations before the first one."""
LINEAR = A2C(baseline="linear", credit="episode", phases="last")
live_in = jax.jit(collect, static_argnums=(0, 1, 2))


@functools.cache
def lived(agent, env, num_adapts):
    """Meta-parameters that are nobody's first ones, and trials by them."""
    trial, k_init, k_tasks = TrialShape(num_adapts, 2, 2), *jax.random.split(jax.random.key(0))
    task_keys, trial_keys = keys.per_task(k_tasks, jnp.arange(3))
    meta_params = agent.init(env, trial, k_init)
    meta_params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(k_init, x.shape), meta_params)
    return meta_params, live_in(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)


def loss_of(agent, trials, outer=LINEAR):
    batch = outer.batch(trials)
    return jax.jit(lambda p: outer.loss(agent, p, batch, 0.0)[0])


def in_float64(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else x, tree)


def along(tree, seed):
    leaves, structure = jax.tree.flatten(tree)
    split = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(split, leaves, strict=True)]
    )


def dot(a, b):
    return sum(jax.tree.leaves(jax.tree.map(lambda x, y: (x * y).sum(), a, b)))


@pytest.mark.parametrize(
    ("name", "num_adapts"),
    # The contract has two adaptations of every agent.
    [
        pytest.param(name, k, marks=() if (name, k) in QUICK else pytest.mark.slow)
        for name in AGENTS
        for k in (1, 3)
    ],
)
def test_meta_gradient_equals_finite_difference(name, num_adapts):
    agent, env = AGENTS[name], ContinuousProbe() if name == "meta-sgd" else DiscreteProbe()
    recorded = lived(agent, env, num_adapts)
    with jax.enable_x64(True):
        meta_params, trials = in_float64(recorded)
        loss = loss_of(agent, trials)
        gradient = jax.jit(jax.grad(loss))(meta_params)
        for seed in range(3):
            direction = along(meta_params, seed)
            ends = [jax.tree.map(lambda p, d, s=s: p + s * d, meta_params, direction) for s in (1e-5, -1e-5)]
            difference = (loss(ends[0]) - loss(ends[1])) / 2e-5
            np.testing.assert_allclose(dot(gradient, direction), difference, rtol=1e-5)


@pytest.mark.parametrize("name", ["maml", "cavia"])
def test_first_order_is_another_gradient_of_the_same_loss(name):
    agent = AGENTS[name]
    cut = dataclasses.replace(agent, first_order=True)
    meta_params, trials = lived(agent, DiscreteProbe(), 1)
    np.testing.assert_array_equal(loss_of(agent, trials)(meta_params), loss_of(cut, trials)(meta_params))
    second = jax.tree.leaves(jax.grad(loss_of(agent, trials))(meta_params))
    first = jax.tree.leaves(jax.grad(loss_of(cut, trials))(meta_params))
    assert any(not np.allclose(a, b, rtol=1e-2) for a, b in zip(first, second, strict=True))


def test_rematerialising_changes_no_gradient():
    agent, other = AGENTS["maml"], AGENTS["maml-rematerialised"]
    meta_params, trials = lived(agent, DiscreteProbe(), 3)
    kept, again = (jax.grad(loss_of(a, trials))(meta_params) for a in (agent, other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), kept, again)


def test_one_inner_step_by_hand():
    """CAVIA's context after one adaptation is minus the rate times the mean of ∇_c log π A."""
    agent = dataclasses.replace(AGENTS["cavia"], inner_rate=0.3)
    meta_params, trials = lived(agent, DiscreteProbe(), 1)
    phase = jax.tree.map(lambda x: x[0, 0], trials.phases)
    advantage = agent.judge(phase).advantage
    assert abs(np.mean(advantage, where=np.asarray(phase.mask))) < 1e-5
    assert np.std(advantage, where=np.asarray(phase.mask)) == pytest.approx(1, abs=1e-4)

    def log_prob(context, observation, action):
        return agent.says(meta_params, context, observation)[0].log_prob(action)

    of_step = jax.vmap(jax.vmap(jax.grad(log_prob), (None, 0, 0)), (None, 0, 0))
    slopes = of_step(jnp.zeros(5), phase.timestep.observation, phase.action)
    mean = (slopes * (advantage * phase.mask)[..., None]).sum((0, 1)) / phase.mask.sum()
    task_params = agent.init_task(meta_params, jax.random.key(0))
    adapted = agent.adapt(meta_params, task_params, phase, jax.random.key(0)).adapted
    np.testing.assert_allclose(adapted, 0.3 * mean, atol=1e-6)


@pytest.mark.parametrize("name", ["maml", "maml-critic", "cavia"])
def test_nothing_is_learned_from_a_stream_that_is_masked(name):
    """What `outer.contributions` asks of an adaptation."""
    agent = AGENTS[name]
    meta_params, trials = lived(agent, DiscreteProbe(), 1)
    phase = jax.tree.map(lambda x: x[0, 0], trials.phases)
    phase = phase._replace(mask=phase.mask.at[1].set(False))
    other = phase._replace(reward=phase.reward.at[1].set(7.0), action=phase.action.at[1].set(0))
    start = agent.init_task(meta_params, jax.random.key(0))
    ends = [agent.adapt(meta_params, start, p, jax.random.key(0)).adapted for p in (phase, other)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *ends)


def test_the_later_rate_holds_from_the_second_adaptation_on():
    agent = dataclasses.replace(AGENTS["maml"], later_inner_rate=0.01)
    np.testing.assert_allclose([agent.rate(jnp.int32(k)) for k in range(3)], [0.1, 0.01, 0.01])


def test_anil_moves_its_head_alone_and_cavia_none_of_its_weights():
    for name, moved in (("anil", {"policy"}), ("cavia", set())):
        agent = AGENTS[name]
        meta_params, trials = lived(agent, ContinuousProbe(), 1)
        phase = jax.tree.map(lambda x: x[0, 0], trials.phases)
        start = agent.init_task(meta_params, jax.random.key(0))
        end = agent.adapt(meta_params, start, phase, jax.random.key(0))
        assert jax.tree.structure(start) == jax.tree.structure(end)
        if moved:
            assert not np.allclose(start.adapted.policy.linear.weight, end.adapted.policy.linear.weight)
            assert not np.allclose(start.adapted.policy.actions.log_std, end.adapted.policy.actions.log_std)
        else:
            assert start.adapted.shape == end.adapted.shape == (5,)


@dataclasses.dataclass(frozen=True)
class Logits(InnerLoop):
    """A softmax of two logits that sees nothing."""

    baseline: str = "none"  # pyright: ignore[reportIncompatibleVariableOverride]
    normalise_advantages: bool = False
    discount: float = 1.0
    inner_rate: float = 0.7

    def init(self, env, trial, key):
        return jnp.array([0.3, -0.4])

    def start(self, meta_params):
        return meta_params

    def says(self, meta_params, adapted, observation):
        return Categorical(adapted), jnp.zeros(())


# Two steps of two arms; what the second pays depends on the first.
FIRST_PAY = np.array([0.2, 1.0])
SECOND_PAY = np.array([[0.9, 0.1], [0.0, 0.6]])
PULLS = np.array(list(itertools.product(range(2), repeat=2)))
PAYS = np.stack([FIRST_PAY[PULLS[:, 0]], SECOND_PAY[PULLS[:, 0], PULLS[:, 1]]], axis=1)


def transitions(actions, rewards):
    """[..., T] of one episode each, as an engine would have recorded them."""
    shape = actions.shape
    last = jnp.broadcast_to(jnp.arange(shape[-1]) == shape[-1] - 1, shape)
    first = jnp.broadcast_to(jnp.arange(shape[-1]) == 0, shape)
    zeros, no = jnp.zeros(shape), jnp.zeros(shape, bool)
    seen = TimeStep(zeros, jnp.zeros_like(actions), zeros, first)
    return Transition(seen, actions, rewards, zeros, last, no, None, ~no, zeros, zeros, zeros, {})


def trajectory_probabilities(logits):
    """Of each of the four trajectories [4]."""
    return jnp.prod(jax.nn.softmax(logits)[PULLS], axis=1)


def episode_value(logits):
    return trajectory_probabilities(logits) @ PAYS.sum(1)


@pytest.mark.parametrize(("estimator", "exact"), [("dice", True), ("lvc", False), ("reinforce", False)])
def test_the_expected_second_derivative_of_an_inner_surrogate(estimator, exact):
    """By all four trajectories. The second pull's pay depends on both: what lvc leaves out is not 0."""
    agent, logits = Logits(estimator=estimator), jnp.array([0.3, -0.4])
    phases = jax.vmap(lambda a, r: transitions(a[None], r[None]))(jnp.asarray(PULLS), jnp.asarray(PAYS))

    def mean_over_trajectories(derivative):
        of_each = jax.vmap(
            lambda phase: derivative(lambda x: agent.loss(x, x, agent.judge(phase), FIRST))(logits)
        )
        return jnp.tensordot(trajectory_probabilities(logits), of_each(phases), 1)

    # The loss is a mean over two steps.
    np.testing.assert_allclose(
        -2 * mean_over_trajectories(jax.grad), jax.grad(episode_value)(logits), atol=1e-6
    )
    hessian = jax.hessian(episode_value)(logits)
    found = -2 * mean_over_trajectories(jax.hessian)
    if exact:
        np.testing.assert_allclose(found, hessian, atol=1e-6)
    else:
        assert np.abs(found - hessian).max() > 0.05


def test_lvc_is_exact_where_steps_do_not_depend_on_each_other():
    """Each pull pays by itself: then the expected second derivative of lvc is right; not that of reinforce."""
    logits, pays = jnp.array([0.3, -0.4]), FIRST_PAY[PULLS]
    phases = jax.vmap(lambda a, r: transitions(a[None], r[None]))(jnp.asarray(PULLS), jnp.asarray(pays))
    hessian = jax.hessian(lambda x: trajectory_probabilities(x) @ pays.sum(1))(logits)

    def error(agent):
        of_each = jax.vmap(
            lambda phase: jax.hessian(lambda x: agent.loss(x, x, agent.judge(phase), FIRST))(logits)
        )
        return np.abs(-2 * jnp.tensordot(trajectory_probabilities(logits), of_each(phases), 1) - hessian).max()

    assert error(Logits(estimator="lvc")) < 1e-6
    assert error(Logits(estimator="reinforce")) > 0.05


def test_dice_has_the_same_expected_derivatives_with_a_baseline():
    """A baseline that is wrong by far takes nothing from the expectation, of the first order or the second."""
    logits = jnp.array([0.3, -0.4])
    phases = jax.vmap(lambda a, r: transitions(a[None], r[None]))(jnp.asarray(PULLS), jnp.asarray(PAYS))
    agent = Logits(estimator="dice")

    def mean_of(derivative, value):
        def of(phase):
            judged = agent.judge(phase)
            judged = judged._replace(phase=judged.phase._replace(value=jnp.full_like(phase.reward, value)))
            return derivative(lambda x: agent.loss(x, x, judged, FIRST))(logits)

        return jnp.tensordot(trajectory_probabilities(logits), jax.vmap(of)(phases), 1)

    for derivative in (jax.grad, jax.hessian):
        np.testing.assert_allclose(mean_of(derivative, 3.0), mean_of(derivative, 0.0), atol=1e-6)


@functools.cache
def every_trial(num_streams):
    """Every outcome of a trial with one adaptation: numbers of its trajectories [M, 2, S], and trials."""
    numbers = np.array(list(itertools.product(range(4), repeat=2 * num_streams))).reshape(-1, 2, num_streams)
    phases = transitions(jnp.asarray(PULLS)[numbers], jnp.asarray(PAYS)[numbers])
    key = jax.random.split(jax.random.key(0), len(numbers))
    return numbers, Trials(jnp.zeros(len(numbers)), key, phases)


@pytest.mark.parametrize("num_streams", [1, 2])
@pytest.mark.parametrize("credit", ["trial", "episode"])
@pytest.mark.parametrize("phases", ["last", "all"])
def test_the_expected_meta_gradient_of_a_two_armed_bandit(phases, credit, num_streams):
    """By all trials. With credit over the trial it is the derivative of what is earned, E-MAML's; with credit
    over an episode it leaves out that other actions of the first phase would have been learned from.
    """
    agent, logits = Logits(), jnp.array([0.3, -0.4])
    outer = A2C(
        credit=credit,
        phases=phases,
        baseline="none",
        discount=1.0,
        gae_lambda=1.0,
        normalise_advantages=False,
        entropy_coefficient=0.0,
    )
    numbers, trials = every_trial(num_streams)
    adapted = jax.jit(lambda x: replay(agent, x, trials).policy.logits[:, 1, 0, 0])

    def probability(x):
        support = jnp.prod(trajectory_probabilities(x)[numbers[:, 0]], axis=1)
        of_query = jax.vmap(trajectory_probabilities)(adapted(x))
        return support, jnp.prod(jnp.take_along_axis(of_query, numbers[:, 1], axis=1), axis=1)

    returns = PAYS.sum(1)[numbers].mean(2)
    earned = returns[:, 1] if phases == "last" else returns.sum(1)

    def objective(x):
        support, query = probability(x)
        if credit == "trial":
            return (support * query) @ earned
        # What is learned from is given; the first phase's own return is its own matter.
        given, (now, _) = jax.lax.stop_gradient(support), probability(x)
        own = (now @ returns[:, 0]) / 4**num_streams if phases == "all" else 0.0
        return (given * query) @ returns[:, 1] + own

    support, query = probability(logits)
    batch = outer.batch(trials)

    def gradient_of(one):
        return jax.grad(lambda x: outer.loss(agent, x, one, 0.0)[0])(logits)

    each = jax.vmap(gradient_of)(jax.tree.map(lambda x: x[:, None], batch))
    found = -jnp.tensordot(support * query, each, 1)
    # The loss is a mean over the steps that count.
    steps = 2 if phases == "last" and credit == "episode" else 4
    np.testing.assert_allclose(found * steps, jax.grad(objective)(logits), atol=2e-6)


def test_credit_over_an_adaptation_goes_to_what_is_learned_from_alone():
    numbers, trials = every_trial(2)
    settings = {"baseline": "none", "discount": 1.0, "gae_lambda": 1.0, "normalise_advantages": False}
    own = A2C(credit="episode", phases="all", **settings).batch(trials).advantage
    whole = A2C(credit="trial", phases="all", **settings).batch(trials).advantage
    np.testing.assert_allclose(whole[:, 1], own[:, 1], atol=1e-6)
    later = PAYS.sum(1)[numbers[:, 1]].sum(1)
    np.testing.assert_allclose(
        whole[:, 0] - own[:, 0], np.broadcast_to(later[:, None, None], own[:, 0].shape), atol=1e-6
    )


@functools.cache
def lived_trials(num_adapts, max_weight):
    """Every trial of two streams: numbers [M, K+1, S], probabilities, and what tells each stream's part."""
    agent, logits, shape = Logits(inner_rate=0.9), jnp.array([0.3, -0.4]), (num_adapts + 1, 2)
    numbers = np.array(list(itertools.product(range(4), repeat=2 * shape[0]))).reshape(-1, *shape)
    phases = transitions(jnp.asarray(PULLS)[numbers], jnp.asarray(PAYS)[numbers])
    trials = Trials(jnp.zeros(len(numbers)), jax.random.split(jax.random.key(0), len(numbers)), phases)
    said = jax.jit(lambda x: replay(agent, x, trials).policy.log_prob(phases.action))
    trials = trials._replace(phases=phases._replace(log_prob=said(logits)))
    probability = jnp.exp(said(logits).sum((1, 2, 3)))
    of_streams = functools.partial(contributions, agent, logits, trials, max_weight=max_weight)
    return agent, logits, numbers, trials, probability, of_streams


@pytest.mark.parametrize("num_adapts", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("phases", ["last", "all"])
def test_paying_each_stream_for_its_own_part_is_the_same_meta_gradient_with_less_noise(phases, num_adapts):
    agent, logits, numbers, trials, probability, of_streams = lived_trials(num_adapts, jnp.inf)
    settings = {"baseline": "none", "discount": 1.0, "gae_lambda": 1.0, "normalise_advantages": False}
    outer = A2C(credit="trial", phases=phases, entropy_coefficient=0.0, **settings)
    returns = PAYS.sum(1)[numbers].mean(2)
    earned = returns[:, -1] if phases == "last" else returns.sum(1)

    def objective(x):
        log_prob = replay(agent, x, trials).policy.log_prob(trials.phases.action)
        return jnp.exp(log_prob.sum((1, 2, 3))) @ earned

    def gradients(batch):
        def of(one):
            return jax.grad(lambda x: outer.loss(agent, x, one, 0.0)[0])(logits)

        # The loss is a mean over the steps.
        return -2 * len(numbers[0]) * jax.jit(jax.vmap(of))(jax.tree.map(lambda x: x[:, None], batch))

    def noise(each):
        return probability @ ((each - probability @ each) ** 2).sum(1)

    own, shared = gradients(outer.batch(trials, of_streams)), gradients(outer.batch(trials))
    np.testing.assert_allclose(probability.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(probability @ own, jax.jit(jax.grad(objective))(logits), atol=5e-6)
    assert noise(own) < 0.8 * noise(shared)


def test_what_a_stream_contributed_by_hand():
    """The last phase, of which nothing is learned, contributes nothing; the first what its gradient changed."""
    agent, logits, numbers, trials, _, of_streams = lived_trials(1, jnp.inf)
    found = of_streams(jnp.ones_like(trials.phases.reward))
    np.testing.assert_array_equal(found[:, 1], 0)
    # A phase of the trajectories 0 and 2, of which the agent learns from the second alone where the first is
    # left out, then one of 1 and 3.
    (i,) = np.flatnonzero((numbers.reshape(-1, 4) == [0, 2, 1, 3]).all(1))
    seen = jax.tree.map(lambda x: x[i, 0], trials.phases)
    start = agent.init_task(logits, jax.random.key(0))

    def learned(streams):
        return agent.adapt(logits, start, jax.tree.map(lambda x: x[streams], seen), jax.random.key(0)).adapted

    both, second = (jax.nn.log_softmax(learned(streams)) for streams in (jnp.array([0, 1]), jnp.array([1])))
    weight = np.exp(np.cumsum((second - both)[PULLS[[1, 3]]], axis=1))
    np.testing.assert_allclose(found[i, 0, 0], ((1 - weight) * PAYS[[1, 3]]).sum(), atol=1e-5)


def test_streams_share_no_credit_that_is_cut_off_and_none_where_there_is_one_alone():
    agent, logits, _, trials, _, of_streams = lived_trials(1, 1.0)
    # No weight above 1: what would have been earned is thought to be no more than what was.
    assert of_streams(jnp.ones_like(trials.phases.reward)).min() >= 0
    alone = trials._replace(phases=jax.tree.map(lambda x: x[:, :, :1], trials.phases))
    with pytest.raises(InputError, match=r"outer.credit_by_stream: got True; expected False in trials of one"):
        contributions(agent, logits, alone, jnp.ones_like(alone.phases.reward))
    with pytest.raises(InputError, match=r"A2C.credit_by_stream: got True; expected False where credit is"):
        A2C(credit="episode", credit_by_stream=True)


def test_credit_by_stream_is_divided_by_what_advantages_are():
    """Rewards ten times as large change nothing."""
    trials, *_, of_streams = lived_trials(1, 2.0)[3:]
    outer = A2C(baseline="none", credit="trial", phases="last")
    richer = trials._replace(phases=trials.phases._replace(reward=10 * trials.phases.reward))
    batch = outer.batch(trials, of_streams)
    other = outer.batch(richer, lambda counts: 10 * of_streams(counts))
    np.testing.assert_allclose(batch.advantage, other.advantage, atol=1e-4)
    own = A2C(baseline="none", credit="episode", phases="all").batch(trials)
    assert own.advantage.shape == batch.advantage.shape


@dataclasses.dataclass(frozen=True)
class Mean(InnerLoop):
    """A normal of deviation 1 around one number, that sees nothing."""

    baseline: str = "none"  # pyright: ignore[reportIncompatibleVariableOverride]
    normalise_advantages: bool = False
    inner_rate: float = 0.2
    estimator: str = "dice"  # pyright: ignore[reportIncompatibleVariableOverride]

    def init(self, env, trial, key):
        return jnp.zeros(1)

    def start(self, meta_params):
        return meta_params

    def says(self, meta_params, adapted, observation):
        return Normal(adapted, jnp.zeros(1)), jnp.zeros(())


# Tasks -½ curvature (a - centre)² of one step.
CURVATURE, CENTRE = jnp.array([1.0, 3.0, 0.5]), jnp.array([-1.0, 1.0, 2.0])
# Six equal weights that integrate polynomials of degree 5 over a standard normal exactly.
NODES = jnp.sqrt(3.0) * jnp.array([1.0, 0.0, 0.0, 0.0, 0.0, -1.0])


def quadratic_trials(agent, mean):
    """Trials of one adaptation in all three tasks, whose sums over streams are expectations."""

    def phase(centre_of_policy):
        action = centre_of_policy[:, None] + NODES
        reward = -0.5 * CURVATURE[:, None] * (action - CENTRE[:, None]) ** 2
        return jax.vmap(transitions)(action[..., None], reward[..., None])

    def of_action(t):
        return t._replace(action=t.action[..., None], timestep=t.timestep._replace(action=t.action[..., None]))

    before = of_action(phase(jnp.broadcast_to(mean, 3)))
    start = agent.init_task(mean, jax.random.key(0))
    learned = jax.vmap(lambda p: agent.adapt(mean, start, p, jax.random.key(0)).adapted[0])(before)
    after = of_action(phase(learned))
    phases = jax.tree.map(lambda a, b: jnp.stack([a, b], 1), before, after)
    return Trials(jnp.arange(3), jax.random.split(jax.random.key(0), 3), phases)


@pytest.mark.parametrize("first_order", [False, True])
def test_on_a_quadratic_family_the_initialisation_is_the_closed_form(first_order):
    """After a step at rate α a task's loss is ½ a (1 - α a)² (θ - c)²; first order leaves one factor out."""
    agent = Mean(first_order=first_order)
    outer = A2C(
        baseline="none",
        credit="episode",
        phases="last",
        normalise_advantages=False,
        entropy_coefficient=0.0,
        discount=1.0,
        gae_lambda=1.0,
    )

    @jax.jit
    def step(_, mean):
        batch = outer.batch(quadratic_trials(agent, mean))
        return mean - 0.3 * jax.grad(lambda x: outer.loss(agent, x, batch, 0.0)[0])(mean)

    found = jax.lax.fori_loop(0, 200, step, jnp.zeros(1))
    left = 1 - agent.inner_rate * CURVATURE
    weight = CURVATURE * (left if first_order else left**2)
    np.testing.assert_allclose(found, (weight @ CENTRE / weight.sum())[None], atol=1e-4)


def test_a_critic_that_is_not_there_is_asked_for_nothing():
    agent = AGENTS["maml"]
    meta_params = agent.init(DiscreteProbe(), TrialShape(1, 2, 1), jax.random.key(0))
    for outer in (A2C(), PPO(), TRPO()):
        with pytest.raises(InputError, match=r"outer.baseline: got 'critic'; expected 'linear' or 'none'"):
            outer.init(agent, meta_params, jax.random.key(0))


def test_the_adaptation_penalty_keeps_what_is_adapted_from():
    """ProMP: with a large coefficient the first phase hardly changes, and the coefficient follows a target."""
    agent = AGENTS["maml"]
    meta_params, trials = lived(agent, DiscreteProbe(), 1)
    settings = {
        "credit": "episode",
        "phases": "last",
        "baseline": "none",
        "num_minibatches": 1,
        "num_epochs": 20,
    }

    def apart(outer):
        update = jax.jit(lambda s: outer.update(agent, s, trials, jnp.float32(0), jax.random.key(0)))
        state, metrics = update(outer.init(agent, meta_params, jax.random.key(0)))
        before, after = (replay(agent, p, trials).policy for p in (meta_params, state.meta_params))
        return float(before.kl(after)[:, 0].mean()), state, metrics

    free, held = PPO(**settings), PPO(**settings, adaptation_kl_coefficient=100.0)
    assert apart(held)[0] < 0.1 * apart(free)[0]
    far = PPO(**settings, adaptation_kl_coefficient=1e-3, adaptation_kl_target=1e-6)
    near = dataclasses.replace(far, adaptation_kl_target=10.0)
    assert apart(far)[1].kl_coefficient == pytest.approx(2e-3)
    assert apart(near)[1].kl_coefficient == pytest.approx(5e-4)
    assert apart(near)[2]["adaptation_kl"] > 0
    # However long nothing moves, the coefficient can come back.
    state = near.init(agent, meta_params, jax.random.key(0))._replace(kl_coefficient=jnp.float32(1e-6))
    assert near._moved(state, jnp.float32(0.0)) == pytest.approx(1e-6)


def test_trpo_steps_within_its_radius_by_a_fisher_matrix_of_some_streams():
    """The search measures on all streams, so the step gains there, whatever the matrix was taken over."""
    agent = AGENTS["maml"]
    meta_params, trials = lived(agent, DiscreteProbe(), 1)
    outers = [
        TRPO(credit="episode", phases="last", baseline="none", fisher_share=share, max_kl=1e-3)
        for share in (1.0, 0.5)
    ]
    found = []
    for outer in outers:
        state, metrics = jax.jit(
            lambda s, o=outer: o.update(agent, s, trials, jnp.float32(0), jax.random.key(0))
        )(outer.init(agent, meta_params, jax.random.key(0)))
        assert metrics["accepted"] == 1
        assert metrics["gain"] > 0
        assert 0 < metrics["kl"] <= 1e-3
        found.append((state.meta_params, metrics["grad_norm"]))
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)
    steps = [
        jnp.concatenate(
            [(a - b).ravel() for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(meta_params), strict=True)]
        )
        for new, _ in found
    ]
    assert not np.allclose(steps[0], steps[1], rtol=1e-2)
    assert steps[0] @ steps[1] > 0
