"""Points that seek a place: hand-worked steps, and the returns of agents that know the task."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.envs.semi_circle import SemiCircle
from quickstudy.envs.wind import Wind
from quickstudy.errors import InputError

KEY = jax.random.key(0)


def lived(env, policy, tasks):
    """The rewards [N, T] of `policy(task, place) -> action`; 0 after an episode's own end."""

    def live(task):
        def body(carry, _):
            state, alive = carry
            state, outcome = env.step(task, state, policy(task, state), KEY)
            return (state, alive & ~outcome.terminated), outcome.reward * alive

        start = env.reset(task, KEY)[0], jnp.ones((), bool)
        return jax.lax.scan(body, start, length=env.max_steps)[1]

    return np.asarray(jax.jit(jax.vmap(live))(jnp.asarray(tasks, jnp.float32)), np.float64)


def straight_to_goal(task, place):
    return task - place


def grid(edge, count):
    """The middles of count² equal squares that fill the square ± edge."""
    middles = (np.arange(count) + 0.5) / count * 2 * edge - edge
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


def one_step(env, task, place, action):
    state, outcome = env.step(jnp.asarray(task), jnp.asarray(place), jnp.asarray(action), KEY)
    np.testing.assert_array_equal(state, outcome.observation)
    return np.asarray(state), outcome


class TestPointNavigation:
    def test_a_step_by_hand(self):
        # The first axis is clipped to 0.1; the goal is then 0.2 and 0.15 away: a distance of 0.25.
        place, outcome = one_step(PointNavigation(), [0.3, -0.2], [0.0, 0.0], [0.7, -0.05])
        np.testing.assert_allclose(place, [0.1, -0.05], atol=1e-7)
        np.testing.assert_allclose(outcome.reward, -0.25, atol=1e-7)
        assert not outcome.terminated
        assert not outcome.success

    @pytest.mark.parametrize(
        ("place", "arrived"),
        [([0.309, -0.191], True), ([0.311, -0.2], False), ([0.3, -0.189], False)],
    )
    def test_an_episode_ends_within_a_hundredth_along_both_axes(self, place, arrived):
        outcome = one_step(PointNavigation(), [0.3, -0.2], place, [0.0, 0.0])[1]
        assert bool(outcome.terminated) == bool(outcome.success) == arrived
        assert not one_step(PointNavigation(goal_tolerance=0.0), [0.3, -0.2], place, [0.0, 0.0])[1].terminated

    @pytest.mark.parametrize("tolerance", [0.01, 0.0])
    def test_with_the_goal_known_the_return_is_the_exact_one(self, tolerance):
        """After k steps the mean distance is 4 (0.1 k c² + c³ (√2 + asinh 1) / 3) with c = 0.5 − 0.1 k."""
        exact = -sum(
            4 * (0.1 * k * c**2 + c**3 * (math.sqrt(2) + math.asinh(1)) / 3)
            for k, c in ((k, 0.5 - 0.1 * k) for k in range(1, 5))
        )
        assert exact == pytest.approx(-0.2 - 0.4 * (math.sqrt(2) + math.asinh(1)) / 3)
        assert exact == pytest.approx(-0.506078, abs=1e-6)
        returns = lived(PointNavigation(goal_tolerance=tolerance), straight_to_goal, grid(0.5, 200)).sum(axis=1)
        assert returns.mean() == pytest.approx(exact, abs=2e-5)

    def test_goals_fill_the_square(self):
        goals = np.asarray(jax.vmap(PointNavigation().sample_task)(jax.random.split(KEY, 4096)))
        np.testing.assert_allclose(goals.min(axis=0), -0.5, atol=0.002)
        np.testing.assert_allclose(goals.max(axis=0), 0.5, atol=0.002)
        np.testing.assert_allclose(goals.var(axis=0), 1 / 12, atol=0.005)


class TestSemiCircle:
    @pytest.mark.parametrize(
        ("reward", "near", "far"), [("sparse", 0.9, 0.0), ("indicator", 1.0, 0.0), ("dense", -0.1, -0.3)]
    )
    def test_the_three_rewards_by_hand(self, reward, near, far):
        env = SemiCircle(reward=reward)
        # From (0.54, 0.7), a clipped move right ends 0.1 above (0.64, 0.6); one down ends 0.3 above it.
        place, outcome = one_step(env, [0.64, 0.6], [0.54, 0.7], [0.3, 0.0])
        np.testing.assert_allclose(place, [0.64, 0.7], atol=1e-6)
        np.testing.assert_allclose(outcome.reward, near, atol=1e-6)
        assert outcome.success
        outcome = one_step(env, [0.64, 0.6], [0.64, 1.0], [0.0, -0.1])[1]
        np.testing.assert_allclose(outcome.reward, far, atol=1e-6)
        assert not outcome.success
        assert not outcome.terminated

    def test_a_known_goal_at_45_degrees(self):
        rewards = lived(SemiCircle(max_steps=20), straight_to_goal, [[math.sqrt(0.5), math.sqrt(0.5)]])[0]
        sixth, seventh = (1 - math.sqrt(2) * (math.sqrt(0.5) - 0.1 * k) for k in (6, 7))
        np.testing.assert_allclose(rewards, [0.0] * 5 + [sixth, seventh] + [1.0] * 13, atol=1e-6)

    @pytest.mark.parametrize("max_steps", [20, 60, 100])
    def test_with_the_goal_known_the_return_is_the_exact_one(self, max_steps):
        angles = (np.arange(4001) + 0.5) / 4001 * np.pi
        goals = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        steps = np.arange(1, max_steps + 1)[:, None, None]
        left = np.hypot(*np.moveaxis(np.maximum(np.abs(goals) - 0.1 * steps, 0), -1, 0))
        exact = np.where(left <= 0.2, 1 - left, 0).sum(axis=0).mean()
        assert lived(SemiCircle(max_steps=max_steps), straight_to_goal, goals).sum(
            axis=1
        ).mean() == pytest.approx(exact, abs=2e-3)
        assert exact == pytest.approx(max_steps - 20 + 13.382, abs=0.002)

    def test_goals_are_uniform_on_the_half_circle(self):
        goals = np.asarray(jax.vmap(SemiCircle().sample_task)(jax.random.split(KEY, 4096)))
        np.testing.assert_allclose(np.hypot(*goals.T), 1.0, atol=1e-6)
        angles = np.sort(np.arctan2(goals[:, 1], goals[:, 0]))
        np.testing.assert_allclose(angles, (np.arange(4096) + 0.5) / 4096 * np.pi, atol=0.08)

    def test_an_unknown_reward_is_named(self):
        with pytest.raises(InputError, match=r"SemiCircle\.reward"):
            SemiCircle(reward="none")  # type: ignore[arg-type]


class TestWind:
    def test_a_step_by_hand(self):
        # The action is clipped, the wind is not: 0.1 − 0.04 up, 0.05 to the right.
        place, outcome = one_step(Wind(), [0.05, -0.04], [0.0, 0.7], [0.0, 0.4])
        np.testing.assert_allclose(place, [0.05, 0.76], atol=1e-6)
        assert outcome.reward == 0.0
        outcome = one_step(Wind(), [0.05, -0.04], place, [-0.05, 0.1])[1]
        np.testing.assert_allclose(outcome.observation, [0.05, 0.82], atol=1e-6)
        assert outcome.reward == 1.0
        assert outcome.success
        assert not outcome.terminated

    def test_with_the_wind_known_an_axis_gains_what_the_wind_leaves(self):
        """Against a wind of −0.03 the point gains 0.07 a step: paid from the twelfth, at 0.84, on."""
        rewards = lived(Wind(), lambda wind, place: jnp.array([0.0, 1.0]) - place - wind, [[0.03, -0.03]])[0]
        np.testing.assert_array_equal(rewards, [0.0] * 11 + [1.0] * 14)

    def test_a_wind_that_is_not_cancelled_carries_away(self):
        """Ni et al.'s constants: who stops at the goal leaves a radius of 0.03 at once in a wind of 0.05."""
        env = Wind(max_wind=0.08, goal_radius=0.03, max_steps=75)
        windless = lived(env, lambda wind, place: jnp.array([0.0, 1.0]) - place, [[0.05, 0.0]])
        cancelled = lived(env, lambda wind, place: jnp.array([0.0, 1.0]) - place - wind, [[0.05, 0.0]])
        assert windless.sum() == 0.0
        assert cancelled.sum() == 75 - 9

    def test_winds_fill_the_square(self):
        winds = np.asarray(jax.vmap(Wind().sample_task)(jax.random.split(KEY, 4096)))
        np.testing.assert_allclose([winds.min(), winds.max()], [-0.05, 0.05], atol=1e-4)
        np.testing.assert_allclose(winds.var(axis=0), 0.1**2 / 12, rtol=0.05)


@pytest.mark.parametrize(
    ("family", "field"),
    [(PointNavigation, "goal_range"), (SemiCircle, "goal_radius"), (Wind, "max_wind"), (Wind, "max_steps")],
)
def test_a_field_out_of_range_is_named(family, field):
    with pytest.raises(InputError, match=rf"{family.__name__}\.{field}"):
        family(**{field: 0})
