"""The learners with a table: plans against other plans, updates by hand, the exact value of what is learned."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys, lives
from quickstudy.agents.monte_carlo import MonteCarlo
from quickstudy.agents.policy_iteration import PolicyIteration
from quickstudy.agents.q_learning import QLearning
from quickstudy.agents.sarsa import SARSA
from quickstudy.agents.tables import epsilon_greedy, number
from quickstudy.agents.value_iteration import ValueIteration
from quickstudy.envs.tabular_mdp import TabularMDP
from quickstudy.errors import InputError
from quickstudy.lives import LifeShape
from quickstudy.maths import planning
from quickstudy.maths.planning import Counts, most_likely
from quickstudy.references.value_iteration import action_values
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TimeStep, Transition, TrialShape

KEY = jax.random.key(0)
AGENTS = [PolicyIteration(), ValueIteration(), MonteCarlo(), QLearning(), SARSA()]
ENV = TabularMDP()
SMALL = TabularMDP(3, 2, episode_length=4)
each_agent = pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: type(agent).__name__)
begin = jax.jit(lives.begin, static_argnums=(0, 1, 2))


# Plans.

FINITE = planning.finite_value_iteration, planning.finite_policy_iteration


@functools.cache
def processes(num: int = 4) -> tuple[jax.Array, jax.Array]:
    """Rewards [n, S, A] and transitions [n, S, A, S]."""
    return tuple(sample_tasks(ENV, jax.random.split(KEY, num)))


def test_both_finite_plans_are_the_optimum():
    @jax.jit
    @jax.vmap
    def plans(rewards: jax.Array, transitions: jax.Array) -> tuple[jax.Array, ...]:
        found = (plan(rewards, transitions, 10) for plan in (*FINITE, action_values))
        return tuple(found)

    by_value, by_policy, best = plans(*processes())
    assert by_value.shape == (4, 10, 10, 5)
    np.testing.assert_allclose(by_value, best, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_policy, best, rtol=1e-5, atol=1e-5)


def converged(rewards: Any, transitions: Any, discount: float) -> np.ndarray:
    """Q [S, A] by so many sweeps in float64 that nothing changes."""
    rewards, transitions = np.asarray(rewards, np.float64), np.asarray(transitions, np.float64)
    q = np.zeros(rewards.shape)
    for _ in range(round(40 / (1 - discount))):
        q = rewards + discount * transitions @ q.max(-1)
    return q


@pytest.mark.parametrize("discount", [0.9, 0.99])
def test_both_discounted_plans_are_the_optimum(discount: float):
    """Also where any step may be an episode's last, and wherever a plan begins."""

    @jax.jit
    @jax.vmap
    def plans(rewards: jax.Array, transitions: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        by_policy = planning.policy_iteration(rewards, transitions, discount, start.argmin(-1))
        return planning.value_iteration(rewards, transitions, discount, start), by_policy

    for stays in (1.0, 0.8):
        known = processes()[0], stays * processes()[1]
        best = np.stack([converged(r, p, discount) for r, p in zip(*known, strict=True)])
        for start in (jnp.zeros_like(known[0]), jnp.float32(best + 3.0)):
            by_value, by_policy = plans(*known, start)
            # What four units of rounding a sweep come to.
            np.testing.assert_allclose(by_value, best, rtol=1e-6 / (1 - discount), atol=1e-5)
            np.testing.assert_allclose(by_policy, best, rtol=5e-6, atol=1e-5)


def test_the_value_of_a_policy():
    rewards, transitions = (np.asarray(x[0], np.float64) for x in processes())
    policy = np.arange(10) % 5
    own = transitions[np.arange(10), policy], rewards[np.arange(10), policy]
    found = planning.policy_values(processes()[0][0], processes()[1][0], jnp.asarray(policy), 0.95)
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(10) - 0.95 * own[0], own[1]), rtol=1e-5)
    rows = jnp.asarray(np.stack([policy, policy, policy]))
    finite = planning.finite_policy_action_values(processes()[0][0], processes()[1][0], rows, 0.5)
    np.testing.assert_allclose(finite[2], rewards, rtol=1e-5)
    two_to_go = rewards + 0.5 * transitions @ own[1]
    np.testing.assert_allclose(finite[1], two_to_go, rtol=1e-5)
    np.testing.assert_allclose(
        finite[0], rewards + 0.5 * transitions @ two_to_go[np.arange(10), policy], rtol=1e-5
    )


def test_the_means_of_counts():
    """Of two visits one ended the episode; the other pair was never visited."""
    counts = Counts(jnp.array([[2.0, 0.0]]), jnp.array([[3.0, 0.0]]), jnp.array([[[1.0], [0.0]]]))
    rewards, transitions = most_likely(counts)
    np.testing.assert_allclose(rewards, [[1.5, 0.0]])
    np.testing.assert_allclose(transitions, [[[0.5], [1.0]]])
    rewards, transitions = most_likely(counts, prior_visits=2.0, prior_reward=5.0)
    np.testing.assert_allclose(rewards, [[13 / 4, 5.0]])
    np.testing.assert_allclose(transitions, [[[3 / 4], [1.0]]])


# Updates by hand, in a family of three states, two actions and episodes of two steps.


class Spaces:
    """All of an environment that a learner looks at."""

    max_steps = 2

    def __init__(self, observation_space: Any = None, action_space: Any = None):
        self.observation_space = observation_space or gymnasium.spaces.Discrete(3)
        self.action_space = action_space or gymnasium.spaces.Discrete(2)


def recorded(*streams: list[tuple], mask: list[bool] | None = None) -> Transition:
    """[S, T] of (time, state, action, reward, next state, how it ended: "", "terminated" or "truncated")."""
    time, state, action, reward, behind, how = (
        np.array([[step[i] for step in stream] for stream in streams]) for i in range(6)
    )
    zeros = jnp.zeros(time.shape)
    return Transition(
        timestep=TimeStep(jnp.asarray(state), jnp.zeros_like(state), zeros, jnp.asarray(time == 0)),
        action=jnp.asarray(action),
        reward=jnp.asarray(reward, jnp.float32),
        next_observation=jnp.asarray(behind),
        terminated=jnp.asarray(how == "terminated"),
        truncated=jnp.asarray(how == "truncated"),
        success=None,
        mask=jnp.ones(time.shape, bool) if mask is None else jnp.asarray([mask]),
        log_prob=zeros,
        value=zeros,
        next_value=zeros,
        extras={"step_in_episode": jnp.asarray(time)},
    )


def taught(agent: Any, transitions: Transition, values: Any = None) -> Any:
    """What a new learner, with these values [H, S, A] if given, makes of one phase."""
    blank = agent.init(Spaces(), TrialShape(10, 1, 1), KEY)
    start = agent.init_task(blank, KEY)
    if values is not None:
        start = start._replace(values=jnp.asarray(values, jnp.float32))
    return agent.adapt(blank, start, transitions, KEY)


VALUES = [[[0.0, 1.0], [2.0, 4.0], [6.0, 8.0]]]
FLAT = {"horizon": "discounted", "discount": 0.5, "learning_rate": 0.5, "rate_decay": 0.0}


def test_q_learning_by_hand():
    stream = [(0, 0, 1, 2.0, 1, ""), (1, 1, 0, 3.0, 2, "truncated"), (0, 0, 1, 0.0, 2, "")]
    values = taught(QLearning(**FLAT), recorded(stream), VALUES).values
    # 1 → 1 + (2 + 4/2 - 1)/2 = 2.5, then → 2.5 + (0 + 8/2 - 2.5)/2; 2 → 2 + (3 + 8/2 - 2)/2.
    np.testing.assert_allclose(values, [[[0.0, 3.25], [4.5, 4.0], [6.0, 8.0]]])


def test_streams_are_learned_from_in_the_order_of_time():
    first = [(0, 0, 1, 2.0, 1, ""), (1, 1, 1, 0.0, 0, "truncated")]
    second = [(0, 2, 0, 1.0, 0, ""), (1, 0, 0, 0.0, 2, "truncated")]
    values = taught(QLearning(**FLAT), recorded(first, second), VALUES).values
    # (0, 1) as above; (2, 0) sees it: 6 + (1 + 2.5/2 - 6)/2; (1, 1) → 4 + (2.5/2 - 4)/2; (0, 0) → 8/2/2.
    np.testing.assert_allclose(values, [[[2.0, 2.5], [2.0, 2.625], [4.125, 8.0]]])


@pytest.mark.parametrize("cls", [QLearning, SARSA, MonteCarlo])
@pytest.mark.parametrize(
    ("horizon", "how", "behind"),
    [
        ("discounted", "terminated", 0.0),
        ("discounted", "truncated", 1.0),
        ("finite", "terminated", 0.0),
        ("finite", "truncated", 0.0),
    ],
)
def test_what_counts_behind_an_end(cls: Any, horizon: str, how: str, behind: float):
    """By ε = 0 the value of state 2 is 8, of which half counts."""
    agent = cls(**{**FLAT, "horizon": horizon, "learning_rate": 1.0}, epsilon=0.0, final_epsilon=0.0)
    values = np.repeat(VALUES, 2 if horizon == "finite" else 1, axis=0)
    stream = [(0, 2, 0, 0.0, 1, ""), (1, 1, 0, 3.0, 2, how)]
    learned = taught(agent, recorded(stream), values)
    assert learned.values[-1, 1, 0] == 3.0 + 4.0 * behind


def test_sarsa_by_hand():
    stream = [(0, 0, 1, 2.0, 1, ""), (1, 1, 0, 3.0, 2, "truncated"), (0, 0, 1, 0.0, 2, "")]
    agent = SARSA(**FLAT, epsilon=0.5, final_epsilon=0.5)
    values = taught(agent, recorded(stream), VALUES).values
    # (1, 0) was taken next: 1 → 1 + (2 + 2/2 - 1)/2 = 2. Of state 2 the policy's mean is 8/2 + 7/2 = 7.5:
    # 2 → 2 + (3 + 7.5/2 - 2)/2 behind the cut, 2 → 2 + (7.5/2 - 2)/2 at the segment's end.
    np.testing.assert_allclose(values, [[[0.0, 2.875], [4.375, 4.0], [6.0, 8.0]]])


def test_monte_carlo_by_hand():
    """The first and the last episode are cut by the segment, and count for nothing."""
    stream = [
        (1, 2, 0, 9.0, 0, "truncated"),
        (0, 0, 1, 2.0, 0, ""),
        (1, 0, 1, 4.0, 1, "terminated"),
        (0, 1, 0, 9.0, 1, ""),
    ]
    # G = 2 + 4/2 = 4, then 4.
    first = taught(MonteCarlo(**FLAT), recorded(stream), VALUES)
    np.testing.assert_allclose(first.values, [[[0.0, 2.5], [2.0, 4.0], [6.0, 8.0]]])
    assert first.evidence.sum() == 1
    every = taught(MonteCarlo(**FLAT, visits="every"), recorded(stream), VALUES)
    np.testing.assert_allclose(every.values, [[[0.0, 3.25], [2.0, 4.0], [6.0, 8.0]]])
    finite = taught(
        MonteCarlo(**{**FLAT, "horizon": "finite", "learning_rate": 1.0, "discount": 1.0}), recorded(stream)
    )
    np.testing.assert_allclose(finite.values[:, 0, 1], [6.0, 4.0])
    assert jnp.count_nonzero(finite.values) == 2


def test_a_first_visit_is_one_of_its_episode():
    stream = [(0, 0, 0, 1.0, 0, ""), (1, 0, 0, 2.0, 0, "terminated")] * 2
    learned = taught(MonteCarlo(**{**FLAT, "learning_rate": 1.0, "discount": 1.0 - 1e-7}), recorded(stream))
    assert learned.evidence[0, 0, 0] == 2
    assert learned.values[0, 0, 0] == pytest.approx(3.0)


@pytest.mark.parametrize("cls", [QLearning, SARSA, MonteCarlo])
def test_the_rate_falls_with_the_visits(cls: Any):
    """With ω = 1 an entry is the mean of its targets."""
    stream = [(0, 0, 0, r, 0, "terminated") for r in (1.0, 2.0, 6.0)]
    assert taught(cls(rate_decay=1.0), recorded(stream)).values[0, 0, 0] == pytest.approx(3.0)
    half = taught(cls(rate_decay=0.5, learning_rate=0.5), recorded(stream[:2])).values[0, 0, 0]
    assert half == pytest.approx(0.5 + 0.5 / np.sqrt(2) * 1.5)


@pytest.mark.parametrize("agent", [PolicyIteration(), ValueIteration()], ids=repr)
def test_counts_by_hand(agent: Any):
    stream = [(1, 0, 1, 2.0, 1, "truncated"), (0, 1, 0, 3.0, 2, ""), (1, 2, 0, 4.0, 2, "terminated")]
    learned = taught(agent, recorded(stream))
    visits = np.array([[0, 1], [1, 0], [1, 0]])
    np.testing.assert_array_equal(learned.evidence.visits, visits)
    np.testing.assert_array_equal(learned.evidence.rewards, visits * [[2], [3], [4]])
    moves = np.zeros((3, 2, 3))
    moves[0, 1, 1] = moves[1, 0, 2] = 1
    np.testing.assert_array_equal(learned.evidence.moves, moves)
    # What was never done pays nothing and leads anywhere: the mean over states of the last step, 9/3.
    np.testing.assert_allclose(learned.values[1], [[0, 2], [3, 0], [4, 0]])
    np.testing.assert_allclose(learned.values[0], [[3, 5], [7, 3], [4, 3]], rtol=1e-6)


@each_agent
@pytest.mark.parametrize("horizon", ["finite", "discounted"])
def test_padding_counts_for_nothing(agent: Any, horizon: str):
    agent = dataclasses.replace(agent, horizon=horizon, discount=0.9)
    lived = [(0, 0, 1, 2.0, 1, ""), (1, 1, 0, 3.0, 2, "truncated")]
    padding = [(0, 2, 1, 7.0, 1, ""), (1, 1, 0, 8.0, 0, "terminated")]
    without = taught(agent, recorded(lived))
    padded = taught(agent, recorded(lived + padding, mask=[True, True, False, False]))
    for a, b in zip(jax.tree.leaves(padded), jax.tree.leaves(without), strict=True):
        np.testing.assert_array_equal(a, b)


# What is done with a table.


def test_the_mode_is_the_best_action_whatever_the_chance_of_others():
    values = jnp.array([1.0, 3.0, 3.0, 0.0])
    for epsilon in (0.0, 0.2, 1.0):
        policy = epsilon_greedy(values, epsilon)
        assert policy.mode() == 1
        chances = [epsilon / 4, 0.5 - epsilon / 4, 0.5 - epsilon / 4, epsilon / 4]
        np.testing.assert_allclose(np.exp(policy.log_prob(jnp.arange(4))), chances, atol=1e-6)


def test_exploration_falls_with_the_adaptations():
    agent = QLearning(epsilon=0.9, final_epsilon=0.1, exploration_share=0.5)
    blank = agent.init(SMALL, TrialShape(8, 1, 1), KEY)
    after = [float(agent.epsilon_after(blank, jnp.asarray(k))) for k in (0, 1, 4, 8, 20)]
    np.testing.assert_allclose(after, [0.9, 0.7, 0.1, 0.1, 0.1], rtol=1e-6)


def test_numbers_of_several_numbers():
    space = gymnasium.spaces.MultiDiscrete([3, 4])
    rows = jnp.array([[i, j] for i in range(3) for j in range(4)])
    np.testing.assert_array_equal(number(space, rows), np.arange(12))
    blank = QLearning().init(Spaces(space), TrialShape(), KEY)
    assert QLearning().init_task(blank, KEY).values.shape == (1, 12, 2)


@each_agent
def test_spaces_that_are_not_counted_are_refused(agent: Any):
    box, shifted = gymnasium.spaces.Box(-1.0, 1.0, (2,)), gymnasium.spaces.Discrete(3, start=1)
    for space in (box, shifted):
        with pytest.raises(InputError, match=f"observation_space: got {type(space).__name__}"):
            agent.init(Spaces(space), TrialShape(), KEY)
        with pytest.raises(InputError, match=f"action_space: got {type(space).__name__}"):
            agent.init(Spaces(action_space=space), TrialShape(), KEY)
    with pytest.raises(InputError, match="env: got 'Spaces'; expected a table"):
        agent.init(Spaces(gymnasium.spaces.Discrete(10_000_000)), TrialShape(), KEY)


@pytest.mark.parametrize(
    ("cls", "fields", "message"),
    [
        (QLearning, {"horizon": "long"}, "QLearning.horizon: got 'long'"),
        (QLearning, {"discount": 1.0}, "QLearning.discount.*below 1 for the horizon discounted"),
        (ValueIteration, {"discount": 0.0}, "ValueIteration.discount"),
        (SARSA, {"epsilon": 1.5}, "SARSA.epsilon"),
        (SARSA, {"final_epsilon": -0.5}, "SARSA.final_epsilon"),
        (SARSA, {"exploration_share": 2.0}, "SARSA.exploration_share"),
        (QLearning, {"learning_rate": 2.0}, "QLearning.learning_rate"),
        (QLearning, {"rate_decay": -1.0}, "QLearning.rate_decay"),
        (QLearning, {"initial_value": np.nan}, "QLearning.initial_value"),
        (MonteCarlo, {"visits": "last"}, "MonteCarlo.visits"),
        (PolicyIteration, {"prior_visits": -1.0}, "PolicyIteration.prior_visits"),
        (PolicyIteration, {"prior_reward": np.inf}, "PolicyIteration.prior_reward"),
    ],
)
def test_a_field_out_of_range_is_refused(cls: Any, fields: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        cls(**fields)


def test_monte_carlo_needs_room_for_an_episode():
    with pytest.raises(InputError, match="num_steps: got 1; expected at least 2"):
        taught(MonteCarlo(), recorded([(0, 0, 0, 1.0, 0, "")]))


# Whole lives.


@functools.cache
def lived(agent: Any, env: Any, shape: LifeShape, num_tasks: int, alone: int | None = None) -> Any:
    """The lives [N] at their end, or that of one of the tasks [1]."""
    numbers = np.arange(num_tasks) if alone is None else np.array([alone])
    task_keys, life_keys = keys.per_task(keys.branch(0, keys.TEST), numbers)
    meta_params = agent.init(env, lives.as_trial(shape, env), KEY)
    life = begin(agent, env, shape, meta_params, sample_tasks(env, task_keys), life_keys)
    return lives.live(agent, env, shape, meta_params, life, shape.num_adapts)[0]


def worth(env: TabularMDP, life: Any) -> tuple[np.ndarray, np.ndarray]:
    """-> (exact values of the greedy policies at an episode's start, those of the best ones), [N] each"""

    def judge(task: Any, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = (env.max_steps, env.num_states)
        policy = jnp.broadcast_to(values.argmax(-1), rows)
        own = planning.finite_policy_action_values(task.rewards, task.transitions, policy)
        best = action_values(task.rewards, task.transitions, env.max_steps)
        return own[0, 0, policy[0, 0]], best[0, 0].max()

    own, best = jax.jit(jax.vmap(judge))(life.task, life.task_params.values)
    return np.asarray(own), np.asarray(best)


SHORT = LifeShape(8, 2, 3)
"""Of episodes of 4 steps, so that most segments begin within one."""
QUICK = QLearning(horizon="finite", discount=1.0)
REST = [SARSA(), *(cls(horizon="discounted", discount=0.9) for cls in (ValueIteration, PolicyIteration))]


@pytest.mark.parametrize("agent", [QUICK, *(pytest.param(a, marks=pytest.mark.slow) for a in REST)], ids=repr)
def test_batched_equals_looped_and_the_same_key_is_the_same_life(agent: Any):
    learned = lived(agent, SMALL, SHORT, 3).task_params
    again = lived.__wrapped__(agent, SMALL, SHORT, 3).task_params
    alone = lived(agent, SMALL, SHORT, 3, alone=1).task_params
    for a, b, c in zip(*map(jax.tree.leaves, (learned, again, alone)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a[1:2], c, rtol=1e-5, atol=1e-5)


def test_a_segment_may_begin_within_an_episode():
    """Every row of the table is met as often as the others, and an episode begins in state 0 alone."""
    visits = lived(QUICK, SMALL, SHORT, 3).task_params.evidence
    np.testing.assert_array_equal(visits.sum((2, 3)), np.full((3, 4), 8 * 2 * 3 / 4))
    assert (visits[:, 0, 1:] == 0).all()


def test_trials_replay():
    agent, trial = QLearning(horizon="finite"), TrialShape(2, 2, 2)
    task_keys, trial_keys = keys.per_task(KEY, np.arange(3))
    blank = agent.init(SMALL, trial, KEY)
    live = jax.jit(collect, static_argnums=(0, 1, 2))
    trials = live(agent, SMALL, trial, blank, sample_tasks(SMALL, task_keys), trial_keys)
    said = jax.jit(replay, static_argnums=0)(agent, blank, trials).policy
    np.testing.assert_allclose(said.log_prob(trials.phases.action), trials.phases.log_prob, atol=1e-5)
    # In the first phase any action is as likely, and the others have learned.
    assert np.ptp(said.logits[:, 0]) == 0 < np.ptp(said.logits[:, 2])


@pytest.mark.parametrize("cls", [PolicyIteration, ValueIteration])
def test_plans_are_exact_for_what_was_counted(cls: Any):
    learned = lived(cls(), ENV, SOME, 8).task_params
    assert (learned.evidence.visits.sum((1, 2)) == SOME.steps_per_task).all()
    means = jax.vmap(most_likely)(learned.evidence)
    best = jax.jit(jax.vmap(lambda r, p: action_values(r, p, 10)))(*means)
    np.testing.assert_allclose(learned.values, best, rtol=1e-5, atol=1e-5)
    agent = cls(horizon="discounted", discount=0.9)
    plans = jax.jit(jax.vmap(agent.plan))(*means, jnp.zeros((8, 1, 10, 5)))
    best = np.stack([converged(r, p, 0.9) for r, p in zip(*means, strict=True)])
    np.testing.assert_allclose(plans[:, 0], best, rtol=1e-5, atol=1e-5)


def test_an_examination_earns_what_the_plan_is_worth():
    agent = ValueIteration()
    life = lived(agent, ENV, SOME, 8)
    meta_params = agent.init(ENV, lives.as_trial(SOME, ENV), KEY)
    exam = lives.examine(agent, ENV, meta_params, life.task_params, life.task, life.key, 400)
    assert exam.returns.shape == (8, 400)
    # A return's deviation is about 4.
    np.testing.assert_allclose(exam.returns.mean(1), worth(ENV, life)[0], atol=4 * 4 / np.sqrt(400))


SOME, MANY, MOST = LifeShape(100, 4, 10), LifeShape(500, 4, 10), LifeShape(2500, 8, 10)
# The least share of the optimum that each earns on average by greedy actions: after 400 episodes in 8 tasks,
# and after 2,000 in 32. Measured: .997 .997 .968 .984 .976 and .999 .999 .989 .995 .989.
SHARES = {
    PolicyIteration: (0.99, 0.998),
    ValueIteration: (0.99, 0.998),
    MonteCarlo: (0.95, 0.98),
    QLearning: (0.97, 0.99),
    SARSA: (0.96, 0.98),
}


@each_agent
def test_it_learns(agent: Any):
    own, best = worth(ENV, lived(agent, ENV, SOME, 8))
    assert (own <= best + 1e-3).all()
    assert own.sum() / best.sum() >= SHARES[type(agent)][0]


@pytest.mark.slow
@each_agent
def test_it_learns_nearly_all(agent: Any):
    own, best = worth(ENV, lived(agent, ENV, MANY, 32))
    assert own.sum() / best.sum() >= SHARES[type(agent)][1]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "least"), [(MonteCarlo, 0.98), (QLearning, 0.995), (SARSA, 0.99)])
def test_a_table_for_each_step_comes_nearer_with_time(cls: Any, least: float):
    """After 20,000 episodes; measured: .986 .999 .995."""
    own, best = worth(ENV, lived(cls(horizon="finite", discount=1.0), ENV, MOST, 16))
    assert own.sum() / best.sum() >= least
