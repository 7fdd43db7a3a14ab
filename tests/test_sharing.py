"""Steps of other tasks: what the store takes, who changes it, and how the agent sees them."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.episodic import Episodic
from quickstudy.cli import main
from quickstudy.errors import InputError
from quickstudy.evaluation import training_split
from quickstudy.outer.evolution import Evolution
from quickstudy.outer.ppo import PPO
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.session import load
from quickstudy.sharing import Experience, no_experience
from quickstudy.train import resume, train
from quickstudy.types import TimeStep, Transition, TrialShape
from quickstudy.updates import init_state, run_updates
from tests.probes import TRIAL, ContinuousProbe, DiscreteProbe
from tests.runs import assert_same_arrays, final_arrays, tiny

# Returns are rewards, 0 or 1, so that a store which anything but experience touched would show.
AGENT = Episodic(hidden_size=4, key_size=2, capacity=5, num_shared=32, discount=0.0)
SHARED = tiny(agent=AGENT, env=DiscreteProbe(), trial=TRIAL)
live_in = jax.jit(collect, static_argnums=(0, 1, 2))
replayed = jax.jit(replay, static_argnums=0)


def phases(number):
    """One stream of two tasks with rewards 1, 2, 4, 8: an episode of two steps, one that the phase cuts off; of
    the second task only the first step counts.
    """
    rewards = jnp.array([1.0, 2, 4, 8] * 2).reshape(2, 1, 1, 4)
    first = jnp.zeros(rewards.shape, bool)
    ends = first.at[..., 1].set(True)
    mask = jnp.array([[True] * 4, [True, False, False, False]]).reshape(rewards.shape)
    seen = number + jnp.arange(8.0).reshape(*rewards.shape, 1) / 10
    timestep = TimeStep(seen, jnp.zeros(rewards.shape, int), rewards, first)
    actions = jnp.arange(8).reshape(rewards.shape)
    nothing = jnp.zeros(rewards.shape)
    return Transition(
        timestep, actions, rewards, seen, ends, first, None, mask, nothing, nothing, nothing, {}
    )  # fmt: skip


def test_the_store_takes_some_known_steps_for_its_oldest():
    """Steps 0, 1 and 4 are known, with returns 1 + 2/2, 2 and 1 + 2/2; two of them each time, of 32."""
    store = Experience(jnp.zeros((32, 1)), jnp.zeros(32, int), jnp.zeros(32), jnp.zeros(32, bool))
    including = jax.jit(lambda store, number: store.including(phases(number), 0.5, jax.random.key(number)))
    for number in range(20):
        store = including(store, number)
        assert store.known.sum() == min(32, 2 * (number + 1))
        assert store.known[-2:].all()
        if number == 0:
            assert not store.known[:-2].any()
    # Of the last 16 updates, in order: those before them made room.
    np.testing.assert_array_equal(np.floor(store.observations[:, 0]), np.repeat(np.arange(4, 20), 2))
    assert set(np.asarray(store.actions)) == {0, 1, 4}
    np.testing.assert_allclose(store.observations[:, 0] % 1, store.actions / 10, atol=1e-5)
    np.testing.assert_array_equal(store.returns, 2.0)


def test_a_smaller_trial_than_the_store_takes_fills_what_it_can():
    store = Experience(jnp.zeros((320, 1)), jnp.zeros(320, int), jnp.zeros(320), jnp.zeros(320, bool))
    store = store.including(phases(0), 0.5, jax.random.key(0))
    assert sorted(np.asarray(store.actions[store.known])) == [0, 1, 4]


@pytest.fixture(scope="module")
def lived():
    """-> (state after three updates, trials of fresh tasks)"""
    state, _ = run_updates(SHARED, init_state(SHARED), 3)
    return state, trials_of(SHARED, state.outer.meta_params)


def trials_of(experiment, meta_params):
    env = training_split(experiment.env)
    tasks = sample_tasks(env, jax.random.split(jax.random.key(1), 4))
    trial_keys = jax.random.split(jax.random.key(2), 4)
    return live_in(experiment.learner, env, experiment.trial, meta_params, tasks, trial_keys)


def test_a_training_fills_the_store_with_what_it_lived(lived):
    store = lived[0].outer.meta_params.experience
    assert store.known.sum() == 3 * (32 // 16)
    assert not init_state(SHARED).outer.meta_params.experience.known.any()
    known = jax.tree.map(lambda x: x[store.known], store)
    assert known.observations.std() > 0.1
    assert set(np.asarray(known.returns)) <= {0.0, 1.0}


@pytest.mark.parametrize("retrieval", ["attention", "nearest", "prototypes"])
def test_what_was_collected_is_replayed(retrieval, lived):
    """By the sequence form; what other tasks taught matters."""
    experiment = dataclasses.replace(SHARED, agent=dataclasses.replace(AGENT, retrieval=retrieval))
    state = init_state(experiment).outer.meta_params
    meta_params = state._replace(experience=lived[0].outer.meta_params.experience)
    trials = trials_of(experiment, meta_params)
    output = replayed(experiment.learner, meta_params, trials)
    np.testing.assert_allclose(output.policy.log_prob(trials.phases.action), trials.phases.log_prob, atol=1e-5)
    np.testing.assert_allclose(output.value, trials.phases.value, atol=1e-5)
    without = replayed(experiment.learner, state, trials)
    assert np.abs(without.value - output.value).max() > 1e-2


def test_gradients_reach_the_keys_through_what_is_shared(lived):
    """Nothing else is found by a memory that is reset."""
    experiment = dataclasses.replace(SHARED, agent=dataclasses.replace(AGENT, reset="episode"))
    full = lived[0].outer.meta_params
    empty = init_state(experiment).outer.meta_params.experience

    @jax.jit
    def gradient(experience):
        def loss(agent):
            return replay(
                experiment.learner, full._replace(agent=agent, experience=experience), lived[1]
            ).value.sum()

        return jax.grad(loss)(full.agent).to_key.weight

    assert np.abs(gradient(full.experience)).min() > 0
    np.testing.assert_array_equal(gradient(empty), 0.0)


def test_calls_of_any_lengths_and_a_resumed_training_give_the_same_bits(lived, tmp_path):
    directory = tmp_path / "run"
    trained = train(SHARED, directory, progress=False)
    before = final_arrays(directory)[1]
    assert any("experience" in name for name in before)
    loaded = load(directory, allow_code=True)
    # An evaluation leaves the store as it is.
    assert loaded.evaluate(num_tasks=64) == trained.evaluation
    np.testing.assert_array_equal(loaded.meta_params.experience.returns, trained.meta_params.experience.returns)
    shutil.rmtree(directory / "checkpoints" / "20")
    resume(directory, progress=False, allow_code=True)
    assert_same_arrays(before, final_arrays(directory)[1])
    # Three updates at once, and what five and then ten calls made of them.
    again, _ = run_updates(SHARED, init_state(SHARED), 1)
    again, _ = run_updates(SHARED, again, 3)
    jax.tree.map(np.testing.assert_array_equal, again.outer.experience, lived[0].outer.experience)
    action = loaded.session().act(np.zeros(2, np.float32), first=True)
    assert 0 <= int(action) < 3


def test_other_settings_of_the_agent_see_what_is_shared_too():
    """Observations are normalised, actions one of the bins, before they are encoded."""
    experiment = tiny(
        agent=AGENT,
        env=ContinuousProbe(),
        outer=PPO(num_minibatches=2, credit="episode"),
        trial=TrialShape(1, 2, 1),
        normalise_observations=True,
        action_bins=5,
    )
    state, _ = run_updates(experiment, init_state(experiment), 2)
    params = state.outer.meta_params
    store, statistics, agent = params.experience, params.agent.statistics, params.agent.agent.agent
    shared = experiment.learner.init_task(params, jax.random.key(0)).shared
    assert float(statistics.seen) == 2 * experiment.steps_per_update[-1]
    np.testing.assert_array_equal(shared.known, store.known)
    np.testing.assert_allclose(
        shared.keys, agent.to_key(statistics.normalise(store.observations)), rtol=1e-5, atol=1e-6
    )
    index = np.asarray(store.actions[store.known] + 2.0).round().astype(int)
    np.testing.assert_allclose(store.actions[store.known], index - 2.0)
    chosen = np.concatenate([np.eye(5)[index[:, 0]], np.eye(5)[index[:, 1]]], axis=1)
    np.testing.assert_array_equal(shared.actions[store.known], chosen)
    trials = trials_of(experiment, params)
    output = replayed(experiment.learner, params, trials)
    np.testing.assert_allclose(output.policy.log_prob(trials.phases.action), trials.phases.log_prob, atol=1e-5)


def test_evolution_does_not_perturb_what_is_shared():
    experiment = dataclasses.replace(SHARED, outer=Evolution(population_size=8, weight_decay=0.5))
    state, _ = run_updates(experiment, init_state(experiment), 3)
    store = state.outer.meta_params.experience
    assert store.known.sum() == 6
    assert set(np.asarray(store.returns)) <= {0.0, 1.0}
    members = experiment.loop.propose(experiment.learner, state.outer)
    assert members.experience.returns.shape == (8, 32)
    assert (members.experience.observations == store.observations).all()
    assert len(np.unique(members.agent.embed.weight[:, 0, 0])) == 8


def test_nothing_is_shared_by_default():
    plain = dataclasses.replace(SHARED, agent=dataclasses.replace(AGENT, num_shared=0))
    assert plain.learner is plain.agent
    assert plain.loop is plain.outer


def test_a_store_has_the_families_own_types():
    store = no_experience(DiscreteProbe(), 3)
    assert (store.observations.dtype, store.observations.shape) == (jnp.float32, (3, 2))
    assert store.actions.dtype == jnp.int32


def test_fewer_than_none_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match=r"Episodic.num_shared: got -1; expected between 0 and"):
        Episodic(num_shared=-1)
    assert main(f"train episodic bandit --agent.num-shared -1 --out {tmp_path / 'x'}".split()) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
