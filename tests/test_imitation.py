"""Imitation as a start: the student comes near its teacher, then the outer loop takes over."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.rl2 import RL2
from quickstudy.cli import main
from quickstudy.envs.bandit import Bandit
from quickstudy.errors import InputError
from quickstudy.imitation import Imitating, Imitation
from quickstudy.outer.advantages import judge
from quickstudy.outer.evolution import Evolution
from quickstudy.outer.ppo import PPO
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates
from tests.runs import tiny

ENV, TRIAL = Bandit(num_arms=3), TrialShape(num_episodes=6)
AGENT = RL2(hidden_size=16)
PLAIN = PPO(num_minibatches=2, num_epochs=1, normalise_values=True)


def experiment(imitation, **changes):
    fields = {"agent": AGENT, "env": ENV, "outer": PLAIN, "trial": TRIAL, "num_tasks": 64}
    return tiny(**{**fields, "imitation": imitation, **changes})


def lived(num_tasks=32):
    params = AGENT.init(ENV, TRIAL, jax.random.key(0))
    k_tasks, k_trials = (jax.random.split(jax.random.key(i), num_tasks) for i in (1, 2))
    return params, collect(AGENT, ENV, TRIAL, params, sample_tasks(ENV, k_tasks), k_trials)


def test_a_student_comes_near_its_teacher_and_its_critic_near_the_returns():
    learning = experiment(
        Imitation("gittins", share=1.0, learning_rate=1e-2, num_minibatches=2), num_updates=120
    )
    state, first = run_updates(learning, init_state(learning), 10)
    state, _ = run_updates(learning, state, 110)
    _, last = run_updates(learning, state, 120)
    assert float(last["from_teacher"]) < 0.5 * float(first["from_teacher"])
    assert float(last["value_loss"]) < float(first["value_loss"])


def test_after_its_share_the_outer_loop_is_alone():
    """From there on an update is the outer loop's own, with progress counted from there."""
    params, trials = lived()
    key = jax.random.key(5)
    loop = Imitating(PLAIN, Imitation("gittins", share=0.5, num_minibatches=2), ENV)
    state = loop.init(AGENT, params, key)
    after, metrics = loop.update(AGENT, state, trials, jnp.float32(0.75), key)
    alone, _ = PLAIN.update(AGENT, PLAIN.init(AGENT, params, key), trials, jnp.float32(0.5), key)
    for ours, its in zip(jax.tree.leaves(after.meta_params), jax.tree.leaves(alone.meta_params), strict=True):
        np.testing.assert_allclose(ours, its, atol=1e-6)
    assert metrics["from_teacher"] == 0
    assert metrics["policy_loss"] != 0
    before, metrics = loop.update(AGENT, state, trials, jnp.float32(0.25), key)
    assert metrics["from_teacher"] > 0
    assert metrics["policy_loss"] == 0
    assert jax.tree.leaves(before.optimizer)[0] == 2


def test_what_the_teacher_would_have_done():
    """Behind pulls that the student chose: the divergence is from the policy of the teacher that lived them."""
    params, trials = lived(8)
    loop = Imitating(PLAIN, Imitation("greedy", share=1.0, num_minibatches=1), ENV)
    _, metrics = loop.update(
        AGENT, loop.init(AGENT, params, jax.random.key(0)), trials, jnp.float32(0), jax.random.key(0)
    )
    student = jax.nn.softmax(replay(AGENT, params, trials).policy.logits[:, 0, 0])
    expected = []
    for action, reward, said in zip(
        trials.phases.action[:, 0, 0], trials.phases.reward[:, 0, 0], np.asarray(student), strict=True
    ):
        wins, pulls = np.zeros(3), np.zeros(3)
        for a, r, p in zip(np.asarray(action), np.asarray(reward), said, strict=True):
            mean = (wins + 1) / (pulls + 2)
            best = mean > mean.max() - 1e-6
            target = best / best.sum()
            expected.append((target[best] * np.log(target[best] / p[best])).sum())
            wins[a] += r
            pulls[a] += 1
    np.testing.assert_allclose(metrics["from_teacher"], np.mean(expected), rtol=1e-4)


def test_normalised_values_are_deviations_from_the_mean_return():
    """With λ = 1 the target is the return itself, so in the critic's units it has mean 0 and deviation 1."""
    _, trials = lived()
    settings = {
        "phases": "all",
        "discount": 1.0,
        "gae_lambda": 1.0,
        "normalise": False,
        "normalise_values": True,
    }
    target = judge(trials, credit="trial", **settings).value_target[:, 0, 0]
    returns = np.cumsum(np.asarray(trials.phases.reward[:, 0, 0])[:, ::-1], axis=1)[:, ::-1]
    np.testing.assert_allclose(target, (returns - returns.mean(0)) / returns.std(0), atol=1e-4)
    silent = trials._replace(phases=trials.phases._replace(value=jnp.zeros_like(trials.phases.value)))
    advantage = judge(silent, credit="trial", **settings).advantage[:, 0, 0]
    np.testing.assert_allclose(advantage, returns - returns.mean(0), atol=1e-4)
    with pytest.raises(InputError, match=r"outer\.normalise_values: got True; expected False where"):
        judge(trials, credit="episode", **settings)


def test_wrong_settings_are_named(capsys):
    with pytest.raises(InputError, match=r"imitation\.teacher: got 'rl2'; expected an agent that needs no"):
        Imitation("rl2")
    with pytest.raises(InputError, match=r"imitation\.teacher"):
        Imitation("somebody_s.py:Teacher")
    with pytest.raises(InputError, match="tries out many agents"):
        _ = dataclasses.replace(experiment(Imitation("greedy")), outer=Evolution()).loop
    assert main(["train", "rl2", "bandit", "--imitation.teacher", "nobody"]) == 2
    assert main(["train", "rl2", "bandit", "--imitation.share", "2"]) == 2
    assert "Imitation.share: got 2.0; expected above 0, at most 1" in capsys.readouterr().err
