"""Meta-World's meta-learning benchmarks, a robot arm with hidden goals: ML1, ML10, ML25, ML45.

A task is one of the 50 goals of one of the environments. In ML1 the held-out tasks are other goals of the
same environment; in the others they are the goals of other environments. Observations have 39 numbers,
the last three, where the goal would stand, are 0; actions 4; an episode 500 steps that nothing ends earlier.

Source: Yu et al. 2019 (arXiv 1910.10897); package `metaworld` 3.1, the extra `metaworld`.
Differs from the package: the goals of a split come from its `Benchmark` classes, since
`gym.make_vec("Meta-World/ML1-train")` hands out the test goals (Metaworld PR#573). ML25 has four held-out
environments, since the package's fifth, basketball, is one of its training environments too. `success_by_goal`
lives the same number of episodes with every goal, where the package counts the first ones that finish
(PR#577); episodes do not stop at success.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces

from quickstudy.envs.extras import package
from quickstudy.envs.host import HostEpisodes, HostOutcome, HostState
from quickstudy.errors import require, unknown
from quickstudy.rollout import collect, episode_sums
from quickstudy.types import Array, Key, Outcome, PyTree, Transition, TrialShape

NUM_GOALS = 50
"""Of each environment in each split."""
PATH_LENGTH = 500
"""Steps after which the package refuses more."""
NUM_ENVIRONMENTS = {
    ("ML1", "train"): 1, ("ML1", "test"): 1,
    ("ML10", "train"): 10, ("ML10", "test"): 5,
    ("ML25", "train"): 25, ("ML25", "test"): 4,
    ("ML45", "train"): 45, ("ML45", "test"): 5,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class MetaWorld:
    """Meta-World (Yu et al. 2019): a robot arm and hidden goals, in one or in many kinds of tasks."""

    benchmark: Literal["ML1", "ML10", "ML25", "ML45"] = "ML1"
    """ML1: new goals of one environment. The others: new environments."""
    environment: str = "reach-v3"
    """Of ML1."""
    split: Literal["train", "test"] = "train"
    """Goals to learn from, or held out."""
    goal_seed: int = 0
    """Draws the goals of both splits."""
    time_limit: int = PATH_LENGTH
    """Steps of an episode."""
    goal_visible: bool = False
    """Show the goal, which makes it multi-task and no meta-learning."""

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        require(
            self,
            benchmark=((self.benchmark, "train") in NUM_ENVIRONMENTS, "ML1, ML10, ML25 or ML45"),
            split=(self.split in ("train", "test"), "train or test"),
            goal_seed=(self.goal_seed >= 0, "0 or more"),
            time_limit=(1 <= self.time_limit <= PATH_LENGTH, f"between 1 and {PATH_LENGTH}"),
        )

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (39,), np.float32)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (4,), np.float32)

    @property
    def max_steps(self) -> int:
        _package(self)  # asked for before anything runs: what is missing is said in one line
        return self.time_limit

    @property
    def num_tasks(self) -> int:
        """All tasks of the split."""
        return NUM_GOALS * NUM_ENVIRONMENTS[self.benchmark, self.split]

    def sample_task(self, key: Key) -> Array:
        return self.all_tasks()[jax.random.randint(key, (), 0, self.num_tasks)]

    def all_tasks(self) -> Array:
        """Each task of the split once, [n]; test tasks have the numbers behind those of the train tasks."""
        behind = NUM_GOALS * NUM_ENVIRONMENTS[self.benchmark, "train"] if self.split == "test" else 0
        return behind + jnp.arange(self.num_tasks, dtype=jnp.int32)

    def reset(self, task: Array, key: Key) -> tuple[HostState, Array]:
        return _episodes(self).reset(task, key)

    def reset_where(self, needed: Array, task: Array, key: Key) -> tuple[HostState, Array]:
        """`reset` that does no work where it is not `needed`."""
        return _episodes(self).reset(task, key, needed)

    def step(self, task: Array, state: HostState, action: Array, key: Key) -> tuple[HostState, Outcome]:
        return _episodes(self).step(task, state, action)

    def describe(self, task: Array) -> str:
        goal = goal_of(self, task)
        return f"{goal.environment}, goal at {', '.join(f'{x:.2f}' for x in goal.place)}"


class Goal(NamedTuple):
    """What a task is made of."""

    environment: str
    place: np.ndarray
    """What is drawn at random: places of goal and object, as the environment wants them."""


def goal_of(env: MetaWorld, task: Any) -> Goal:
    """The goal behind a task's number."""
    _package(env)
    given, _ = _goals(env.benchmark, env.environment, env.goal_seed)[int(task)]
    return Goal(given.env_name, pickle.loads(given.data)["rand_vec"])  # the package's own, made a moment ago


class SuccessByGoal(NamedTuple):
    """Shares of episodes, [n, E]: one row a goal, one column for each successive episode of a trial."""

    any_time: Array
    """The task was solved at some step."""
    at_end: Array
    """It was solved at the episode's last step."""


def success_by_goal(
    agent: Any, env: MetaWorld, trial: TrialShape, meta_params: PyTree, tasks: Array, key: Key
) -> SuccessByGoal:
    """One trial in each of `tasks`, for all of them `env.all_tasks()`, of the last phase the success."""
    keys = jax.random.split(key, len(tasks))
    phases = jax.jit(lambda params: collect(agent, env, trial, params, tasks, keys))(meta_params).phases
    return success_of(jax.tree.map(lambda x: x[:, -1], phases), trial.num_episodes)


def success_of(transitions: Transition, num_episodes: int) -> SuccessByGoal:
    """Of transitions [n, S, T], mean over streams."""
    assert transitions.success is not None
    last = transitions.terminated | transitions.truncated
    solved = (transitions.success, transitions.success & last)
    return SuccessByGoal(*((episode_sums(x, transitions, num_episodes) > 0).mean(axis=1) for x in solved))


@dataclasses.dataclass(frozen=True)
class _MetaWorldSimulator:
    """The arm, for `HostEpisodes`; its reset draws nothing, so that a task is an initial state."""

    env: MetaWorld

    def make(self, task: Any) -> Any:
        return self._given(task)[1]()

    def kind(self, task: Any) -> str:
        return self._given(task)[0].env_name

    def begin(self, env: Any, task: Any, seed: int) -> Any:
        given, _ = self._given(task)
        if self.env.goal_visible:
            data = {**pickle.loads(given.data), "partially_observable": False}
            given = given._replace(data=pickle.dumps(data))
        env.set_task(given)
        env.seed(seed)
        return env.reset()[0]

    def advance(self, env: Any, action: Any) -> HostOutcome:
        observation, reward, terminated, truncated, info = env.step(np.clip(action, -1.0, 1.0))
        return HostOutcome(observation, float(reward), bool(terminated), bool(truncated), bool(info["success"]))

    def _given(self, task: Any) -> Any:
        return _goals(self.env.benchmark, self.env.environment, self.env.goal_seed)[int(task)]


@functools.cache
def _episodes(env: MetaWorld) -> HostEpisodes:
    # Objects serve both splits of a benchmark one after the other, but not each other's episodes.
    return HostEpisodes(_MetaWorldSimulator(env), (39,), np.float32, env.max_steps)


@functools.cache
def _goals(benchmark: str, environment: str, seed: int) -> list[tuple[Any, Any]]:
    """The package's tasks, train then test, each with its environment's class."""
    metaworld = package("metaworld", "metaworld")
    made = metaworld.ML1(environment, seed) if benchmark == "ML1" else getattr(metaworld, benchmark)(seed)
    train = [(task, made.train_classes[task.env_name]) for task in made.train_tasks]
    test = [(task, made.test_classes[task.env_name]) for task in made.test_tasks]
    if benchmark != "ML1":
        test = [(task, cls) for task, cls in test if task.env_name not in made.train_classes]
    return train + test


@functools.cache
def _package(env: MetaWorld) -> Any:
    metaworld = package("metaworld", "metaworld")
    if env.benchmark == "ML1" and env.environment not in metaworld.ML1.ENV_NAMES:
        raise unknown("MetaWorld.environment", env.environment, metaworld.ML1.ENV_NAMES)
    return metaworld
