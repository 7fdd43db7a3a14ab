"""One policy of many tasks: gradients that do not conflict, heads of a task's own, and that it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.fine_tune import FineTune
from quickstudy.agents.ppo import PPO
from quickstudy.errors import InputError
from quickstudy.lives import LifeShape
from quickstudy.transfer.multi_task import (
    MultiTask,
    Weights,
    train_together,
    with_mean_heads,
    without_conflicts,
)
from quickstudy.types import TrialShape
from tests.probes import DiscreteProbe

ENV, SHAPE = DiscreteProbe(), LifeShape(12, 2, 32)
FIELDS = {"hidden_sizes": (8,), "num_epochs": 4, "num_minibatches": 2, "learning_rate": 2e-2}
AGENT, START = PPO(**FIELDS), FineTune(**FIELDS)


def test_two_gradients_in_conflict_are_projected_off_each_other():
    """(1, 0) and (-1, 1): (½, ½) and (0, 1), whose mean this is."""
    gradients = jnp.array([[1.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(without_conflicts(gradients, jax.random.key(0)), [0.25, 0.75])


def test_gradients_that_agree_are_averaged():
    gradients = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(without_conflicts(gradients, jax.random.key(0)), [2 / 3, 1 / 3], rtol=1e-6)


def test_a_mean_of_heads():
    known = START.init(ENV, TrialShape(), jax.random.key(0))
    assert known.network.critic is not None
    last = (known.network.head, known.network.critic.out)
    heads = jax.tree.map(lambda x: jnp.stack([x + 1, x + 3]), last)
    network = with_mean_heads(Weights(known.network, heads))
    np.testing.assert_allclose(network.head.linear.bias, known.network.head.linear.bias + 2)
    assert np.array_equal(network.actor.layers[0].weight, known.network.actor.layers[0].weight)


@pytest.mark.parametrize(
    "settings", [MultiTask(), MultiTask("per-task", "pcgrad")], ids=["shared", "per-task, pcgrad"]
)
def test_it_learns_what_all_tasks_share(settings):
    """Both tasks pay for the same action."""
    known = START.init(ENV, TrialShape(), jax.random.key(1))
    tasks = jnp.array([2, 2])
    trained = train_together(settings, AGENT, ENV, SHAPE, known, tasks, jax.random.key(2))
    assert trained.rewards.shape == (12, 2)
    assert float(trained.rewards[0].mean()) < 0.6
    assert float(trained.rewards[-1].min()) > 0.8
    observation = jax.random.normal(jax.random.key(3), (64, 2))
    policy, _ = jax.vmap(trained.known.network)(observation)
    assert float((policy.mode() == 2).mean()) > 0.95
    assert jax.tree.structure(trained.known) == jax.tree.structure(known)
    assert float(trained.known.fisher[2].linear.bias.sum()) > 0


def test_heads_of_a_tasks_own_learn_what_differs():
    known = START.init(ENV, TrialShape(), jax.random.key(1))
    settings, tasks = MultiTask("per-task", "pcgrad"), jnp.array([0, 2])
    trained = train_together(settings, AGENT, ENV, SHAPE, known, tasks, jax.random.key(2))
    assert float(trained.rewards[-1].min()) > 0.8


@pytest.mark.parametrize(
    ("wrong", "named"), [({"heads": "two"}, "heads"), ({"conflicts": "cagrad"}, "conflicts")]
)
def test_what_is_wrong_is_named(wrong, named):
    with pytest.raises(InputError, match=named):
        MultiTask(**wrong)
