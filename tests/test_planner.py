"""The learned planner: its plans against those of learners that know the prior; names, sizes, learning."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys
from quickstudy.agents.planner import Planner, plan_for
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.envs.tabular_mdp import TabularMDP
from quickstudy.errors import InputError
from quickstudy.evaluation import measure
from quickstudy.experiment import Experiment
from quickstudy.outer.ppo import PPO
from quickstudy.references.bayes_planner import BayesPlanner
from quickstudy.references.tabular_learners import GreedyPlanner
from quickstudy.references.tabular_learning import Counts
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TimeStep, TrialShape
from quickstudy.updates import init_state, run_updates

AGENT, ENV, TRIAL = Planner(), TabularMDP(3, 2, episode_length=4), TrialShape(0, 1, 3)
COUNTS = Counts(
    jnp.array([[3.0, 0.0], [1.0, 2.0], [0.0, 0.0]]),
    jnp.array([[4.5, 0.0], [0.2, 3.0], [0.0, 0.0]]),
    jnp.array([[[1.0, 2, 0], [0, 0, 0]], [[0, 0, 1.0], [1, 0, 1]], [[0, 0, 0], [0, 0, 0]]]),
    jnp.int32(7),
)
LEFT = jnp.float32(1 - 6 / 12)


def params_of(env=ENV, seed=0, trial=TRIAL):
    return AGENT.init(env, trial, jax.random.key(seed))


def told_the_prior(bonus_per_root=0.0):
    """Weights that make it a learner which knows the family's prior, with a bonus c sqrt(left / (1 + n))."""
    small = 1e-3
    params = params_of()
    one = jnp.log(jnp.expm1(1.0))
    widen = jnp.zeros_like(params.widen.weight).at[4, 0].set(small)
    bonus = jnp.zeros_like(params.bonus.weight).at[0, 0].set(bonus_per_root / small)
    return eqx.tree_at(
        lambda p: (p.prior_visits, p.prior_moves, p.prior_mean, p.widen.weight, p.bonus.weight),
        params,
        (one, one, jnp.float32(1.0), widen, bonus),
    )


@pytest.mark.parametrize(("learner", "bonus"), [(GreedyPlanner(), 0.0), (BayesPlanner(bonus=1.3), 1.3)])
def test_weights_that_know_the_prior_plan_as_a_learner_that_is_told_it(learner, bonus):
    tables = learner.init(ENV, TRIAL, jax.random.key(0))
    expected = learner.plan(tables, COUNTS, jax.random.key(0))
    plan = plan_for(told_the_prior(bonus), COUNTS, LEFT)
    assert plan.shape == (4, 3, 2)
    np.testing.assert_allclose(plan, expected, atol=1e-4)


def test_sure_of_itself_it_acts_as_the_bayes_planner():
    """In whole trials, by what each of them would do."""
    sure = eqx.tree_at(lambda p: p.sharpness.bias, told_the_prior(1.3), jnp.full(1, 8.0))
    task_keys, trial_keys = keys.per_task(jax.random.key(3), jnp.arange(20))
    trials = collect(AGENT, ENV, TRIAL, sure, sample_tasks(ENV, task_keys), trial_keys)
    teacher = BayesPlanner()
    said = replay(teacher, teacher.init(ENV, TRIAL, jax.random.key(0)), trials)
    best = jnp.take_along_axis(said.policy.logits, trials.phases.action[..., None], -1)[..., 0]
    # But for ties within rounding, of which the first step has one in every trial.
    assert (np.asarray(best) > -2.0).mean() > 0.99


def steps(states, actions, rewards, firsts):
    return TimeStep(jnp.array(states), jnp.array(actions), jnp.array(rewards), jnp.array(firsts))


STATES, ACTIONS = np.array([0, 1, 1, 2, 0, 2]), np.array([0, 1, 0, 1, 1, 0])
REWARDS, FIRSTS = [0.0, 1.5, -0.3, 2.0, 0.7, 0.1], [True, False, False, False, True, False]


def says(params, states=STATES, actions=ACTIONS):
    return AGENT.unroll(params, (), AGENT.init_memory(params, ()), steps(states, actions, REWARDS, FIRSTS))


def test_other_names_for_states_and_actions_change_nothing_but_the_names():
    params = params_of()
    plain, renamed = says(params), says(params, np.array([2, 0, 1])[STATES], np.array([1, 0])[ACTIONS])
    np.testing.assert_allclose(renamed.policy.logits[:, ::-1], plain.policy.logits, atol=1e-5)
    np.testing.assert_allclose(renamed.value, plain.value, atol=1e-5)
    assert np.ptp(np.asarray(plain.policy.logits[-1])) > 1e-3


def test_both_forms_agree():
    params = params_of()
    timesteps = steps(STATES, ACTIONS, REWARDS, FIRSTS)
    memory, outputs = AGENT.init_memory(params, ()), says(params)
    for i in range(len(STATES)):
        now = jax.tree.map(lambda x, i=i: x[i], timesteps)
        output, memory = AGENT.step(params, (), memory, now, jax.random.key(0))
        np.testing.assert_allclose(output.policy.logits, outputs.policy.logits[i], atol=1e-6)
        np.testing.assert_allclose(output.value, outputs.value[i], atol=1e-6)


def test_the_weights_fit_any_size_and_length():
    few = params_of()
    many = params_of(TabularMDP(9, 5, episode_length=6), trial=TrialShape(0, 1, 50))
    assert jax.tree.map(jnp.shape, jax.tree.leaves(few)) == jax.tree.map(jnp.shape, jax.tree.leaves(many))


def test_all_weights_have_a_gradient():
    def loss(params):
        outputs = says(params)
        return outputs.policy.log_prob(jnp.ones(len(STATES), jnp.int32)).sum() + (outputs.value**2).sum()

    for path, grad in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(params_of())):
        assert np.abs(grad).max() > 0, path


def test_it_needs_states_that_are_counted():
    with pytest.raises(InputError, match=r"observation_space: got Box"):
        AGENT.init(PointNavigation(), TRIAL, jax.random.key(0))


def test_it_learns_by_reinforcement_alone_what_a_visit_is_worth():
    """Against its own first weights, and against planning without a bonus for the family's own prior."""
    env = TabularMDP(4, 3, episode_length=4)
    outer = PPO(
        learning_rate=2e-2, discount=1.0, gae_lambda=0.9, num_epochs=1,
        entropy_coefficient=0.0, normalise_values=True,
    )  # fmt: skip
    trial = TrialShape(0, 1, 8)
    experiment = Experiment(agent=AGENT, env=env, outer=outer, trial=trial, num_tasks=128, num_updates=50)
    first = init_state(experiment)
    last, _ = run_updates(experiment, first, 50)

    def earns(agent, meta_params):
        return measure(agent, env, trial, meta_params, 2000, jax.random.key(5)).episodes.sum(-1).mean()

    greedy = GreedyPlanner()
    before, after = (earns(AGENT, s.outer.meta_params) for s in (first, last))
    planned = earns(greedy, greedy.init(env, trial, jax.random.key(0)))
    assert after > before + 1.0
    assert after > planned + 0.5
