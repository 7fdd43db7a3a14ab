"""Classic control: at the standard constants, and at drawn ones, equal to Gymnasium step by step."""

import re

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.acrobot import Acrobot, AcrobotPhysics
from quickstudy.envs.cartpole import CartPole, CartPolePhysics
from quickstudy.envs.mountain_car import MountainCar, MountainCarPhysics
from quickstudy.envs.pendulum import Pendulum, PendulumPhysics
from quickstudy.errors import InputError

FAMILIES = {
    "CartPole-v1": CartPole,
    "Pendulum-v1": Pendulum,
    "Acrobot-v1": Acrobot,
    "MountainCar-v0": MountainCar,
}
# States up to these, and down to minus these, for single steps.
EDGES = {
    "CartPole-v1": (2.5, 3.0, 0.25, 3.0),
    "Pendulum-v1": (np.pi, 8.0),
    "Acrobot-v1": (np.pi, np.pi, 4 * np.pi, 9 * np.pi),
    "MountainCar-v0": (1.2, 0.07),
}
KEY = jax.random.key(0)
NUM_EPISODES = 10

each_family = pytest.mark.parametrize("name", FAMILIES)


def lean(observation):
    """Cart-pole: push to the side that the pole falls to; it stays up for the whole 500 steps."""
    return int(observation @ np.array([0.05, 0.1, 1.0, 0.3]) > 0)


def spin(observation):
    """Pendulum: push along the turn up to the greatest speed, by torques that must be clipped."""
    return np.array([3.0 if observation[2] > 0 else -3.0], np.float32)


def swing(observation):
    """Acrobot: the torque that adds energy to the first link; the tip gets up."""
    return 0 if observation[4] > 0 else 2


def rock(observation):
    """Mountain car: push along the motion; the car gets up."""
    return 2 if observation[1] > 0 else 0


POLICIES = {"CartPole-v1": lean, "Pendulum-v1": spin, "Acrobot-v1": swing, "MountainCar-v0": rock}


def give(env, physics):
    """Set a Gymnasium environment's constants."""
    match physics:
        case CartPolePhysics(gravity, mass_cart, mass_pole, length, force):
            constants = {
                "gravity": gravity,
                "masscart": mass_cart,
                "masspole": mass_pole,
                "total_mass": mass_cart + mass_pole,
                "length": length,
                "polemass_length": mass_pole * length,
                "force_mag": force,
            }
        case PendulumPhysics(gravity, mass, length):
            constants = {"g": gravity, "m": mass, "l": length}
        case AcrobotPhysics(_, length, mass, inertia, torque):
            links = {"LENGTH": length, "MASS": mass, "COM_POS": length / 2}
            constants = {f"LINK_{key}_{link}": value for key, value in links.items() for link in (1, 2)}
            constants |= {"LINK_MOI": inertia, "AVAIL_TORQUE": [-torque, 0.0, torque]}
        case MountainCarPhysics(gravity, force):
            constants = {"gravity": gravity, "force": force}
        case _:
            raise AssertionError(physics)
    for key, value in constants.items():
        setattr(env.unwrapped, key, value)


def its_state(env):
    """A Gymnasium environment's state, with the pendulum's angle in [−π, π] as ours has it."""
    state = np.array(env.unwrapped.state, np.float64)
    if env.spec.id == "Pendulum-v1":
        state[0] -= 2 * np.pi * np.round(state[0] / (2 * np.pi))
    return jnp.asarray(state, float)


def greatest_difference(name, physics=None, follow=True, policy=None):
    """Of observations and rewards over ten episodes, and asserts that ends are equal.

    `follow`: our state goes its own way through an episode. Else each step starts from Gymnasium's state.
    `policy`: of the observation; random actions without.
    """
    family, env = FAMILIES[name](), gymnasium.make(name, disable_env_checker=True)
    task = family.standard_task()
    if physics is not None:
        give(env, physics)
        task = jax.tree.map(lambda value: jnp.asarray(value, float), physics)
    step = jax.jit(family.step)
    greatest, ends, truncated = 0.0, 0, False
    for episode in range(NUM_EPISODES):
        observation, _ = env.reset(seed=episode)
        env.action_space.seed(episode)
        state, terminated, num_steps = its_state(env), False, 0
        truncated = False
        while not (terminated or truncated):
            action = policy(observation) if policy else env.action_space.sample()
            # Gymnasium computes with a torque's own precision.
            action = np.asarray(action, np.float64) if name == "Pendulum-v1" else action
            state, ours = step(task, state if follow else its_state(env), jnp.asarray(action), KEY)
            observation, reward, terminated, truncated, _ = env.step(action)
            num_steps += 1
            difference = np.append(ours.observation - observation, ours.reward - reward)
            greatest = max(greatest, np.abs(difference).max())
            assert bool(ours.terminated) == terminated
            assert ours.success is None or bool(ours.success) == terminated
        ends += terminated
        assert terminated or num_steps == family.max_steps
    return greatest, ends


@each_family
def test_single_precision_equals_gymnasium_from_each_of_its_states(name):
    """The library's own precision; errors do not add up, as every step starts from Gymnasium's state."""
    greatest, _ = greatest_difference(name, follow=False)
    assert greatest < 1e-5


@each_family
def test_whole_episodes_equal_gymnasium(name):
    """In double precision our own trajectories stay together with Gymnasium's, chaos or not."""
    with jax.enable_x64(True):
        greatest, ends = greatest_difference(name)
    assert greatest < 1e-5
    assert ends == (NUM_EPISODES if name == "CartPole-v1" else 0)


@each_family
def test_skilled_episodes_equal_gymnasium(name):
    with jax.enable_x64(True):
        # A balanced pole is unstable: on its own way even rounding errors of double precision grow past bounds.
        greatest, ends = greatest_difference(name, follow=name != "CartPole-v1", policy=POLICIES[name])
    assert greatest < 1e-5
    assert ends == (NUM_EPISODES if name in ("Acrobot-v1", "MountainCar-v0") else 0)


@each_family
def test_single_steps_from_anywhere_equal_gymnasium(name):
    """Walls, greatest speeds, turns past ±π and the borders of every end."""
    family, env = FAMILIES[name](), gymnasium.make(name, disable_env_checker=True).unwrapped
    states = np.random.default_rng(0).uniform(-1, 1, (2000, len(EDGES[name]))) * EDGES[name]
    env.action_space.seed(0)
    env.reset()
    theirs = []
    for state in states:
        env.state, env.steps_beyond_terminated = state, None  # type: ignore[attr-defined]
        action = env.action_space.sample()
        theirs.append((action, *env.step(action)[:3]))
    actions, observations, rewards, ends = (np.stack(x) for x in zip(*theirs, strict=True))
    with jax.enable_x64(True):
        task = family.standard_task()
        ours = jax.vmap(lambda state, action: family.step(task, state, action, KEY)[1])(states, actions)
        np.testing.assert_allclose(ours.observation, observations, atol=1e-5)
        np.testing.assert_allclose(ours.reward, rewards, atol=1e-5)
        np.testing.assert_array_equal(ours.terminated, ends)


@each_family
def test_a_drawn_task_equals_gymnasium_with_its_constants(name):
    drawn = FAMILIES[name]().sample_task(jax.random.key(7))
    physics = type(drawn)(*(round(float(value), 6) for value in drawn))
    assert physics != type(drawn)()
    with jax.enable_x64(True):
        greatest, _ = greatest_difference(name, physics)
    assert greatest < 1e-5


@each_family
def test_spaces_and_time_limits_are_gymnasiums(name):
    family, env = FAMILIES[name](), gymnasium.make(name)
    assert family.observation_space == env.observation_space
    assert family.action_space == env.action_space
    assert env.spec is not None
    assert family.max_steps == env.spec.max_episode_steps


@each_family
def test_starts_are_distributed_as_gymnasiums(name):
    family, env = FAMILIES[name](), gymnasium.make(name)
    ours = jax.vmap(lambda key: family.reset(family.standard_task(), key)[1])(jax.random.split(KEY, 2000))
    theirs = np.stack([env.reset(seed=seed)[0] for seed in range(2000)])
    scale = np.asarray(ours).std(axis=0) + 1e-9
    # Four standard errors of a difference of means, and of standard deviations were they of normals.
    np.testing.assert_allclose((ours.mean(axis=0) - theirs.mean(axis=0)) / scale, 0, atol=4 * (2 / 2000) ** 0.5)
    np.testing.assert_allclose(ours.std(axis=0) / scale, theirs.std(axis=0) / scale, atol=4 * (1 / 2000) ** 0.5)


@each_family
def test_constants_are_drawn_from_their_ranges(name):
    family = FAMILIES[name]()
    tasks = jax.vmap(family.sample_task)(jax.random.split(KEY, 4096))
    for field, drawn in tasks._asdict().items():
        low, high = getattr(family, field)
        np.testing.assert_allclose([drawn.min(), drawn.max()], [low, high], atol=0.002 * (high - low) + 1e-6)
        np.testing.assert_allclose(drawn.mean(), (low + high) / 2, atol=0.02 * (high - low) + 1e-6)
        assert low <= getattr(family.standard_task(), field) * (1 + 1e-6)
        assert getattr(family.standard_task(), field) <= high * (1 + 1e-6)


@each_family
@pytest.mark.parametrize("gravity", [(2.0, 1.0), (0.0, 1.0), (1.0,)])
def test_a_range_that_is_none_is_named(name, gravity):
    family = FAMILIES[name]
    with pytest.raises(InputError, match=rf"{family.__name__}\.gravity: got {re.escape(str(gravity))}"):
        family(gravity=gravity)
