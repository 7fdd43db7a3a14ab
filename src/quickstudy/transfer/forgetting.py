"""What is forgotten on the way: one policy is fine-tuned in one new task after another, and examined in all.

    π^0 the global policy;  F^0 its Fisher
    for each new task i:  π^i = fine-tuned from π^{i-1}, held near it by the agent's penalty
                          F^i = F^{i-1} + the Fisher of π^i in task i
    after each: the exam returns in every known task and in every new one

So each penalty holds the policy near the last one, and with ewc what mattered in any earlier task goes on
counting: one anchor and the sum of all Fishers. Run with `penalty="none"` and the same key for what the penalty
saves.

Source: Kirkpatrick et al. 2017 (arXiv 1612.00796); one anchor as in Schwarz et al. 2018 (arXiv 1805.06370),
section 4.
Differs from the papers: no Fisher fades.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from quickstudy import lives, rollout
from quickstudy.agents.fine_tune import FineTune, Global
from quickstudy.errors import wrong
from quickstudy.transfer.critic import num_tasks
from quickstudy.transfer.elastic import fisher
from quickstudy.types import Env, Key, PyTree

FIRST, EXAM_KNOWN, EXAM_NEW = range(3)


class Forgetting(NamedTuple):
    """Exam returns, in the same episodes after every task."""

    known: np.ndarray
    """[n+1, k, E], in the known tasks: before the first new task, then after each."""
    new: np.ndarray
    """[n+1, n, E], likewise in every new task, lived already or not."""
    last: Global
    """The policy after the last task."""


def fine_tune_through(
    agent: FineTune,
    env: Env,
    shape: lives.LifeShape,
    start: Global,
    known_tasks: PyTree,
    new_tasks: PyTree,
    key: Key,
    num_episodes: int = 10,
) -> Forgetting:
    """Through `new_tasks` [n, ...] in their order, a life of `shape` in each; `known_tasks` [k, ...]."""
    if agent.part == "adapter":
        raise wrong("agent.part", agent.part, "another for a sequence of tasks: each would add an adapter")
    num_new = num_tasks(new_tasks)
    exams = [
        (tasks, jax.random.split(jax.random.fold_in(key, use), num_tasks(tasks)))
        for tasks, use in ((known_tasks, EXAM_KNOWN), (new_tasks, EXAM_NEW))
    ]

    def measured(known: Global) -> list[np.ndarray]:
        return [_returns(agent, env, known, tasks, keys, num_episodes) for tasks, keys in exams]

    known, life_keys = start, jax.random.split(jax.random.fold_in(key, FIRST), num_new)
    rows = [measured(known)]
    for i in range(num_new):
        task = jax.tree.map(lambda x, i=i: x[i : i + 1], new_tasks)
        known = _after(agent, env, shape, known, task, life_keys[i : i + 1])
        rows.append(measured(known))
    known_returns, new_returns = (np.stack(column) for column in zip(*rows, strict=True))
    return Forgetting(known_returns, new_returns, known)


def _after(agent: FineTune, env: Env, shape: lives.LifeShape, start: Global, task: PyTree, key: Key) -> Global:
    """The global policy of the tasks until here; `task` and `key` have an axis of 1."""
    k_life, k_importance = jnp.moveaxis(jax.vmap(jax.random.split)(key), 1, 0)
    life = lives.begin(agent, env, shape, start, task, k_life)
    life, _ = lives.live(agent, env, shape, start, life, shape.num_adapts)
    learned = jax.tree.map(lambda x: x[0], life.task_params)
    known = dataclasses.replace(start, network=agent.network(start, learned.weights), earned=learned.earned)
    return _with_importance(agent, env, shape, known, task, k_importance)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _with_importance(
    agent: FineTune, env: Env, shape: lives.LifeShape, known: Global, task: PyTree, key: Key
) -> Global:
    """With the Fisher of its policy in the task, at one phase's observations, added to what it had."""
    task_params = rollout.begin_tasks(agent, known, key)
    stream_keys = rollout.stream_keys(key, 0, shape.num_streams)
    streams = rollout.begin(agent, env, known, task_params, task, stream_keys)
    walked = (known, task_params, task, stream_keys, streams)
    _, transitions = rollout.roll_on(agent, env, (shape.num_steps, None), *walked)
    learner = jax.tree.map(lambda x: x[0], task_params)
    steps = agent.judge(known, learner, jax.tree.map(lambda x: x[0], transitions))
    # Of a key of its own: the last of what a trial has phases for.
    k_actions = jax.random.fold_in(key[0], jnp.iinfo(jnp.int32).max)
    found = fisher(known.network, steps.observation, k_actions)
    return dataclasses.replace(known, fisher=jax.tree.map(jnp.add, known.fisher, found))


def _returns(agent: Any, env: Env, known: Global, tasks: PyTree, keys: Key, num_episodes: int) -> np.ndarray:
    task_params = rollout.begin_tasks(agent, known, keys)
    return np.asarray(lives.examine(agent, env, known, task_params, tasks, keys, num_episodes).returns)
