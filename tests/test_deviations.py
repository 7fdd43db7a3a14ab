"""How wide an agent that takes gradient steps acts, before it knows anything of its task and after."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.anil import ANIL
from quickstudy.agents.cavia import CAVIA
from quickstudy.agents.learned_optimizer import LearnedOptimizer
from quickstudy.agents.leo import LEO
from quickstudy.agents.maml import MAML
from quickstudy.agents.meta_sgd import MetaSGD
from quickstudy.agents.mmaml import MMAML
from quickstudy.agents.reptile import Reptile
from quickstudy.errors import InputError
from quickstudy.outer.advantages import judge
from quickstudy.types import TimeStep, TrialShape
from tests.gradient_checks import SMALL, check_meta_gradient, lived
from tests.probes import ContinuousProbe, DiscreteProbe

AGENTS = [MAML, ANIL, MetaSGD, CAVIA, LEO, MMAML, LearnedOptimizer]


OBSERVED = ContinuousProbe().observation_space.low
TIMESTEP = TimeStep(
    OBSERVED, jnp.zeros(ContinuousProbe().action_space.shape), jnp.zeros(()), jnp.ones((), bool)
)


def deviations(agent, meta_params, nums_of_adapts):
    """Of the actions after each number of adaptations [k, A]."""
    task_params = agent.init_task(meta_params, jax.random.key(1))
    said = [
        agent.step(meta_params, task_params._replace(num_adapts=k), (), TIMESTEP, jax.random.key(2))[0].policy
        for k in nums_of_adapts
    ]
    return np.exp([policy.log_std for policy in said])


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.__name__.lower())
def test_every_number_of_adaptations_has_a_deviation_of_its_own(agent):
    env = ContinuousProbe()
    agent = agent(**SMALL, first_deviation=3.0, later_deviation=0.5)
    meta_params = agent.init(env, TrialShape(2, 2, 2), jax.random.key(0))
    ratios = agent.meta_network(meta_params).log_ratios
    np.testing.assert_allclose(ratios, np.full((2, *env.action_space.shape), np.log(0.5)), rtol=1e-6)
    wider = 0.1 * jnp.arange(1.0, ratios.size + 1).reshape(ratios.shape)
    meta_params = jax.tree.map(lambda x: wider if x is ratios else x, meta_params)
    # More adaptations than the training had are as wide as its last.
    found = deviations(agent, meta_params, range(5))
    half_range = env.action_space.high
    np.testing.assert_allclose(found[0], 3.0 * half_range, rtol=1e-6)
    # The network's own deviation begins with one half range.
    np.testing.assert_allclose(found[1:3], half_range * np.exp(wider), rtol=1e-6)
    np.testing.assert_array_equal(found[3:], found[[2, 2]])


@pytest.mark.parametrize(
    "agent",
    [MAML, *(pytest.param(a, marks=pytest.mark.slow) for a in AGENTS[1:])],
    ids=lambda agent: agent.__name__.lower(),
)
def test_the_meta_gradient_reaches_the_deviations(agent):
    check_meta_gradient(agent(**SMALL, first_deviation=2.0), ContinuousProbe(), 2)


def test_what_has_no_deviation_is_told():
    with pytest.raises(InputError, match=r"agent\.first_deviation: got 2\.0; expected None"):
        MAML(**SMALL, first_deviation=2.0).init(DiscreteProbe(), TrialShape(1, 2, 2), jax.random.key(0))
    with pytest.raises(InputError, match=r"first_deviation: got -1\.0; expected above 0"):
        MAML(first_deviation=-1.0)
    with pytest.raises(InputError, match=r"later_deviation: got 0\.5; expected above 0, and 1 without"):
        MAML(later_deviation=0.5)
    with pytest.raises(InputError, match=r"first_deviation: got 2\.0; expected None"):
        Reptile(first_deviation=2.0)


def test_what_is_earned_after_an_adaptation_counts_alone():
    _, trials = lived(MAML(**SMALL), ContinuousProbe(), 2)

    def judged(phases):
        return judge(
            trials,
            phases=phases,
            credit="episode",
            discount=0.9,
            gae_lambda=1.0,
            normalise=False,
            baseline="linear",
        )

    every, adapted, last = (judged(phases) for phases in ("all", "adapted", "last"))
    assert (every.weight.shape[1], adapted.weight.shape[1], last.weight.shape[1]) == (3, 2, 1)
    np.testing.assert_array_equal(adapted.weight, every.weight[:, 1:])
    np.testing.assert_allclose(adapted.advantage, every.advantage[:, 1:], atol=1e-6)
    np.testing.assert_array_equal(adapted.recorded.reward, trials.phases.reward[:, 1:])


def test_one_advantage_alone_is_not_normalised():
    """It would be 0, and nothing learned."""
    _, trials = lived(MAML(**SMALL), ContinuousProbe(), 1)
    one = trials._replace(phases=jax.tree.map(lambda x: x[:1, :, :1, :1], trials.phases))
    settings = {"credit": "episode", "discount": 0.9, "gae_lambda": 1.0, "baseline": "none"}
    with pytest.raises(InputError, match=r"outer.normalise_advantages: got True; expected False"):
        judge(one, phases="last", normalise=True, **settings)
    assert judge(one, phases="last", normalise=False, **settings).advantage.shape == (1, 1, 1, 1)
    judge(one, phases="all", normalise=True, **settings)


def test_where_nothing_is_adapted_all_that_there_is_counts():
    _, trials = lived(MAML(**SMALL), ContinuousProbe(), 0)
    batch = judge(
        trials,
        phases="adapted",
        credit="episode",
        discount=0.9,
        gae_lambda=1.0,
        normalise=False,
        baseline="none",
    )
    np.testing.assert_array_equal(batch.weight, trials.phases.mask)
