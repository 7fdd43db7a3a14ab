"""MuJoCo families: Gymnasium's bodies bit for bit, one call to the host a step, bodies that differ by task."""

import dataclasses
import importlib.util
import subprocess
import sys
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs import mujoco_body, mujoco_host
from quickstudy.envs.ant import AntDirection, AntGoal, AntVelocity
from quickstudy.envs.cheetah import CheetahDirection, CheetahMass, CheetahVelocity
from quickstudy.envs.hopper import HopperParameters
from quickstudy.envs.humanoid import HumanoidDirection
from quickstudy.envs.walker import WalkerParameters
from quickstudy.errors import InputError
from quickstudy.life_presets import learning_preset
from quickstudy.references.random_agent import Random
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TrialShape

if importlib.util.find_spec("mujoco") is None or importlib.util.find_spec("imageio") is None:
    pytest.skip("needs quickstudy[mujoco], and imageio for Gymnasium's bodies", allow_module_level=True)

mujoco = mujoco_body.mujoco()
KEY = jax.random.key(0)
# The families whose standard task, with Gymnasium's constants, is an environment of Gymnasium.
STANDARD = {
    "HalfCheetah-v5": CheetahDirection(control_cost=0.1),
    "Ant-v5": AntDirection(control_cost=0.5, survive_reward=1.0),
    "Walker2d-v5": WalkerParameters(),
    "Hopper-v5": HopperParameters(),
    "Humanoid-v5": HumanoidDirection(),
}
each_standard = pytest.mark.parametrize("name", STANDARD)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes MUJOCO_LOG.TXT where it stands when Gymnasium loads the cheetah's file."""
    monkeypatch.chdir(tmp_path)


def numbers(state):
    """The float64 numbers of one state."""
    return np.asarray(state).view(np.float64)


def state_of(env, data):
    """Our state, of Gymnasium's."""
    place = env.body.place(env.standard, data) if env.body.place else data.qpos[:1]
    return jnp.asarray(np.concatenate([data.qpos, data.qvel, data.qacc_warmstart, place]).view(np.uint32))


def made(name) -> Any:
    return gymnasium.make(name).unwrapped


def check_walk_beside_gymnasium(env, task, name, num_episodes):
    """Whole episodes, never put back in step: equal positions and velocities, reward to 1e-5."""
    theirs, step = made(name), jax.jit(env.step)
    for episode in range(num_episodes):
        theirs.reset(seed=episode)
        theirs.action_space.seed(episode)
        state = state_of(env, theirs.data)
        for _ in range(200):
            action = theirs.action_space.sample()
            observation, reward, terminated, *_ = theirs.step(action)
            state, outcome = step(task, state, action, KEY)
            np.testing.assert_array_equal(numbers(state), numbers(state_of(env, theirs.data)))
            np.testing.assert_array_equal(outcome.observation, observation.astype(np.float32))
            assert abs(float(outcome.reward) - reward) < 1e-5
            assert bool(outcome.terminated) == terminated
            if terminated:
                break


@each_standard
def test_equal_to_gymnasium_bit_for_bit(name):
    check_walk_beside_gymnasium(STANDARD[name], STANDARD[name].standard_task(), name, num_episodes=10)


def test_the_cheetah_of_the_benchmark_is_gymnasiums():
    """Its body goes through the scaling by the task's mass, which is then the standard one."""
    preset = learning_preset("ppo", "cheetah-mass").env
    env = dataclasses.replace(preset, log2_range=0.0, height_reward=0.0, control_cost=0.1)
    check_walk_beside_gymnasium(env, env.sample_task(KEY), "HalfCheetah-v5", num_episodes=2)


@each_standard
def test_an_episode_begins_as_gymnasiums(name):
    env, theirs = STANDARD[name], made(name)
    theirs.reset(seed=0)
    for seed in range(5):
        state, observation = jax.jit(env.reset)(env.standard_task(), jax.random.key(seed))
        mujoco.mj_resetData(theirs.model, theirs.data)
        nq, nv = env.standard.nq, env.standard.nv
        theirs.set_state(*np.split(numbers(state)[: nq + nv], [nq]))
        np.testing.assert_array_equal(numbers(state), numbers(state_of(env, theirs.data)))
        np.testing.assert_array_equal(observation, theirs._get_obs().astype(np.float32))


@each_standard
def test_the_noise_at_the_beginning_is_gymnasiums(name):
    env = STANDARD[name]
    states = jax.jit(jax.vmap(env.reset, (None, 0)))(env.standard_task(), jax.random.split(KEY, 1000))[0]
    qpos, qvel = np.split(numbers(states)[:, : env.standard.nq + env.standard.nv], [env.standard.nq], axis=1)
    # Of HalfCheetah and Ant 0.1, velocities normal; of the others uniform.
    noise = {"HalfCheetah-v5": 0.1, "Ant-v5": 0.1, "Humanoid-v5": 0.01}.get(name, 0.005)
    np.testing.assert_allclose(np.abs(qpos - env.standard.qpos0).max(0), noise, rtol=0.02)
    deviation = noise if noise == 0.1 else noise / np.sqrt(3)
    np.testing.assert_allclose(qvel.std(0), deviation, rtol=4 * 0.022)  # of 1,000 draws known to 2.2%


@pytest.mark.parametrize("env", [CheetahMass(max_steps=5), AntGoal(max_steps=5)])
def test_one_call_to_the_host_a_step_and_twice_the_same(env, monkeypatch):
    """N tasks × S streams arrive as one batch; the replay calls nothing."""
    sizes, run = [], mujoco_host._run
    monkeypatch.setattr(mujoco_host, "_run", lambda *a: sizes.append(len(a[3])) or run(*a))
    trial, agent = TrialShape(num_adapts=1, num_streams=2, num_episodes=2), Random()
    meta_params = agent.init(env, trial, KEY)
    keys = jax.random.split(KEY, 3)

    @jax.jit
    def live():
        return collect(agent, env, trial, meta_params, sample_tasks(env, keys), keys)

    one = jax.block_until_ready(live())
    # Two phases of a first reset, ten steps, and a reset after each of two episodes.
    assert sizes == [6] * 2 * (1 + 10 + 2)
    jax.tree.map(np.testing.assert_array_equal, one.phases, live().phases)
    sizes.clear()
    output = replay(agent, meta_params, one)
    np.testing.assert_allclose(output.policy.log_prob(one.phases.action), one.phases.log_prob, rtol=1e-5)
    assert not sizes


def scaled_model(env, task):
    """The model that a user of MuJoCo would make for a task."""
    model = mujoco.MjModel.from_xml_path(f"{gymnasium.__path__[0]}/envs/mujoco/assets/{env.body.xml}")
    for name, factors in env.scales(task).items():
        getattr(model, name)[:] *= np.asarray(factors, np.float64)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


@pytest.mark.parametrize("env", [CheetahMass(), WalkerParameters(), HopperParameters()])
def test_every_row_of_a_batch_has_its_own_body(env):
    """A batch equals a loop over `mj_step` with a model for each task; also after the tasks change."""
    step = jax.jit(jax.vmap(env.step))
    for seed in (0, 1):
        tasks = sample_tasks(env, jax.random.split(jax.random.key(seed), 4))
        states = jax.vmap(env.reset)(tasks, jax.random.split(KEY, 4))[0]
        actions = jax.random.uniform(jax.random.key(seed), (10, 4, *env.action_space.shape), minval=-1.0)
        befores = numbers(states)
        for action in actions:
            states, _ = step(tasks, states, action, jax.random.split(KEY, 4))
        for row in range(4):
            model = scaled_model(env, jax.tree.map(lambda x, row=row: x[row], tasks))
            data = mujoco.MjData(model)
            ends = np.cumsum([model.nq, model.nv, model.nv])
            data.qpos, data.qvel, data.qacc_warmstart, _ = np.split(befores[row], ends)
            for action in actions:
                data.ctrl[:] = action[row]
                mujoco.mj_step(model, data, nstep=env.body.frame_skip)
            np.testing.assert_array_equal(numbers(states)[row], numbers(state_of(env, data)))


def test_factors_follow_the_papers():
    tasks = sample_tasks(WalkerParameters(), jax.random.split(KEY, 2000))
    for name, base in (("body_mass", 1.5), ("body_inertia", 1.5), ("dof_damping", 1.3), ("geom_friction", 1.5)):
        exponents = np.log(tasks[name]) / np.log(base)
        np.testing.assert_allclose([exponents.min(), exponents.mean(), exponents.max()], [-3, 0, 3], atol=0.06)
    masses = np.log2(sample_tasks(CheetahMass(), jax.random.split(KEY, 2000)))
    np.testing.assert_allclose([masses.min(), masses.mean(), masses.max()], [-1, 0, 1], atol=0.06)
    radii = np.linalg.norm(sample_tasks(AntGoal(), jax.random.split(KEY, 2000)), axis=1)
    np.testing.assert_allclose([(radii**2).mean(), radii.max()], [4.5, 3.0], atol=0.2)


@pytest.mark.parametrize(
    ("env", "task", "expected"),
    [
        (CheetahDirection(), -1.0, -2.0 - 0.05 * 1.5),
        (CheetahVelocity(), 0.5, -1.5 - 0.05 * 1.5),
        (CheetahMass(), 0.7, 2.0 - 0.05 * 1.5 - 0.3),
        (AntVelocity(), 0.5, 1.0 - 1.5 - 0.005 * 2.0 + 0.05 - 5e-4 * 7.0),
        (AntDirection(), np.array([0.0, 1.0]), 3.0 - 0.005 * 2.0 + 0.05 - 5e-4 * 7.0),
        (AntGoal(), np.array([1.0, 1.0]), -0.7 - 1.3 - 0.1 * 2.0 - 5e-4 * 7.0),
    ],
)
def test_rewards_by_hand(env, task, expected):
    """Velocity (2, 3), all actions 0.5, the first positions 0.3, −0.3 and 0.5, seven contact forces above 1."""
    model = env.standard
    forces = np.zeros((model.nbody, 6))
    forces[1, :] = forces[2, 0] = -20.0
    qpos = np.zeros(model.nq)
    qpos[:3] = 0.3, -0.3, 0.5
    velocity, qvel = jnp.array([2.0, 3.0]), jnp.zeros(model.nv)
    seen = mujoco_body.Seen(jnp.asarray(qpos), qvel, velocity, {"cfrc_ext": jnp.asarray(forces)})
    action = 0.5 * jnp.ones(env.action_space.shape)
    assert float(env.reward(task, seen, action)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "num_steps", "num_agreeing"),
    [
        (CheetahVelocity, 5, 8),
        (CheetahMass, 5, 8),
        (HopperParameters, 5, 8),
        (WalkerParameters, 5, 8),
        # Legs that meet the ground, or their own limits, a substep apart go other ways from there on: one ant
        # of eight did, whose velocities differed by 0.1.
        (AntVelocity, 2, 7),
        (AntGoal, 2, 7),
        (HumanoidDirection, 2, 8),
    ],
)
def test_mjx_equals_the_c_engine_over_a_few_steps(family, num_steps, num_agreeing):
    """float32 against float64; in 64 tasks positions were at most 3e-5 apart, velocities 1e-3, rewards 5e-5."""
    on_host, in_jax = family(), family(backend="mjx")
    keys = jax.random.split(KEY, 8)
    tasks = sample_tasks(on_host, keys)
    (state, first), (state_x, first_x) = (
        jax.jit(jax.vmap(env.reset))(tasks, keys) for env in (on_host, in_jax)
    )
    np.testing.assert_allclose(first, first_x, atol=1e-5)
    step, step_x = (jax.jit(jax.vmap(env.step)) for env in (on_host, in_jax))
    nq = on_host.standard.nq
    for key in jax.random.split(KEY, num_steps):
        actions = jax.random.uniform(key, (8, *on_host.action_space.shape), minval=-1.0)
        state, outcome = step(tasks, state, actions, keys)
        state_x, outcome_x = step_x(tasks, state_x, actions, keys)
        pairs = [
            (state_x[:, :nq], numbers(state)[:, :nq], 1e-4),
            (outcome_x.observation, outcome.observation, 5e-3),
            (outcome_x.reward[:, None], outcome.reward[:, None], 5e-4),
        ]
        agree = [
            np.all(np.abs(np.asarray(a) - np.asarray(b)) <= tolerance, axis=1) for a, b, tolerance in pairs
        ]
        assert np.all(agree, axis=0).sum() >= num_agreeing


@pytest.mark.parametrize("env", [CheetahDirection(), AntGoal(), HopperParameters()])
def test_render(env):
    task = env.sample_task(KEY)
    state, _ = env.reset(task, KEY)
    try:
        picture = env.render(task, jax.device_get(state))
    except InputError as error:
        pytest.skip(str(error))
    assert picture.shape == (160, 240, 3)
    assert picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_without_mujoco_there_is_one_clear_error(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"pip install 'quickstudy\[mujoco\]'"):
        mujoco_body.mujoco()


def test_a_familys_module_does_not_import_mujoco():
    code = "import sys, quickstudy.envs.ant, quickstudy.envs.walker; assert 'mujoco' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="lowest < highest"):
        CheetahVelocity(velocity=(2.0, 1.0))
    with pytest.raises(InputError, match="above 0"):
        AntGoal(radius=0.0)
