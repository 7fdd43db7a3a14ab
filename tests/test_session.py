"""A trained agent in somebody else's loop, with NumPy only."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import quickstudy as qs
from quickstudy.agents.maml import MAML
from quickstudy.agents.rl2 import RL2
from quickstudy.envs.bandit import Bandit
from quickstudy.errors import InputError
from quickstudy.outer.ppo import PPO
from quickstudy.references.bandit_learners import Thompson
from quickstudy.session import Session, _phase
from quickstudy.types import TimeStep
from tests.runs import environment, tiny

NUM_PULLS = 8


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "trained"
    experiment = tiny(
        agent=RL2(hidden_size=16),
        outer=PPO(learning_rate=1e-2, discount=1.0, gae_lambda=0.5, final_entropy_coefficient=0.0),
        trial=qs.TrialShape(num_episodes=NUM_PULLS),
        num_tasks=256,
        num_updates=150,
        evaluate_every=150,
    )
    qs.train(experiment, directory, progress=False)
    return qs.load(directory)


def pulled(session, probabilities, num_pulls, generator):
    """Play one bandit with plain NumPy -> the arms pulled."""
    session.new_task()
    arm, arms = session.act(0, first=True), []
    for _ in range(num_pulls):
        arms.append(int(arm))
        reward = float(generator.random() < probabilities[arm])
        arm = session.act(0, reward=reward, first=True)
    return arms


def test_it_finds_the_good_arm_in_a_plain_loop(loaded):
    session, generator = loaded.session(seed=0), np.random.default_rng(0)
    ends = [pulled(session, p, NUM_PULLS, generator)[-4:] for p in [(0.05, 0.95)] * 20 + [(0.95, 0.05)] * 20]
    share = np.mean([arm == 1 for arms in ends[:20] for arm in arms])
    assert share > 0.75
    assert np.mean([arm == 0 for arms in ends[20:] for arm in arms]) > 0.75


def test_an_agent_learns_by_gradients_where_a_phase_ends():
    """What `adapt` makes of a phase is what the agent makes of the same steps, recorded by hand."""
    agent, env = MAML(), Bandit()
    meta_params = agent.init(env, qs.TrialShape(1, 1, 4), jax.random.key(0))
    session = Session(agent, env, meta_params, seed=3)
    with pytest.raises(InputError, match="nothing was lived"):
        session.adapt()
    rewards, actions = [1.0, 0.0, 1.0, 1.0], []
    for t in range(4):
        actions.append(int(session.act(0, reward=rewards[t - 1] if t else 0.0, first=True)))
    before = session._task_params
    session.adapt(rewards[3])

    def log_prob(network, action):
        return network(jnp.int32(0))[0].log_prob(action)

    advantage = agent.judge(_phase([*_recorded(agent, meta_params, actions, rewards)], rewards[3])).advantage[0]
    slopes = jax.vmap(jax.grad(log_prob), (None, 0))(before.adapted, jnp.array(actions))
    mean = jax.tree.map(lambda g: jnp.tensordot(advantage, g, 1) / 4, slopes)
    expected = jax.tree.map(lambda p, g: p + agent.inner_rate * g, before.adapted, mean)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), session._task_params.adapted, expected
    )
    assert session._task_params.num_adapts == 1
    # Four pulls of one episode each, without a discount between them: an advantage is a reward, normalised.
    assert np.corrcoef(advantage, rewards)[0, 1] > 0.99
    session.new_task()
    jax.tree.map(np.testing.assert_array_equal, session._task_params.adapted, meta_params)


def _recorded(agent, meta_params, actions, rewards):
    """The steps of four pulls as a session keeps them."""
    task_params = agent.init_task(meta_params, jax.random.key(0))
    for t, action in enumerate(actions):
        earned = jnp.float32(rewards[t - 1] if t else 0.0)
        seen = TimeStep(jnp.int32(0), jnp.int32(actions[t - 1] if t else 0), earned, jnp.ones((), bool))
        output, _ = agent.step(meta_params, task_params, (), seen, jax.random.key(0))
        yield seen, output, jnp.int32(action)


def test_it_says_what_the_engine_says(loaded):
    """The greedy actions are the modes of the policy unrolled over what was lived."""
    session, generator = loaded.session(seed=0), np.random.default_rng(0)
    rewards, actions = [0.0], []
    for t in range(NUM_PULLS):
        actions.append(int(session.act(0, reward=rewards[t], first=True, greedy=True)))
        rewards.append(float(generator.random() < 0.5))
    timesteps = TimeStep(
        observation=jnp.zeros(NUM_PULLS, jnp.int32),
        action=jnp.array([0, *actions[:-1]]),
        reward=jnp.array(rewards[:-1]),
        first=jnp.ones(NUM_PULLS, bool),
    )
    agent, params = loaded.experiment.agent, loaded.meta_params
    output = agent.unroll(params, (), agent.init_memory(params, ()), timesteps)
    assert actions == output.policy.mode().tolist()


def test_the_same_seed_gives_the_same_actions(loaded):
    runs = [pulled(loaded.session(seed), (0.4, 0.6), NUM_PULLS, np.random.default_rng(1)) for seed in (0, 0)]
    assert runs[0] == runs[1]


def test_another_seed_gives_other_actions():
    """Of an agent that has learned nothing yet, whose arms are all as likely."""
    agent, env = tiny().agent, tiny().env
    meta_params = agent.init(env, qs.TrialShape(), jax.random.key(0))
    sessions = [qs.Session(agent, env, meta_params, seed=seed) for seed in range(5)]
    assert len({tuple(pulled(x, (0.5, 0.5), 20, np.random.default_rng(1))) for x in sessions}) == 5


def test_a_new_task_forgets_the_old_one(loaded):
    """The policy's mode at the first step depends on nothing that was lived before."""
    session = loaded.session(seed=0)
    before = int(session.act(0, first=True, greedy=True))
    for _ in range(5):
        session.act(0, reward=1.0, first=True)
    session.new_task()
    assert int(session.act(0, first=True, greedy=True)) == before


def test_actions_are_numpy(loaded):
    action = loaded.session().act(np.int64(0), first=True)
    assert isinstance(action, np.ndarray)
    assert action.shape == ()


@pytest.mark.parametrize(
    ("observation", "reward", "said"), [(3, 0.0, "observation: got 3"), (0, np.nan, "reward")]
)
def test_bad_values_are_refused(loaded, observation, reward, said):
    with pytest.raises(qs.InputError, match=said):
        loaded.session().act(observation, reward=reward)


def test_a_classical_learner_has_a_session_too():
    env = tiny().env
    agent = Thompson()
    meta_params = agent.init(env, qs.TrialShape(), jax.random.key(0))
    arms = pulled(qs.Session(agent, env, meta_params, seed=2), (0.0, 1.0), 30, np.random.default_rng(0))
    assert arms[-10:].count(1) >= 8


def test_import_starts_no_heavy_package():
    """What would make `import quickstudy` slow is imported when it is used."""
    heavy = ("tensorboardX", "wandb", "torch", "tensorflow", "pandas", "matplotlib")
    script = f"import sys, quickstudy; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"
