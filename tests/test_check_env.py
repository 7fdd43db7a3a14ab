"""check-env finds every planted fault by its own finding, and nothing in a family that is sound."""

import dataclasses
import time

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium import spaces

from quickstudy.check_env import check_env, main
from quickstudy.envs.bandit import Bandit
from quickstudy.envs.gymnasium_in import GymnasiumEnv
from quickstudy.types import Outcome
from tests.probes import CountProbe


@dataclasses.dataclass(frozen=True)
class Sound:
    """A point on a line seeks a hidden target; every fault below is this family with one thing changed."""

    reach: float = 1.0

    @property
    def observation_space(self):
        return spaces.Box(-2, 2, (1,), np.float32)

    @property
    def action_space(self):
        return spaces.Box(-1, 1, (1,), np.float32)

    @property
    def max_steps(self):
        return 10

    def sample_task(self, key):
        return jax.random.uniform(key, (), minval=-self.reach, maxval=self.reach)

    def reset(self, task, key):
        place = 0.1 * jax.random.normal(key)
        return place, jnp.clip(place, -2, 2)[None]

    def step(self, task, state, action, key):
        place = jnp.clip(state + 0.2 * jnp.clip(action[0], -1, 1), -2, 2)
        distance = jnp.abs(place - task)
        return place, Outcome(place[None], -distance, distance < 0.01)


def changed(state_and_outcome, **fields):
    state, outcome = state_and_outcome
    return state, outcome._replace(**{name: change(getattr(outcome, name)) for name, change in fields.items()})


class Raises(Sound):
    def reset(self, task, key):
        raise ZeroDivisionError("planted")


class Branches(Sound):
    def step(self, task, state, action, key):
        return super().step(task, state, action if action[0] > 0 else -action, key)


class Outside(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), observation=lambda x: x + 2)


class WrongDtype(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), observation=lambda x: x.astype(jnp.bfloat16))


class WrongShape(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), reward=lambda x: x[None])


class NumbersForEnds(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), terminated=lambda x: x.astype(jnp.float32))


class NotFinite(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), reward=lambda x: jnp.log(x + 1))


class NeverPays(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), reward=jnp.zeros_like)


class SameTask(Sound):
    def sample_task(self, key):
        return jax.random.uniform(jax.random.key(0))


class IdleTask(Sound):
    def step(self, task, state, action, key):
        return super().step(0.0, state, action, key)


class NumPyChance(Sound):
    def step(self, task, state, action, key):
        return super().step(task, state + np.random.uniform(), action, key)  # noqa: NPY002


class HostChance(Sound):
    def step(self, task, state, action, key):
        def draw(_):
            return np.float32(np.random.uniform())  # noqa: NPY002

        noise = jax.pure_callback(draw, jax.ShapeDtypeStruct((), jnp.float32), state, vmap_method="sequential")
        return super().step(task, state + noise, action, key)


class Unclipped(Sound):
    def step(self, task, state, action, key):
        return changed(super().step(task, state, action, key), reward=lambda x: x - 0.1 * action[0] ** 2)


class OtherState(Sound):
    def step(self, task, state, action, key):  # pyright: ignore
        state, outcome = super().step(task, state, action, key)
        return (state, state), outcome


class Slow(Sound):
    def step(self, task, state, action, key):
        def wait(x):
            time.sleep(0.04)
            return np.asarray(x)

        state = jax.pure_callback(
            wait, jax.ShapeDtypeStruct((), jnp.float32), state, vmap_method="broadcast_all"
        )
        return super().step(task, state, action, key)

    @property
    def max_steps(self):  # pyright: ignore
        return 1


class NoStep:
    observation_space = action_space = spaces.Discrete(2)


@dataclasses.dataclass(frozen=True)
class Unhashable(Sound):
    places: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class LeakingSplit(Sound):
    split: str = "train"


@dataclasses.dataclass(frozen=True)
class OddSpace(Sound):
    @property
    def action_space(self):  # pyright: ignore
        return spaces.MultiDiscrete([2, 3])


class Clinging(gymnasium.Env):
    """Its gravity only ever grows: a task that came before decides."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self):
        self.gravity, self._strongest = 0.0, 0.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._strongest = max(self._strongest, self.gravity)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), self._strongest * float(action), False, False, {}


CLINGING = GymnasiumEnv("tests.test_check_env:Clinging", ("gravity=1:2",), time_limit=3)
FAULTS = {
    "exception": Raises(),
    "jit": Branches(),
    "outside": Outside(),
    "dtype": WrongDtype(),
    "shape": WrongShape(),
    "dtype of terminated": NumbersForEnds(),
    "finite": NotFinite(),
    "reward": NeverPays(),
    "tasks": SameTask(),
    "effect": IdleTask(),
    "determinism": NumPyChance(),
    "determinism on the host": HostChance(),
    "clip": Unclipped(),
    "state": OtherState(),
    "speed": Slow(),
    "dataclass": Unhashable(),
    "split": LeakingSplit(),
    "space": OddSpace(),
    "leak": CLINGING,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_found_and_nothing_else(fault):
    findings = check_env(FAULTS[fault])
    assert {finding.about for finding in findings} == {fault.split()[0]}, findings
    for _, what, mend in findings:
        assert what
        assert mend
        assert "\n" not in what + mend


def test_a_family_that_is_none():
    assert {finding.about for finding in check_env(NoStep())} >= {"dataclass", "protocol"}


@pytest.mark.parametrize(
    "env", [Sound(), Bandit(), CountProbe(), GymnasiumEnv("Pendulum-v1", time_limit=20)], ids=str
)
def test_nothing_is_found_where_nothing_is_wrong(env):
    assert check_env(env) == []


def test_an_exception_says_what_and_where():
    (finding,) = check_env(Raises())
    assert "ZeroDivisionError: planted" in finding.what
    assert "test_check_env.py, line" in finding.what


def test_the_command_says_all_and_returns_its_exit_code():
    said = []
    assert main(Sound, said.append) == 0
    assert "steps/s" in said[0]
    assert "nothing found" in said[1]
    said.clear()
    assert main(SameTask, said.append) == 1
    assert said[0].startswith("1. tasks: ")
    assert "mend: " in said[0]
