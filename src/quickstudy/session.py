"""A trained agent in somebody else's loop: NumPy in, NumPy out, no JAX knowledge needed.

session = quickstudy.load("runs/rl2-bandit").session(seed=0)
session.new_task()
action = session.act(observation, first=True)
while …:
    observation, reward, … = step(action)
    action = session.act(observation, reward=reward, first=episode_begins)

An agent that learns by gradients does so where a phase ends:

session.adapt(reward)   # the last action's; the next `act` opens a new phase, with what was learned
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import keys
from quickstudy.compilation import use_compilation_cache
from quickstudy.errors import InputError, wrong
from quickstudy.evaluation import evaluate
from quickstudy.experiment import Experiment
from quickstudy.run import Run
from quickstudy.types import Key, Output, PyTree, TimeStep, Transition, TrialShape
from quickstudy.updates import init_state


class Session:
    """One agent that lives through one task after another."""

    def __init__(self, agent: Any, env: Any, meta_params: PyTree, seed: int = 0):
        self._agent, self._env, self._meta_params = agent, env, meta_params
        self._observation_space, self._action_space = env.observation_space, env.action_space
        self._key = keys.branch(seed, keys.SESSION)
        self._num_tasks = 0
        self.new_task()

    def new_task(self) -> None:
        """Forget the task: the next `act` opens the first episode of a new one."""
        self._task_key = jax.random.fold_in(self._key, self._num_tasks)
        self._num_tasks += 1
        self._num_steps, self._num_adapts = 0, 0
        self._task_params = self._agent.init_task(self._meta_params, jax.random.fold_in(self._task_key, 0))
        self._begin_phase()

    def _begin_phase(self) -> None:
        self._memory = self._agent.init_memory(self._meta_params, self._task_params)
        space = self._action_space
        self._action = jnp.zeros(space.shape, jax.dtypes.canonicalize_dtype(space.dtype))
        self._lived: list[tuple[TimeStep, Output, jax.Array]] = []

    def act(
        self, observation: Any, reward: float = 0.0, first: bool = False, greedy: bool = False
    ) -> np.ndarray:
        """The agent's next action.

        `reward` is what the last action earned (also when it ended an episode); `first` says that
        `observation` opens an episode. `greedy` takes the policy's mode instead of a sample.
        Raises `InputError` where the observation is not one of the environment's space.
        """
        given, space = np.asarray(observation), self._observation_space
        observation = given.astype(space.dtype)
        if not np.can_cast(given.dtype, space.dtype, "same_kind") or not space.contains(observation[()]):
            raise wrong("observation", given.tolist(), f"an element of {space}")
        if not np.isfinite(reward):
            raise wrong("reward", reward, "a finite number")
        at_start = not self._lived
        timestep = TimeStep(
            observation=jnp.asarray(observation),
            action=self._action,
            reward=jnp.float32(0.0 if at_start else reward),
            first=jnp.asarray(first or at_start),
        )
        self._num_steps += 1
        key = jax.random.fold_in(self._task_key, self._num_steps)
        self._action, output, self._memory = _act(
            self._agent, greedy, self._meta_params, self._task_params, self._memory, timestep, key
        )
        self._lived.append((timestep, output, self._action))
        return np.asarray(self._action)

    def adapt(self, reward: float = 0.0) -> None:
        """Learn from the phase that ends here; `reward` is what its last action earned.

        The episodes of the phase, one after the other, are one stream. What ended an episode is not known
        here: it counts as its own end. An agent that learns by its memory alone begins a new phase with an
        empty one. Raises `InputError` where nothing was lived since the last call.
        """
        if not self._lived:
            raise InputError("adapt: nothing was lived in this phase yet; expected `act` before it")
        if not np.isfinite(reward):
            raise wrong("reward", reward, "a finite number")
        phase = _phase(self._lived, reward)
        self._num_adapts += 1
        # Beside the keys of the steps, which count from 1.
        key = jax.random.fold_in(jax.random.fold_in(self._task_key, 0), self._num_adapts)
        self._task_params = self._agent.adapt(self._meta_params, self._task_params, phase, key)
        self._begin_phase()


class Loaded:
    """A trained agent from a run directory."""

    def __init__(self, experiment: Experiment, meta_params: PyTree, update: int):
        self.experiment, self.meta_params, self.update = experiment, meta_params, update

    def session(self, seed: int = 0) -> Session:
        """The agent, for somebody else's loop."""
        return Session(self.experiment.learner, self.experiment.env, self.meta_params, seed)

    def evaluate(
        self,
        *,
        num_tasks: int | None = None,
        seed: int = 0,
        trial: TrialShape | None = None,
        progress: bool = False,
    ) -> dict[str, Any]:
        """Measure it on held-out tasks; see `quickstudy.evaluate`."""
        return evaluate(
            self.experiment.learner,
            self.experiment.env,
            trial or self.experiment.trial,
            self.meta_params,
            num_tasks=num_tasks or self.experiment.num_test_tasks,
            seed=seed,
            checkpoint=self.update,
            progress=progress,
        )


def load(
    directory: Path | str, *, checkpoint: int | Literal["last", "best"] = "last", allow_code: bool = False
) -> Loaded:
    """The trained agent in a run directory; raises `InputError` where there is none that fits.

    `allow_code=True` lets a run of somebody's own `file.py:Name` import that file.
    """
    use_compilation_cache()
    run = Run.open(directory, allow_code)
    step = run.checkpoints.best() if checkpoint == "best" else None if checkpoint == "last" else checkpoint
    restored = run.restore(init_state(run.experiment), step)
    if restored is None:
        raise InputError(f"checkpoint: none in {str(directory)!r} yet; expected a run that was trained")
    state, _ = restored
    return Loaded(run.experiment, state.outer.meta_params, int(state.update))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _act(
    agent: Any,
    greedy: bool,
    meta_params: PyTree,
    task_params: PyTree,
    memory: PyTree,
    timestep: TimeStep,
    key: Key,
) -> tuple[jax.Array, Output, PyTree]:
    k_agent, k_sample = jax.random.split(key)
    output, memory = agent.step(meta_params, task_params, memory, timestep, k_agent)
    return output.policy.mode() if greedy else output.policy.sample(k_sample), output, memory


def _phase(lived: list[tuple[TimeStep, Output, jax.Array]], last_reward: float) -> Transition:
    """What was lived as one stream [1, T]."""
    timestep, output, action = jax.tree.map(lambda *xs: jnp.stack(xs)[None], *lived)
    reward = jnp.append(timestep.reward[:, 1:], jnp.float32(last_reward)[None, None], axis=1)
    ends = jnp.append(timestep.first[:, 1:], jnp.ones((1, 1), bool), axis=1)
    next_observation = jax.tree.map(lambda x: jnp.roll(x, -1, axis=1), timestep.observation)
    nowhere = jnp.zeros_like(ends)
    return Transition(
        timestep=timestep,
        action=action,
        reward=reward,
        next_observation=next_observation,
        terminated=ends,
        truncated=nowhere,
        success=None,
        mask=~nowhere,
        log_prob=jax.vmap(jax.vmap(lambda policy, action: policy.log_prob(action)))(output.policy, action),
        value=output.value,
        next_value=jnp.zeros_like(output.value),
        extras=output.extras,
    )
