"""Settings of any agent: normalised observations, discretised actions."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy.agents.rl2 import RL2
from quickstudy.cli import main
from quickstudy.discretisation import Bins, DiscretisedActions
from quickstudy.envs.bandit import Bandit
from quickstudy.errors import InputError
from quickstudy.normalisation import NormalisedObservations, Statistics
from quickstudy.outer.ppo import PPO
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.session import load
from quickstudy.train import resume, train
from quickstudy.types import TimeStep, TrialShape
from quickstudy.updates import init_state, run_updates
from tests.probes import AdaptingProbe, ContinuousProbe
from tests.runs import assert_same_arrays, final_arrays, tiny

live_in = jax.jit(collect, static_argnums=(0, 1, 2))
replayed = jax.jit(replay, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class FarProbe(ContinuousProbe):
    """Observations of mean 1000 and deviation 50 in which the task stands, ±1 deviation."""

    @property
    def observation_space(self):
        return spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def reset(self, task, key):
        return jnp.zeros(()), 1000 + 50 * task

    def step(self, task, state, action, key):
        state, outcome = super().step(task, state, action, key)
        return state, outcome._replace(observation=1000 + 50 * task)


# A tiny training in the far probe, with both settings; as many tasks in every evaluation: one compiled shape.
FAR = tiny(
    env=FarProbe(),
    agent=AdaptingProbe(),
    outer=PPO(num_minibatches=2, credit="episode"),
    trial=TrialShape(1, 2, 1),
    num_test_tasks=32,
    normalise_observations=True,
    action_bins=5,
)


def test_bins_are_evenly_spaced_and_found_again():
    bins = Bins((-2.0, 0.0), (2.0, 1.0), 5)
    numbers = jnp.arange(5)[:, None] * jnp.ones(2, int)
    np.testing.assert_allclose(bins.value(numbers)[:, 0], [-2, -1, 0, 1, 2])
    np.testing.assert_allclose(bins.value(numbers)[:, 1], [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(bins.index(bins.value(numbers)), numbers)
    np.testing.assert_array_equal(bins.index(jnp.array([[-9.0, 9.0], [0.4, 0.36]])), [[0, 4], [2, 1]])


def test_statistics_are_those_of_all_observations():
    rng = np.random.default_rng(0)
    parts = [rng.normal(1000, 50, (n, 2)).astype(np.float32) for n in (7, 100, 3)]
    masks = [rng.random(len(part)) < 0.7 for part in parts]
    statistics = Statistics(jnp.zeros(()), jnp.zeros(2), jnp.ones(2))
    for part, mask in zip(parts, masks, strict=True):
        statistics = statistics.including(jnp.asarray(part), jnp.asarray(mask))
    every = np.concatenate([part[mask] for part, mask in zip(parts, masks, strict=True)]).astype(np.float64)
    assert float(statistics.seen) == len(every)
    np.testing.assert_allclose(statistics.mean, every.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.variance, every.var(0), rtol=1e-4)
    far = statistics.normalise(jnp.array([1e9, -1e9]))
    np.testing.assert_array_equal(far, [10, -10])


@pytest.mark.parametrize("agent", [RL2(hidden_size=8), AdaptingProbe()], ids=["parallel", "stepwise"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda agent: DiscretisedActions(agent, 5),
        NormalisedObservations,
        lambda agent: NormalisedObservations(DiscretisedActions(agent, 3)),
    ],
    ids=["bins", "normalised", "both"],
)
def test_what_was_collected_is_replayed(agent, wrap):
    agent, env, trial = wrap(agent), ContinuousProbe(), TrialShape(1, 2, 2)
    k_init, k_tasks, k_trials = jax.random.split(jax.random.key(0), 3)
    meta_params = agent.init(env, trial, k_init)
    tasks = sample_tasks(env, jax.random.split(k_tasks, 4))
    trials = live_in(agent, env, trial, meta_params, tasks, jax.random.split(k_trials, 4))
    output = replayed(agent, meta_params, trials)
    np.testing.assert_allclose(output.policy.log_prob(trials.phases.action), trials.phases.log_prob, atol=1e-5)
    if not isinstance(agent, NormalisedObservations):
        assert len(np.unique(trials.phases.action)) == 5


def test_a_log_probability_is_that_of_the_bin():
    agent, env = DiscretisedActions(RL2(hidden_size=4), 3), ContinuousProbe()
    meta_params = agent.init(env, TrialShape(), jax.random.key(0))
    timestep = first_step()
    output, _ = agent.step(meta_params, (), agent.init_memory(meta_params, ()), timestep, jax.random.key(1))
    every = jnp.stack(jnp.meshgrid(*[jnp.array([-2.0, 0.0, 2.0])] * 2), -1).reshape(-1, 2)
    total = sum(float(jnp.exp(output.policy.log_prob(action))) for action in every)
    assert total == pytest.approx(1, abs=1e-5)


def first_step():
    return TimeStep(jnp.zeros(3), jnp.zeros(2), jnp.zeros(()), jnp.array(True))


def test_the_outer_loop_keeps_the_statistics_of_what_was_lived():
    state, _ = run_updates(FAR, init_state(FAR), 3)
    statistics = state.outer.meta_params.statistics
    assert float(statistics.seen) == 3 * FAR.steps_per_update[-1]
    # The task is uniform in [-1, 1]: deviation 50/√3 around 1000.
    np.testing.assert_allclose(statistics.mean, 1000, atol=15)
    np.testing.assert_allclose(np.sqrt(statistics.variance), 50 / np.sqrt(3), rtol=0.25)


def test_an_evaluation_leaves_them_and_a_run_directory_holds_them(tmp_path):
    directory = tmp_path / "run"
    trained = train(FAR, directory, progress=False)
    loaded = load(directory, allow_code=True)
    for one, other in zip(
        jax.tree.leaves(trained.meta_params), jax.tree.leaves(loaded.meta_params), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert loaded.evaluate(num_tasks=32) == trained.evaluation
    protocol = json.loads((directory / "evaluation.json").read_text())["protocol"]["agent"]
    assert protocol["agent"]["num_bins"] == 5
    before = final_arrays(directory)[1]
    assert any("statistics" in name for name in before)
    resume(directory, progress=False, allow_code=True)
    assert_same_arrays(before, final_arrays(directory)[1])
    action = loaded.session().act(np.zeros(2, np.float32), first=True)
    assert set(np.asarray(action).tolist()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}


@pytest.mark.slow
def test_normalising_is_what_lets_it_learn_from_far_observations():
    """The best action is the observation, shifted and scaled; unnormalised, 1000 drowns the 50."""
    fields = {
        "env": FarProbe(),
        "agent": RL2(hidden_size=32),
        "trial": TrialShape(num_episodes=1),
        "num_tasks": 256,
        "num_updates": 60,
        "num_test_tasks": 256,
    }
    earned = {}
    for normalise in (False, True):
        experiment = tiny(**fields, normalise_observations=normalise)
        outer = dataclasses.replace(experiment.outer, learning_rate=1e-2)
        trained = train(dataclasses.replace(experiment, outer=outer), progress=False)
        earned[normalise] = trained.evaluation["total"]["mean"]
    assert earned[True] > earned[False] + 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"normalise_observations": True}, "normalise_observations: got True; expected False"),
        ({"action_bins": 3}, "action_bins: got 3; expected None"),
    ],
)
def test_what_has_nothing_to_set_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        train(tiny(env=Bandit(num_arms=2), **fields), progress=False)


def test_one_bin_is_refused_on_the_command_line(tmp_path, capsys):
    arguments = f"train rl2 point-navigation --action-bins 1 --out {tmp_path / 'x'}".split()
    assert main(arguments) == 2
    assert "action_bins: got 1; expected between 2 and 10,000" in capsys.readouterr().err
