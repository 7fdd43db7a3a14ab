"""The evaluation: what it says of agents whose worth is known, and that it never says too much."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.rl2 import RL2
from quickstudy.envs.bandit import Bandit
from quickstudy.evaluation import evaluate, measure
from quickstudy.files import plain_json
from quickstudy.references.bandit_learners import Gittins
from quickstudy.references.random_agent import Random
from quickstudy.types import Outcome, TrialShape
from tests.probes import CountProbe, DiscreteProbe

TRIAL = TrialShape(num_episodes=3)


@dataclasses.dataclass(frozen=True)
class BrokenBandit(Bandit):
    """Pays NaN for its last arm."""

    def step(self, task, state, action, key):
        state, outcome = super().step(task, state, action, key)
        return state, outcome._replace(reward=jnp.where(action == self.num_arms - 1, jnp.nan, outcome.reward))


@dataclasses.dataclass(frozen=True)
class QuarterBandit(Bandit):
    """Every pull succeeds in a quarter of the tasks, and in the others none does."""

    def sample_task(self, key):
        return jnp.full(self.num_arms, jax.random.bernoulli(key, 0.25), jnp.float32)

    def step(self, task, state, action, key):
        return state, Outcome(jnp.int32(0), task[0], jnp.bool_(True), task[0] > 0.5)


@dataclasses.dataclass(frozen=True)
class PassingProbe(CountProbe):
    """Succeeds in the first step of an episode and in no other; the task is the number of steps, 1 or 2."""

    def sample_task(self, key):
        return jax.random.randint(key, (), 1, 3)

    def step(self, task, state, action, key):
        count, outcome = super().step(task, state, action, key)
        return count, outcome._replace(success=count == 1)


@pytest.mark.parametrize(
    ("agent", "trial", "num_tasks", "learned", "said"),
    [
        (Gittins(), TRIAL, 3000, True, "Learned to learn: "),
        (Random(), TRIAL, 3000, False, "Learned nothing: "),
        (RL2(hidden_size=8), TRIAL, 3000, False, "Learned nothing: "),
        (Gittins(), TRIAL, 20, False, "Not judged: 20 held-out tasks are too few"),
        (Gittins(), TrialShape(num_episodes=1), 3000, False, "Learned nothing: "),
    ],
)
def test_the_verdict(agent, trial, num_tasks, learned, said):
    verdict = evaluate(agent, Bandit(2), trial, num_tasks=num_tasks)["verdict"]
    assert verdict["learned"] == learned, verdict
    assert verdict["text"].startswith(said)


def test_rewards_that_are_not_numbers_are_never_a_success():
    evaluation = evaluate(Gittins(), BrokenBandit(2), TRIAL, num_tasks=100)
    assert evaluation["verdict"]["text"].startswith("Not measured: ")
    assert not evaluation["verdict"]["learned"]
    assert json.loads(json.dumps(plain_json(evaluation), allow_nan=False))["total"]["mean"] is None


def test_what_is_exact_of_a_family_is_not_claimed_of_a_subclass():
    assert "bayes-optimal" in evaluate(Random(), Bandit(2), TRIAL, num_tasks=50)["references"]
    evaluation = evaluate(Random(), QuarterBandit(2), TRIAL, num_tasks=50)
    assert "bayes-optimal" not in evaluation["references"]
    assert evaluation["optimum_gap_percent"] is None


def test_success_is_the_share_of_tasks_that_succeed():
    success = evaluate(Random(), QuarterBandit(2), TRIAL, num_tasks=4000)["success"]
    deviation = (0.25 * 0.75 / 4000) ** 0.5
    assert abs(success["mean"] - 0.25) < 4 * deviation
    assert success["high"] - success["low"] == pytest.approx(2 * 1.96 * deviation, rel=0.05)


def test_every_task_counts_once_whatever_the_batch(monkeypatch):
    """1000 tasks in one batch, or in batches that do not divide them: the same returns in the same order."""
    agent, env, key = Random(), CountProbe(), jax.random.key(0)
    meta_params = agent.init(env, TRIAL, key)
    whole = measure(agent, env, TRIAL, meta_params, 1000, key).episodes
    monkeypatch.setattr("quickstudy.evaluation.MAX_BATCH", 300)
    np.testing.assert_array_equal(measure(agent, env, TRIAL, meta_params, 1000, key).episodes, whole)
    # Tasks 1, 2, 3 pay 1, 2 + 4 and 3 + 6 an episode.
    assert set(np.unique(whole)) == {1.0, 6.0, 9.0}


def test_success_at_any_time_and_at_the_end_are_two_figures():
    """Every episode succeeds in its first step, which is the last one in half of the tasks."""
    evaluation = evaluate(Random(), PassingProbe(), TRIAL, num_tasks=4000)
    assert evaluation["success"]["mean"] == 1
    assert evaluation["success_at_end"]["mean"] == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 4000))


def test_the_curve_has_a_point_for_each_episode_of_each_phase():
    evaluation = evaluate(RL2(hidden_size=8), DiscreteProbe(), TrialShape(2, 3, 2), num_tasks=40)
    assert len(evaluation["episodes"]) == 3 * 2
    assert all(len(entry["episodes"]) == 6 for entry in evaluation["references"].values())
    assert sum(e["mean"] for e in evaluation["episodes"]) == pytest.approx(evaluation["total"]["mean"])


def test_examples_tell_the_trials_that_were_measured():
    evaluation = evaluate(Random(), Bandit(2), TRIAL, num_tasks=50)
    assert [len(example["steps"]) for example in evaluation["examples"]] == [3, 3, 3]
    key_steps = evaluation["examples"][0]["steps"]
    assert [step["episode"] for step in key_steps] == [0, 1, 2]
    assert all(step["reward"] in (0.0, 1.0) and step["action"] in (0, 1) for step in key_steps)
