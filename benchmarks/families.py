"""Steps a second of every task family with a random policy, beside the originals where they exist.

    engine      `quickstudy.rollout.collect`: 1024 streams, every transition kept
    bare        the family's `step` and `reset` alone in one compiled scan, of whose answers the sum is kept
    gymnax      the same scan over gymnax's environment
    gymnasium   `SyncVectorEnv` of 8 environments
    xland       the same scan over XLand-MiniGrid's environment

    python benchmarks/families.py [FAMILY …]

A family whose package is missing is left out; what the file holds of it from another environment stays, since
some of the packages exclude each other.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
from machine import RESULTS, save

from quickstudy.errors import InputError
from quickstudy.evaluation import training_split
from quickstudy.fingerprint import versions
from quickstudy.registry import REGISTRIES, resolve
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import TrialShape

STREAMS, STEPS, REPEATS = 1024, 200, 5
PATIENCE = 20.0
# Objects, or physics that is slow on a CPU: fewer streams, which the result says.
FEWER_STREAMS = {"meta-world": 16, "brax": 64}
GYM_ENVS, GYM_STEPS = 8, 250
GYMNAX = {"cartpole": "CartPole-v1", "pendulum": "Pendulum-v1", "acrobot": "Acrobot-v1",
          "mountain-car": "MountainCar-v0"}  # fmt: skip
GYMNASIUM = GYMNAX | {
    "cheetah-velocity": "HalfCheetah-v5", "ant-velocity": "Ant-v5", "walker-parameters": "Walker2d-v5",
    "hopper-parameters": "Hopper-v5", "humanoid-direction": "Humanoid-v5",
}  # fmt: skip


def rate(run: Callable[[], Any], steps: int) -> int:
    """Steps a second, the median of as many repeats as are patient, after one that compiles."""
    run()
    seconds: list[float] = []
    while len(seconds) < REPEATS and sum(seconds) < PATIENCE:
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return round(steps / statistics.median(seconds))


def engine(env: Any, num_streams: int) -> int:
    trial = TrialShape(num_episodes=max(1, round(STEPS / env.max_steps)))
    agent = resolve("agent", "random")()
    policy = agent.init(env, trial, jax.random.key(0))

    @jax.jit
    def live(key: Any) -> Any:
        keys = jax.random.split(key, num_streams)
        return collect(agent, env, trial, policy, sample_tasks(env, keys), keys)

    return rate(lambda: jax.block_until_ready(live(jax.random.key(1))), num_streams * trial.num_steps(env))


def scanned(reset: Any, step: Any, sample: Any) -> int:
    """A scan of vmapped steps with random actions; `step` resets by itself."""

    @jax.jit
    def live(key: Any) -> Any:
        state = jax.vmap(reset)(jax.random.split(key, STREAMS))

        def body(state: Any, key: Any) -> Any:
            keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(STREAMS))
            return jax.vmap(lambda state, key: step(state, sample(key), key))(state, keys)

        return jax.lax.scan(body, state, jax.random.split(key, STEPS))[1]

    return rate(lambda: jax.block_until_ready(live(jax.random.key(1))), STREAMS * STEPS)


def total(observation: Any, reward: Any) -> Any:
    """Something that cannot be known without taking the step."""
    return reward + sum(jnp.sum(x) for x in jax.tree.leaves(observation))


def bare(env: Any) -> int:
    agent = resolve("agent", "random")()
    policy = agent.init(env, TrialShape(), jax.random.key(0))

    def begin(key: Any) -> Any:
        k_task, k_reset = jax.random.split(key)
        task = env.sample_task(k_task)
        return task, env.reset(task, k_reset)[0], jnp.zeros((), jnp.int32)

    def step(carry: Any, action: Any, key: Any) -> Any:
        task, state, count = carry
        state, outcome = env.step(task, state, action, key)
        done = outcome.terminated | (count + 1 >= env.max_steps)
        fresh = env.reset(task, key)[0]
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, state)
        return (task, state, jnp.where(done, 0, count + 1)), total(outcome.observation, outcome.reward)

    return scanned(begin, step, policy.sample)


def gymnax_rate(name: str) -> int:
    env, parameters = package("gymnax").make(name)
    space = env.action_space(parameters)

    def step(state: Any, action: Any, key: Any) -> Any:
        answer = env.step(key, state, action, parameters)
        return answer[1], total(answer[0], answer[2])

    return scanned(lambda key: env.reset(key, parameters)[1], step, space.sample)


def xland_rate(family: Any) -> int:
    env, parameters = package("xminigrid").make(family.id)
    env = package("xminigrid.wrappers").GymAutoResetWrapper(env)

    def step(timestep: Any, action: Any, key: Any) -> Any:
        timestep = env.step(parameters, timestep, action)
        return timestep, total(timestep.observation, timestep.reward)

    def sample(key: Any) -> Any:
        return jax.random.randint(key, (), 0, env.num_actions(parameters))

    return scanned(lambda key: env.reset(parameters, key), step, sample)


def gymnasium_rate(name: str) -> int:
    envs = gymnasium.make_vec(name, GYM_ENVS, vectorization_mode="sync")
    envs.reset(seed=0)
    actions = [envs.action_space.sample() for _ in range(GYM_STEPS)]

    def run() -> None:
        for action in actions:
            envs.step(action)

    return rate(run, GYM_ENVS * GYM_STEPS)


def measure(name: str) -> dict[str, Any]:
    env = training_split(resolve("env", name)())
    num_streams = FEWER_STREAMS.get(name, STREAMS)
    result: dict[str, Any] = {"engine": engine(env, num_streams)}
    if num_streams != STREAMS:
        result["streams"] = num_streams
    elif not (hasattr(env, "reset_where") or hasattr(env, "backend")):
        result["bare"] = bare(env)
    if name in GYMNASIUM:
        result["gymnasium"] = gymnasium_rate(GYMNASIUM[name])
    if name in GYMNAX and _has("gymnax"):
        result["gymnax"] = gymnax_rate(GYMNAX[name])
    if name == "xland":
        result["xland"] = xland_rate(env)
    return result


def package(name: str) -> Any:
    return importlib.import_module(name)


def _has(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", default=sorted(REGISTRIES["env"]))
    options = parser.parse_args()
    path = RESULTS / "families.json"
    kept = json.loads(path.read_text())["steps_per_second"] if path.exists() else {}
    load = os.getloadavg()[0]
    for name in options.families:
        try:
            measured = measure(name)
        except InputError as error:
            print(f"{name}: {error}")
            continue
        kept[name] = {**kept.get(name, {}), **measured, "jax": versions()["jax"]}
        print(name, kept[name], flush=True)
        record = {"streams": STREAMS, "load_average_at_the_start": round(load, 2)}
        save("families", {**record, "steps_per_second": dict(sorted(kept.items()))})


if __name__ == "__main__":
    main()
