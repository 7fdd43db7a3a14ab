"""What every registered family must do: one test over all of them."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy import keys, registry
from quickstudy.errors import InputError
from quickstudy.evaluation import held_out, measure, training_split
from quickstudy.references.random_agent import Random
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import TimeStep, TrialShape

# Bridges to packages that are extras; each has a test file of its own, which needs the package.
EXTRAS = {"brax", "gymnax", "meta-world", "xland"}
if importlib.util.find_spec("mujoco") is None:
    bodies = ("ant-", "cheetah-", "hopper-", "humanoid-", "walker-")
    EXTRAS |= {name for name in registry.REGISTRIES["env"] if name.startswith(bodies)}
ENVS = {name: registry.resolve("env", name)() for name in registry.REGISTRIES["env"] if name not in EXTRAS}
NUM_TASKS, NUM_STEPS = 8, 40
# Mean return of an episode of a random agent, exact or over some 20,000 episodes; the interval is three
# standard errors of the 512 episodes that the test lives through.
RANDOM_RETURN = {
    "bandit": (0.43, 0.57),
    "dark-room": (0.75, 1.38),
    "dependent-bandit": (0.43, 0.57),
    "gaussian-bandit": (0.44, 0.56),
    "grid-navigation": (-1.30, -1.03),
    "key-to-door": (0.19, 0.34),
    "t-maze": (-0.976, -0.957),
    "tabular-mdp": (9.38, 10.62),
    "two-step": (49.3, 50.7),
    "point-navigation": (-65.01, -58.13),
    "told": (-65.01, -58.13),
    "semi-circle": (0.1723, 0.9429),
    "wind": (0.03854, 0.2918),
    "cartpole": (21.0, 24.4),
    "pendulum": (-1277, -1203),
    "acrobot": (-499.7, -494.3),
    "mountain-car": (-198.9, -194.7),
    "gymnasium": (-1293, -1217),
    "cheetah-direction": (-24.9, -14.6),
    "cheetah-velocity": (-270.1, -242.9),
    "cheetah-mass": (-62.7, -53.0),
    "ant-direction": (-0.2, 6.7),
    "ant-goal": (-765.4, -687.5),
    "ant-velocity": (-61.1, -36.4),
    "walker-parameters": (1.3, 4.1),
    "hopper-parameters": (15.4, 20.2),
    "humanoid-direction": (105.6, 113.9),
}

each_env = pytest.mark.parametrize("name", ENVS)


@functools.partial(jax.jit, static_argnums=0)
def live(env, key):
    """Trials of a random agent, under jit, vmap and scan."""
    agent, trial = Random(), TrialShape(num_episodes=2)
    task_keys, trial_keys = keys.per_task(key, jnp.arange(NUM_TASKS))
    meta_params = agent.init(env, trial, key)
    return collect(agent, env, trial, meta_params, sample_tasks(env, task_keys), trial_keys)


def lived(env, seed=0):
    return live(env, jax.random.key(seed))


def random_policy(env):
    """What the random agent says of any time step."""
    action = jnp.zeros(env.action_space.shape)
    unseen = TimeStep(jnp.zeros(()), action, jnp.zeros(()), jnp.ones((), bool))
    meta_params = Random().init(env, TrialShape(), jax.random.key(0))
    return Random().step(meta_params, (), (), unseen, jax.random.key(0))[0].policy


def elements(space, values):
    """The single elements of a batch [N, P, S, T, ...]."""
    values = np.asarray(values, space.dtype)
    return values.reshape(-1, *space.shape)


@each_env
def test_outputs_are_in_their_spaces(name):
    env = ENVS[name]
    assert isinstance(env.observation_space, spaces.Discrete | spaces.Box)
    phases = lived(env).phases
    for values in (phases.timestep.observation, phases.next_observation):
        dtype = jax.dtypes.canonicalize_dtype(env.observation_space.dtype)
        assert values.dtype == dtype, f"observations are {values.dtype}, the space says {dtype}"
        for value in elements(env.observation_space, values)[:NUM_STEPS]:
            assert env.observation_space.contains(value[()]), value
    for action in elements(env.action_space, phases.action)[:NUM_STEPS]:
        assert env.action_space.contains(action[()]), action
    assert np.isfinite(phases.reward).all()
    assert phases.terminated.dtype == bool
    assert phases.success is None or phases.success.dtype == bool


@each_env
def test_tasks_differ(name):
    tasks = sample_tasks(ENVS[name], jax.random.split(jax.random.key(0), 32))
    flat = np.concatenate([np.asarray(x, np.float64).reshape(32, -1) for x in jax.tree.leaves(tasks)], axis=1)
    assert len(np.unique(flat, axis=0)) > 1


@each_env
def test_the_same_key_gives_the_same_trajectory(name):
    def rewards_and_observations(seed):
        phases = lived(ENVS[name], seed).phases
        return np.asarray(phases.reward), np.asarray(phases.next_observation), np.asarray(phases.action)

    one, again, other = (rewards_and_observations(seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@each_env
def test_what_differs_between_tasks_matters(name):
    """The same actions and keys earn or show something else in another task."""
    env = ENVS[name]
    tasks = sample_tasks(env, jax.random.split(jax.random.key(2), 16))
    k_reset = jax.random.key(3)
    # Sparse goals want many paths. A stateful environment on the host keeps no record of so many forks, and
    # bodies are slow and pay in every step.
    num_paths = 1 if name == "gymnasium" or hasattr(env, "backend") else 32
    paths = jax.random.split(jax.random.key(4), (num_paths, env.max_steps))

    def outcomes(task, actions):
        state, first = env.reset(task, k_reset)

        def body(state, key):
            k_action, k_env = jax.random.split(key)
            action = policy.sample(k_action)
            state, outcome = env.step(task, state, action, k_env)
            return state, (outcome.observation, outcome.reward)

        return first, jax.lax.scan(body, state, actions)[1]

    policy = random_policy(env)
    # Many paths: a sparse reward is not on every one.
    along_paths = jax.vmap(jax.vmap(outcomes, in_axes=(None, 0)), in_axes=(0, None))
    seen = jax.tree.leaves(jax.jit(along_paths)(tasks, paths))
    assert any(len(np.unique(np.asarray(x).reshape(16, -1), axis=0)) > 1 for x in seen)


@each_env
def test_train_and_test_tasks_are_disjoint(name):
    env = ENVS[name]
    if not hasattr(env, "split"):
        assert held_out(env) == training_split(env) == env
        return
    sampled = []
    for family in (training_split(env), held_out(env)):
        tasks = sample_tasks(family, jax.random.split(jax.random.key(0), 4096))
        flat = [np.asarray(x, np.float64).reshape(4096, -1) for x in jax.tree.leaves(tasks)]
        sampled.append({tuple(row) for row in np.concatenate(flat, axis=1)})
    assert not sampled[0] & sampled[1]


# Bodies whose 512 episodes take ten seconds.
HEAVY = ("ant-", "hopper-", "humanoid-", "walker-")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n.startswith(HEAVY) else n for n in ENVS]
)
def test_a_random_agents_mean_return(name):
    env = ENVS[name]
    returns = measure(Random(), env, TrialShape(num_episodes=1), Random().init(
        env, TrialShape(), jax.random.key(0)), 512, jax.random.key(5))  # fmt: skip
    low, high = RANDOM_RETURN[name]
    assert low <= returns.total.mean() <= high


@each_env
def test_every_family_can_be_described_and_drawn(name):
    env = ENVS[name]
    task = jax.device_get(
        jax.tree.map(lambda x: x[0], sample_tasks(env, jax.random.split(jax.random.key(0), 1)))
    )
    if hasattr(env, "describe"):
        assert isinstance(env.describe(task), str)
    if hasattr(env, "render"):
        state, _ = env.reset(task, jax.random.key(0))
        try:
            picture = env.render(task, jax.device_get(state))
        except InputError as error:
            pytest.skip(f"no off-screen OpenGL here: {error}")
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        assert picture.shape[2] == 3
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1
