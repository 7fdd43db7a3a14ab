"""DQN, SAC and their buffer: targets by hand, what may be drawn, what moves where, probes of known values."""

import dataclasses
import functools
import itertools
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy import lives
from quickstudy.agents.dqn import DQN, epsilon_greedy
from quickstudy.agents.sac import SAC
from quickstudy.errors import InputError
from quickstudy.lives import LifeShape
from quickstudy.nets.distributions import SQUASH_LIMIT, TanhNormal
from quickstudy.replay_buffer import Batch, ReplayBuffer, Rows
from quickstudy.rollout import sample_tasks
from quickstudy.types import Outcome, TimeStep, Transition, TrialShape
from tests.probes import ContinuousProbe, DiscreteProbe, MultiDiscreteProbe

SMALL = {"hidden_sizes": (8, 8), "learning_rate": 1e-2, "batch_size": 32, "buffer_size": 1000}
QUICK = DQN(**SMALL, num_updates=4, learning_starts=9, target_period=1, target_rate=0.2)
SOFT = SAC(**SMALL, num_updates=4, learning_starts=9, target_rate=0.2)
WHO = pytest.mark.parametrize(
    ("agent", "env"),
    [
        pytest.param(QUICK, DiscreteProbe(), id="dqn"),
        pytest.param(SOFT, DiscreteProbe(), id="sac-discrete", marks=pytest.mark.slow),
        pytest.param(SOFT, ContinuousProbe(), id="sac"),
    ],
)
BEGIN = jax.jit(lambda agent, meta_params, key: agent.init_task(meta_params, key), static_argnums=0)
ADAPT = jax.jit(lambda agent, *args: agent.adapt(*args), static_argnums=0)
TWO_STREAMS = TrialShape(100, 2, 1)
UPDATE = jax.jit(lambda agent, *args: agent.update(*args), static_argnums=0)


@dataclasses.dataclass(frozen=True)
class Chain:
    """Actions are of no use. Task 0: an episode shows a sign at its steps 0 and 1; step 1 pays it and ends
    the episode. Task 1: every step pays 1 and shows the same, and time cuts the episode.
    """

    continuous: bool
    max_steps: int = 3

    @property
    def observation_space(self):
        return spaces.Box(-1, 1, (2,), np.float32)

    @property
    def action_space(self):
        return spaces.Box(-1, 1, (1,), np.float32) if self.continuous else spaces.Discrete(1)

    def sample_task(self, key):
        return jax.random.randint(key, (), 0, 2)

    def reset(self, task, key):
        state = jnp.stack([jax.random.rademacher(key, (), float), jnp.zeros(())])
        return state, jnp.where(task == 1, 1.0, state)

    def step(self, task, state, action, key):
        after = state.at[1].add(1.0)
        reward = jnp.where(task == 1, 1.0, state[0] * state[1])
        return after, Outcome(jnp.where(task == 1, 1.0, after), reward, (task == 0) & (after[1] > 1))


@functools.cache
def begun(agent, env, trial=TWO_STREAMS):
    meta_params = agent.init(env, trial, jax.random.key(0))
    return meta_params, BEGIN(agent, meta_params, jax.random.key(1))


def steps_of(rewards, *, terminated=(), truncated=(), mask=None):
    """Transitions [S, T] of a family with whole numbers for observations, each a hundred times its reward."""
    rewards = np.atleast_2d(np.asarray(rewards, np.float32))
    flags = [np.zeros(rewards.shape, bool) for _ in range(2)]
    for flag, times in zip(flags, (terminated, truncated), strict=True):
        flag[:, list(times)] = True
    seen, nothing = jnp.asarray(100 * rewards)[..., None], jnp.zeros(rewards.shape)
    return Transition(
        TimeStep(seen, jnp.zeros(rewards.shape, jnp.int32), nothing, nothing > 0),
        jnp.zeros(rewards.shape, jnp.int32),
        jnp.asarray(rewards),
        seen + 1,
        jnp.asarray(flags[0]),
        jnp.asarray(flags[1]),
        None,
        jnp.ones(rewards.shape, bool) if mask is None else jnp.asarray(mask),
        nothing,
        nothing,
        nothing,
        {},
    )


@dataclasses.dataclass(frozen=True)
class Numbers:
    """As much of a family as `steps_of` needs."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)
    max_steps = 100


@functools.partial(jax.jit, static_argnums=0)
def _drawn(buffer, phases):
    state = buffer.init(Numbers())
    for phase in phases:
        state = buffer.add(state, phase)
    return jax.tree.map(lambda x: x[0], buffer.sample(state, jax.random.key(0), (1, 400)))


def drawn(buffer, phases):
    """A large batch, after these phases."""
    return jax.tree.map(np.asarray, _drawn(buffer, phases))


def test_n_steps_by_hand():
    """Three steps at γ = 0.5: in full, up to a real end, up to a cut; each ends alone at its last step."""
    buffer = ReplayBuffer(100, 1, 3, 0.5)
    no, yes = False, True
    reward = jnp.asarray([[1.0, 2.0, 4.0]] * 5)
    done = jnp.asarray([[no, no, no], [no, yes, no], [no, yes, no], [yes, yes, yes], [no, no, yes]])
    terminated = jnp.asarray([[no, no, no], [no, yes, no], [no, no, yes], [yes, yes, no], [no, no, yes]])
    behind = jnp.asarray([[10.0, 20.0, 30.0]] * 5)
    batch = buffer.folded(Rows(reward, reward, reward, behind, terminated, done, done | True))
    np.testing.assert_allclose(batch.reward, [3.0, 2.0, 2.0, 1.0, 3.0])
    np.testing.assert_allclose(batch.discount, [0.125, 0.0, 0.25, 0.0, 0.0])
    np.testing.assert_allclose(batch.next_observation, [30.0, 20.0, 20.0, 10.0, 30.0])


def test_n_steps_go_on_through_adaptations():
    """Rewards 1 to 6 in three phases, the fourth step a real end; two steps at γ = 0.5."""
    phases = [steps_of([1, 2]), steps_of([3, 4], terminated=[1]), steps_of([5, 6])]
    batch = drawn(ReplayBuffer(100, 1, 2, 0.5), phases)
    expected = {
        1: (2.0, 0.25, 201),
        2: (3.5, 0.25, 301),
        3: (5.0, 0.0, 401),
        4: (4.0, 0.0, 401),
        5: (8.0, 0.25, 601),
    }
    assert set(batch.observation[:, 0] / 100) == set(expected)
    for seen, *rest in zip(
        batch.observation, batch.reward, batch.discount, batch.next_observation[:, 0], strict=True
    ):
        np.testing.assert_allclose(rest, expected[int(seen[0] / 100)])


def test_the_oldest_is_overwritten_and_nothing_unwritten_is_drawn():
    """Rooms for 7 steps of each of two streams, filled by threes."""
    buffer = ReplayBuffer(15, 2, 2, 1.0)
    phases = [steps_of([[10 * i + t for t in (1, 2, 3)], [10 * i + t for t in (5, 6, 7)]]) for i in range(5)]
    few = drawn(buffer, phases[:1])
    assert set(few.observation[:, 0] / 100) == {1, 2, 5, 6}
    many = drawn(buffer, phases)
    kept = [[23, 31, 32, 33, 41, 42, 43], [27, 35, 36, 37, 45, 46, 47]]
    following = {a: b for stream in kept for a, b in itertools.pairwise(stream)}
    for seen, reward in zip(many.observation[:, 0] / 100, many.reward, strict=True):
        assert reward == seen + following[int(seen)]
    assert set(many.observation[:, 0] / 100) == set(following)


def test_padding_is_overwritten_or_weighs_nothing():
    """Streams of 3 and of 1 real steps, twice, then a full buffer: nothing that weighs is padding."""
    mask = [[True, True, True, False], [True, False, False, False]]
    phases = [
        steps_of(np.where(mask, [[i + 1] * 4, [i + 11] * 4], -1), truncated=[0, 1, 2, 3], mask=mask)
        for i in range(6)
    ]
    for many, expected in ((2, {1, 2, 11, 12}), (6, {4, 5, 6, 14, 15, 16})):
        batch = drawn(ReplayBuffer(20, 2, 1, 1.0), phases[:many])
        assert set(batch.reward[batch.weight == 1]) == expected
        assert set(batch.reward[batch.weight == 0]) == {-1.0}


def tables(*rows):
    """A network that looks its answer up."""
    network: Any = jnp.asarray(rows, jnp.float32).__getitem__
    return network


def test_targets_by_hand():
    online, target = tables([0.0, 0.0], [2.0, 1.0]), tables([0.0, 0.0], [3.0, 7.0])
    batch = Batch(*map(jnp.asarray, ([0, 0], [0, 1], [1.0, 1.0], [0.5, 0.0], [1, 1], [1.0, 1.0])))
    np.testing.assert_allclose(DQN(double=True).targets(online, target, batch), [2.5, 1.0])
    np.testing.assert_allclose(DQN(double=False).targets(online, target, batch), [4.5, 1.0])
    # Errors of -2.5 and -1; squared and Huber's.
    np.testing.assert_allclose(DQN(loss="squared").error(online, target, batch), (6.25 + 1) / 4)
    np.testing.assert_allclose(DQN(loss="huber").error(online, target, batch), (2.0 + 0.5) / 2)
    one = batch._replace(weight=jnp.asarray([0.0, 1.0]))
    np.testing.assert_allclose(DQN(loss="huber").error(online, target, one), 0.5)


def test_an_update_moves_q_to_its_target_and_the_target_after_it():
    agent = dataclasses.replace(QUICK, dueling=True, target_period=2, target_rate=0.25)
    _, learner = begun(agent, Numbers())
    batch = Batch(*map(jnp.asarray, ([[0.5]], [1], [50.0], [0.0], [[0.0]], [1.0])))
    before = learner.networks
    once = UPDATE(agent, before, batch, 1e-3)
    twice = UPDATE(agent, once, batch, 1e-3)
    q = [float(n.online(jnp.asarray([0.5]))[1]) for n in (before, once, twice)]
    assert q[0] < q[1] < q[2]
    jax.tree.map(np.testing.assert_array_equal, once.target, before.target)
    expected = jax.tree.map(lambda t, q: 0.75 * t + 0.25 * q, once.target, twice.online)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), twice.target, expected)
    copying = dataclasses.replace(agent, target_period=1, target_rate=1.0)
    copied = UPDATE(copying, before, batch, 1e-3)
    jax.tree.map(np.testing.assert_array_equal, copied.target, copied.online)


def test_epsilon_greedy_is_exact_and_its_mode_greedy():
    q = jnp.asarray([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0]])
    for epsilon in (0.0, 0.3, 1.0):
        policy = epsilon_greedy(q, epsilon)
        assert np.isfinite(policy.logits).all()
        greedy = np.asarray([[0, 1, 0], [1, 0, 0]])
        expected = epsilon / 3 + (1 - epsilon) * greedy
        np.testing.assert_allclose(jax.nn.softmax(policy.logits), expected, atol=2e-5)
        np.testing.assert_array_equal(policy.mode(), [1, 0])
    agent = DQN(initial_epsilon=0.8, final_epsilon=0.2, exploration_share=0.5)
    np.testing.assert_allclose(
        [agent.epsilon(p) for p in (0.0, 0.25, 0.5, 1.0)], [0.8, 0.5, 0.2, 0.2], rtol=1e-6
    )


def test_a_smooth_sample_and_its_log_prob():
    """As `sample` and `log_prob` say, with the gradient of a = c + h tanh(m + σ ε), however far m has gone."""
    policy = TanhNormal(jnp.asarray([0.3, -0.6]), jnp.asarray([-1.0, 0.2]), jnp.ones(2), 2 * jnp.ones(2))
    action, log_prob = policy.sample_and_log_prob(jax.random.key(0))
    np.testing.assert_allclose(action, policy.sample(jax.random.key(0)), rtol=1e-6)
    np.testing.assert_allclose(log_prob, policy.log_prob(action), rtol=1e-4)

    def said(mean):
        return dataclasses.replace(policy, mean=mean).sample_and_log_prob(jax.random.key(0))

    slope = jax.jacobian(lambda mean: said(mean)[0])(policy.mean)
    unit = (action - 1) / 2
    np.testing.assert_allclose(slope, np.diag(2 * (1 - unit**2)), rtol=1e-4)
    # -log(1 - tanh² u) falls as u comes back.
    far = jnp.asarray([4.0, -4.0]) * SQUASH_LIMIT
    np.testing.assert_allclose(jax.grad(lambda mean: said(mean)[1])(far), [2.0, -2.0], rtol=1e-4)


@pytest.mark.parametrize(
    "env",
    [ContinuousProbe(), pytest.param(DiscreteProbe(), marks=pytest.mark.slow)],
    ids=["continuous", "discrete"],
)
def test_the_temperature_moves_the_entropy_to_its_target(env: Any):
    _, learner = begun(SOFT, env)
    networks, n = learner.networks, len(env.observation_space.low)
    kind = jnp.int32 if isinstance(env, DiscreteProbe) else jnp.float32
    action = jnp.zeros((4, *learner.buffer.experience.action.shape[2:]), kind)
    batch = Batch(jnp.ones((4, n)), action, jnp.ones(4), jnp.ones(4), jnp.ones((4, n)), jnp.ones(4))
    for target, sign in ((-20.0, -1), (20.0, 1)):
        after = UPDATE(SOFT, networks, batch, jax.random.key(0), 1e-2, target)
        assert np.sign(after.weights.log_temperature - networks.weights.log_temperature) == sign
        expected = jax.tree.map(lambda t, q: 0.8 * t + 0.2 * q, networks.target, after.weights.critics)
        close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
        jax.tree.map(close, after.target, expected)
    if kind is jnp.int32:
        fixed = dataclasses.replace(SOFT, learn_temperature=False)
        after = UPDATE(fixed, networks, batch, jax.random.key(0), 1e-2, 20.0)
        np.testing.assert_array_equal(after.weights.log_temperature, 0.0)


def test_entropies_to_keep():
    np.testing.assert_allclose(SAC().entropy_to_keep(ContinuousProbe()), 2 * (math.log(2) - 1), rtol=1e-6)
    np.testing.assert_allclose(SAC().entropy_to_keep(DiscreteProbe()), 0.5 * math.log(3), rtol=1e-6)
    assert SAC(target_entropy=-3.0).entropy_to_keep(ContinuousProbe()) == -3.0


def test_sac_begins_nearly_uniform():
    env = ContinuousProbe()
    meta_params, learner = begun(SOFT, env)
    timestep = TimeStep(jnp.full(3, 50.0), jnp.zeros(2), jnp.zeros(()), jnp.ones((), bool))
    policy = SOFT.step(meta_params, learner, (), timestep, jax.random.key(0))[0].policy
    actions = np.sort(np.asarray(jax.vmap(policy.sample)(jax.random.split(jax.random.key(1), 5000))), axis=0)
    # The share of actions below each, of a uniform one and here.
    np.testing.assert_allclose((actions + 2) / 4, np.linspace(0, 1, 5000)[:, None] * np.ones(2), atol=0.05)


@pytest.mark.parametrize("agent", [QUICK, pytest.param(SOFT, marks=pytest.mark.slow)], ids=["dqn", "sac"])
def test_padding_counts_for_nothing(agent):
    """What lies behind a phase's last episode may be anything; what lies before it is learned from."""
    meta_params, learner = begun(agent, Numbers())
    mask = np.asarray([[True, True, True, True], [True, True, False, False]])
    rewards = np.where(mask, [[0.01, 0.02, 0.03, 0.04], [0.05, 0.06, 0.0, 0.0]], [[9.0], [9.0]])
    told = steps_of(rewards, truncated=[1, 3], mask=mask)
    other = steps_of(np.where(mask, rewards, -5.0), truncated=[1, 3], mask=mask)
    learned = []
    for phase in (told, other):
        once = ADAPT(agent, meta_params, learner, phase, jax.random.key(3))
        learned.append(ADAPT(agent, meta_params, once, phase, jax.random.key(4)).networks)
        # Four rows of either stream are fewer than `learning_starts`.
        jax.tree.map(np.testing.assert_array_equal, once.networks, learner.networks)
    jax.tree.map(np.testing.assert_array_equal, *learned)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), learned[0], learner.networks)
    assert max(jax.tree.leaves(moved)) > 0


def test_learning_starts_with_its_step():
    """The ninth: not in the first phase of eight."""
    meta_params, learner = begun(QUICK, Numbers())
    phase = steps_of([[1, 2, 3, 4], [5, 6, 7, 8]])
    once = ADAPT(QUICK, meta_params, learner, phase, jax.random.key(3))
    assert int(once.networks.num_updates) == 0
    twice = ADAPT(QUICK, meta_params, once, phase, jax.random.key(4))
    assert int(twice.networks.num_updates) == QUICK.num_updates
    assert int(twice.num_adapts) == 2


def alive(agent, env, shape, tasks):
    life_keys = jax.random.split(jax.random.key(3), len(tasks))
    meta_params = agent.init(env, lives.as_trial(shape, env), jax.random.key(4))
    return meta_params, life_keys, lives.begin(agent, env, shape, meta_params, tasks, life_keys)


@WHO
def test_they_learn_in_probes(agent, env):
    """The task's action is found, whatever the observation; the same keys learn the same."""
    shape = LifeShape(num_adapts=300, num_streams=4, num_steps=4)
    agent = dataclasses.replace(agent, schedule="linear")
    tasks = sample_tasks(env, jax.random.split(jax.random.key(3), 3))
    meta_params, life_keys, life = alive(agent, env, shape, tasks)
    life, _ = lives.live(agent, env, shape, meta_params, life, 4)
    again = alive(agent, env, shape, tasks)[2]
    again, _ = lives.live(agent, env, shape, meta_params, again, 4)
    early = (life.task_params.networks, again.task_params.networks)
    jax.tree.map(np.testing.assert_array_equal, *early)
    life, _ = lives.live(agent, env, shape, meta_params, life, 296)
    exam = lives.examine(agent, env, meta_params, life.task_params, tasks, life_keys, 30)
    # An episode of the first pays 1 a step, (1 - 0.8⁴) / 0.2 steps on average; of the second minus the error.
    enough = 2.6 if isinstance(env, DiscreteProbe) else -0.3
    assert float(exam.returns.mean(1).min()) > enough


@pytest.mark.slow
def test_together_they_learn_what_they_learn_alone():
    agent, env = SOFT, Chain(continuous=True)
    meta_params, learner = begun(agent, env)
    k_seen, k_action, k_adapt = jax.random.split(jax.random.key(5), 3)
    phase = jax.vmap(lambda _: steps_of(np.ones((2, 9))))(jnp.arange(3))
    seen = jax.random.normal(k_seen, (3, 2, 9, 2))
    action = jax.random.uniform(k_action, (3, 2, 9, 1), minval=-1.0)
    timestep = phase.timestep._replace(observation=seen, action=action)
    phase = phase._replace(timestep=timestep, action=action, next_observation=seen + 1)
    keys = jax.random.split(k_adapt, 3)
    together = jax.jit(jax.vmap(agent.adapt, in_axes=(None, None, 0, 0)))(meta_params, learner, phase, keys)
    alone = ADAPT(agent, meta_params, learner, jax.tree.map(lambda x: x[1], phase), keys[1])
    close = functools.partial(np.testing.assert_allclose, atol=1e-5)
    jax.tree.map(lambda a, b: close(a, b[1]), alone, together)


@pytest.mark.parametrize(
    "kind", ["dqn", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sac", "sac-discrete"))]
)
def test_values_in_chains(kind):
    """γ = 0.5: Q is the sign that is paid next, half of it a step before; behind a cut that always pays 1 it
    is 2.
    """
    settings = {"discount": 0.5, "num_updates": 8}
    if kind == "dqn":
        agent = dataclasses.replace(QUICK, **settings, num_steps=2, dueling=True)
    else:
        agent = dataclasses.replace(SOFT, **settings, initial_temperature=1e-4, learn_temperature=False)
    shape, env = LifeShape(num_adapts=60, num_streams=4, num_steps=2), Chain(continuous=kind == "sac")
    meta_params, _, life = alive(agent, env, shape, jnp.arange(2))
    life, _ = lives.live(agent, env, shape, meta_params, life, shape.num_adapts)
    signs, endless = (jax.tree.map(lambda x, i=i: x[i], life.task_params.networks) for i in range(2))
    seen = jnp.asarray([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0], [-1.0, 1.0]])
    np.testing.assert_allclose(said(kind, signs, seen), [0.5, -0.5, 1, -1], atol=0.15)
    np.testing.assert_allclose(said(kind, endless, jnp.ones((1, 2))), [2.0], atol=0.15)


def said(kind, networks, seen):
    """Q [B], of the middle action where there are many."""
    if kind == "sac":
        q = jax.vmap(lambda critic: jax.vmap(lambda o: critic(o, jnp.zeros(1)))(seen))(networks.weights.critics)
        return q.mean(0)
    if kind == "sac-discrete":
        return jax.vmap(lambda critic: jax.vmap(critic)(seen)[:, 0])(networks.weights.critics).mean(0)
    return jax.vmap(networks.online)(seen)[:, 0]


@pytest.mark.parametrize("agent", [QUICK, pytest.param(SOFT, marks=pytest.mark.slow)], ids=["dqn", "sac"])
def test_a_life_copies_no_buffer(agent):
    """Neither an adaptation nor a step, in a compiled life of two learners."""
    length, shape, env = 123_457, LifeShape(10, 1, 2), Chain(False)
    agent = dataclasses.replace(agent, buffer_size=length, hidden_sizes=(4,))
    meta_params = agent.init(env, lives.as_trial(shape, env), jax.random.key(4))
    known = (jnp.arange(2), jax.random.split(jax.random.key(3), 2))
    begin = jax.eval_shape(lambda *known: lives.begin(agent, env, shape, meta_params, *known), *known)
    compiled = lives.live.lower(agent, env, shape, meta_params, begin, 10).compile().as_text() or ""
    assert f"{length}" in compiled
    assert not re.findall(rf"{length}[\],0-9{{}}]* (?:copy|select|concatenate)\(.*", compiled)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DQN(num_steps=0), "DQN.num_steps: got 0; expected between 1 and 1000"),
        (
            lambda: DQN(learning_starts=11, buffer_size=10),
            "learning_starts: got 11; expected between 0 and buf",
        ),
        (lambda: DQN(loss="l1"), "DQN.loss: got 'l1'; expected one of huber, squared"),  # pyright: ignore
        (lambda: SAC(hidden_sizes=()), r"SAC.hidden_sizes: got \(\); expected one layer or more"),
        (lambda: begun(DQN(), ContinuousProbe()), "action_space: got Box.*; expected Discrete from 0"),
        (lambda: begun(SAC(), MultiDiscreteProbe()), "action_space: got MultiDiscrete.* expects Box"),
        (
            lambda: begun(dataclasses.replace(QUICK, buffer_size=9), Numbers(), TrialShape(1, 10, 1)),
            "buffer_size",
        ),
        (
            lambda: ReplayBuffer(8, 2).add(ReplayBuffer(8, 2).init(Numbers()), steps_of(np.ones((2, 5)))),
            "buffer_size: got 8; expected at least the 10 steps of a phase",
        ),
    ],
)
def test_what_is_wrong_is_said_in_a_line(make, told):
    with pytest.raises(InputError, match=told):
        make()
