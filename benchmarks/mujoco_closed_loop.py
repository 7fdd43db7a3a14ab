"""Closed loop with a policy over `cheetah-velocity`, beside the rate of MuJoCo's engine alone and of Gymnasium.

    closed loop   a 64×64 network in `quickstudy.rollout.collect`: 256 streams of 200 control steps
    open loop     `mujoco.rollout`: the same actions, known beforehand, in one call
    Gymnasium     SyncVectorEnv of HalfCheetah-v5 with random actions and no policy

Each repeat runs all of them in turn; the medians are kept, and the medians of the ratios within a repeat.
What the closed loop spends outside the engine is measured with an engine that answers at once.

    python benchmarks/mujoco_closed_loop.py [--streams 256] [--repeats 7]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from machine import save

from quickstudy.envs import mujoco_body, mujoco_host
from quickstudy.envs.cheetah import CheetahVelocity
from quickstudy.nets.distributions import Normal
from quickstudy.nets.layers import Linear
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import Output, Trials, TrialShape
from quickstudy.updates import device_mesh

ENV = CheetahVelocity()
HIDDEN_SIZE = 64
GYM_ENVS, GYM_STEPS = 8, 250


@dataclasses.dataclass(frozen=True)
class Policy:
    """A network of two layers; it learns nothing."""

    def init(self, env: Any, trial: TrialShape, key: Any) -> Any:
        sizes = (*env.observation_space.shape, HIDDEN_SIZE, HIDDEN_SIZE, *env.action_space.shape)
        keys = jax.random.split(key, 3)
        return [Linear(a, b, k) for a, b, k in zip(sizes[:-1], sizes[1:], keys, strict=True)]

    def init_task(self, meta_params: Any, key: Any) -> Any:
        return ()

    def init_memory(self, meta_params: Any, task_params: Any) -> Any:
        return ()

    def step(self, meta_params: Any, task_params: Any, memory: Any, timestep: Any, key: Any) -> Any:
        first, second, last = meta_params
        mean = last(jnp.tanh(second(jnp.tanh(first(timestep.observation)))))
        return Output(Normal(mean, jnp.zeros_like(mean)), jnp.zeros(()), {}), memory


def closed_loop(num_streams: int) -> Callable[[int], Trials]:
    agent, trial = Policy(), TrialShape(num_episodes=1)
    meta_params = agent.init(ENV, trial, jax.random.key(0))

    def live(meta_params: Any, keys: Any) -> Trials:
        return collect(agent, ENV, trial, meta_params, sample_tasks(ENV, keys), keys)

    # As in a training: each device lives through its share of the tasks.
    mesh, tasks = device_mesh(), PartitionSpec("tasks")
    if mesh is not None:
        live = jax.shard_map(
            live, mesh=mesh, in_specs=(PartitionSpec(), tasks), out_specs=tasks, check_vma=False
        )
    live = jax.jit(live)
    return lambda seed: jax.block_until_ready(
        live(meta_params, jax.random.split(jax.random.key(seed), num_streams))
    )


def open_loop(num_streams: int) -> Callable[[np.ndarray], Any]:
    """-> a function of the actions [streams, steps, 6]."""
    engine, rollout, model = mujoco_body.mujoco(), mujoco_body.mujoco(".rollout"), ENV.standard
    num_threads = mujoco_host.num_cores()
    data = [engine.MjData(model) for _ in range(num_threads)]
    pool = rollout.Rollout(nthread=num_threads)
    states = jax.vmap(ENV.reset)(jnp.zeros(num_streams), jax.random.split(jax.random.key(0), num_streams))[0]
    physical = np.asarray(states).view(np.float64)[:, : model.nq + model.nv]
    start = np.concatenate([np.zeros((num_streams, 1)), physical], axis=1)  # time comes first
    return lambda actions: pool.rollout(model, data, start, np.repeat(actions, ENV.body.frame_skip, axis=1))


def gymnasium_loop() -> Callable[[], None]:
    envs = gymnasium.make_vec("HalfCheetah-v5", GYM_ENVS, vectorization_mode="sync")
    envs.reset(seed=0)
    actions = [envs.action_space.sample() for _ in range(GYM_STEPS)]

    def run() -> None:
        for action in actions:
            envs.step(action)

    return run


def seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def without_engine(num_streams: int) -> float:
    """Seconds of a closed loop whose engine answers at once."""
    engine = mujoco_host._run
    sizes = mujoco_body.state_size(ENV.body), sum(mujoco_body.seen_sizes(ENV.body))
    # What each device's share of the streams is answered.
    shares = {
        rows: (np.zeros((rows, sizes[0])).view(np.uint32), np.zeros((rows, sizes[1]), np.float32))
        for rows in (num_streams, num_streams // len(jax.devices()))
    }

    def answer(body: Any, lead: tuple[int, ...], *ignored: Any) -> tuple[np.ndarray, np.ndarray]:
        state, seen = shares[int(np.prod(lead))]
        return state.reshape(*lead, -1), seen.reshape(*lead, -1)

    mujoco_host._run = answer
    try:
        live = closed_loop(num_streams)
        live(0)
        return statistics.median(seconds(lambda seed=seed: live(seed)) for seed in range(5))
    finally:
        mujoco_host._run = engine


def measure(num_streams: int, repeats: int) -> dict[str, Any]:
    live, roll, gym = closed_loop(num_streams), open_loop(num_streams), gymnasium_loop()
    steps = num_streams * ENV.max_steps
    actions = np.clip(np.asarray(live(0).phases.action, np.float64)[:, 0, 0], -1.0, 1.0)
    roll(actions[:, :10])
    gym()
    rates: dict[str, list[float]] = {"closed": [], "open": [], "gymnasium": []}
    for repeat in range(repeats):
        rates["open"].append(steps / seconds(lambda: roll(actions)))
        rates["closed"].append(steps / seconds(lambda repeat=repeat: live(repeat)))
        rates["gymnasium"].append(GYM_ENVS * GYM_STEPS / seconds(gym))
    to_open = [c / o for c, o in zip(rates["closed"], rates["open"], strict=True)]
    to_gym = [c / g for c, g in zip(rates["closed"], rates["gymnasium"], strict=True)]
    idle = without_engine(num_streams)
    return {
        "streams": num_streams,
        "devices": len(jax.devices()),
        "closed_loop_steps_per_second": round(statistics.median(rates["closed"])),
        "open_loop_steps_per_second": round(statistics.median(rates["open"])),
        "gymnasium_sync_vector_steps_per_second": round(statistics.median(rates["gymnasium"])),
        "closed_to_open": round(statistics.median(to_open), 3),
        "closed_to_open_of_each_repeat": [round(x, 3) for x in to_open],
        "closed_to_gymnasium": round(statistics.median(to_gym), 2),
        "milliseconds_a_step": round(1e3 * num_streams / statistics.median(rates["closed"]), 3),
        "milliseconds_a_step_outside_the_engine": round(1e3 * idle / ENV.max_steps, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[256])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument(
        "--devices", type=int, default=mujoco_host.num_cores(), help="that JAX sees on this CPU"
    )
    options = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", options.devices)
    here, load = os.getcwd(), os.getloadavg()[0]
    results = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # MuJoCo writes its warnings about Gymnasium's file where it stands
        for num_streams in options.streams:
            results.append(measure(num_streams, options.repeats))
            print(results[-1], flush=True)
        os.chdir(here)
    engines = {"mujoco": mujoco_body.mujoco().__version__, "gymnasium": gymnasium.__version__}
    record = {"engines": engines, "load_average_at_the_start": round(load, 2), "results": results}
    print(save("mujoco_closed_loop", record))


if __name__ == "__main__":
    main()
