"""The guard keeps what is better beyond doubt, and discards what fine-tuning made worse."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import lives
from quickstudy.agents.fine_tune import FineTune
from quickstudy.errors import InputError
from quickstudy.rollout import begin_tasks
from quickstudy.transfer.guard import guarded, judge
from tests.probes import ContinuousProbe

NUM_TRIALS = 100


@dataclasses.dataclass(frozen=True)
class Signed(ContinuousProbe):
    """A task is a point and a sign of the reward: with -1 it pays for the distance."""

    def step(self, task, state, action, key):
        point, sign = task
        state, outcome = super().step(point, state, action, key)
        return state, outcome._replace(reward=sign * outcome.reward)


ENV = Signed()
AGENT = FineTune(
    hidden_sizes=(4,),
    num_epochs=4,
    num_minibatches=1,
    learning_rate=3e-2,
    critic_warmup=2,
    initial_log_std=-1.0,
    discount=0.0,
)
SHAPE = lives.LifeShape(16, 4, 12)


def known_policy():
    """Right in the known tasks, about (1, 1)."""
    known = AGENT.init(ENV, lives.as_trial(SHAPE, ENV), jax.random.key(0))
    head = known.network.head.linear
    aimed = eqx.tree_at(
        lambda x: (x.weight, x.bias), head, (0.1 * jnp.ones_like(head.weight), jnp.full(head.bias.shape, 0.5))
    )
    return eqx.tree_at(lambda k: k.network.head.linear, known, aimed)


def test_planted_harm_is_discarded_and_gain_is_kept():
    """New tasks are about (-1, -1); half of the lives are fine-tuned there by the reversed reward."""
    known, num = known_policy(), 2 * NUM_TRIALS
    points = -1.0 + 0.2 * jax.random.normal(jax.random.key(2), (num, 2))
    sign = jnp.repeat(jnp.array([1.0, -1.0]), NUM_TRIALS)
    life_keys, exam_keys = (jax.random.split(jax.random.key(i), num) for i in (3, 4))
    life = lives.begin(AGENT, ENV, SHAPE, known, (points, sign), life_keys)
    learned = lives.live(AGENT, ENV, SHAPE, known, life, SHAPE.num_adapts)[0].task_params

    true = (points, jnp.ones(num))
    chosen, verdict = guarded(AGENT, ENV, known, learned, true, exam_keys, num_episodes=10)
    assert verdict.keep[:NUM_TRIALS].sum() >= 95
    assert verdict.keep[NUM_TRIALS:].sum() <= 5
    start = begin_tasks(AGENT, known, exam_keys)
    for ours, its, old in zip(*map(jax.tree.leaves, (chosen, learned, start)), strict=True):
        keep = verdict.keep.reshape(-1, *(1,) * (ours.ndim - 1))
        assert np.array_equal(ours, np.where(keep, its, old))


def test_without_a_difference_little_is_kept():
    noise = np.random.default_rng(0).normal(size=(2, 2000, 20))
    kept = judge(*noise).keep.mean()
    assert 0.01 < kept < 0.05


def test_pairs_see_what_means_do_not():
    """Episodes differ by far more than policies do."""
    hard = np.random.default_rng(1).normal(scale=100.0, size=(1, 20))
    verdict = judge(hard + 1.0 + 0.01 * np.arange(20), hard)
    assert verdict.keep.all()
    np.testing.assert_allclose(verdict.difference, 1.095)
    assert 1.0 < verdict.low[0] < 1.095 < verdict.high[0]


def test_a_margin_and_the_reasons():
    start = np.zeros((3, 4))
    fine_tuned = np.array([[5.0, 5, 5, 5], [1, 1, 1, 1], [0, 6, 0, 6]])
    verdict = judge(fine_tuned, start, margin=2.0)
    assert verdict.keep.tolist() == [True, False, False]
    said = ("all above", "none of it above", "not all above")
    assert all(words in reason for words, reason in zip(said, verdict.reason, strict=True))


def test_equal_returns_are_no_gain():
    assert not judge(np.full((1, 5), 500.0), np.full((1, 5), 500.0)).keep.any()


@pytest.mark.parametrize(("fine_tuned", "start"), [((1, 1), (1, 1)), ((2, 5), (2, 4))])
def test_what_cannot_be_judged_is_named(fine_tuned, start):
    with pytest.raises(InputError, match="expected"):
        judge(np.zeros(fine_tuned), np.zeros(start))
