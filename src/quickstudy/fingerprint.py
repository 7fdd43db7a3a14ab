"""What tells one environment from another, and one machine's software from another's."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
from typing import Any

import jax
import numpy as np

from quickstudy import keys
from quickstudy.errors import InputError
from quickstudy.experiment import to_dict
from quickstudy.references.random_agent import Random
from quickstudy.registry import name_of
from quickstudy.rollout import collect, sample_tasks
from quickstudy.types import TrialShape

# One episode of each, or as many short ones as this many steps hold.
PROBED_TASKS, PROBED_STEPS = 8, 32
# Rewards may differ in their last digits between machines, not more.
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-3, 1e-4


def environment_fingerprint(env: Any) -> dict[str, Any]:
    """What an environment is (fields, spaces, horizon, version) and how it behaves.

    `rewards` are those of a random agent in a few fixed tasks: they move when the dynamics or the reward are
    changed without a new `version`.
    """
    described = {
        "env": to_dict(env, "env"),
        "version": getattr(env, "version", 1),
        "observation_space": str(env.observation_space),
        "action_space": str(env.action_space),
        "max_steps": env.max_steps,
    }
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
    return {**described, "digest": digest[:16], "rewards": _probe_rewards(env)}


def check_fingerprint(stored: dict[str, Any], env: Any) -> None:
    """Raise `InputError` where the environment is not the one that a checkpoint was made in."""
    now = environment_fingerprint(env)
    for name in ("env", "version", "observation_space", "action_space", "max_steps"):
        if stored.get(name) != now[name]:
            raise InputError(
                f"environment fingerprint: {name} is {now[name]!r}, but the checkpoint was made with "
                f"{stored.get(name)!r}; evaluate it with the environment of its training"
            )
    rewards = np.asarray(stored.get("rewards", []))
    if rewards.shape != np.shape(now["rewards"]) or not np.allclose(
        rewards, now["rewards"], RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE
    ):
        raise InputError(
            f"environment fingerprint: {name_of('env', type(env))!r} now pays other rewards for the same "
            "actions than when the checkpoint was made; evaluate it with the environment of its training"
        )


def versions() -> dict[str, str]:
    """Of everything that numbers depend on."""
    packages = ("quickstudy", "jax", "jaxlib", "equinox", "optax", "numpy")
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def machine() -> dict[str, Any]:
    """Where a result was made."""
    devices = jax.devices()
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "device": devices[0].device_kind,
        "num_devices": len(devices),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _probe_rewards(env: Any) -> list[float]:
    trial, agent = TrialShape(num_episodes=max(1, PROBED_STEPS // env.max_steps)), Random()

    @jax.jit
    def rewards() -> jax.Array:
        task_keys, trial_keys = keys.per_task(keys.branch(0, keys.FINGERPRINT), np.arange(PROBED_TASKS))
        meta_params = agent.init(env, trial, task_keys[0])
        tasks = sample_tasks(env, task_keys)
        trials = collect(agent, env, trial, meta_params, tasks, trial_keys)
        return trials.phases.reward.sum(axis=(1, 2, 3))

    return [float(x) for x in rewards()]
