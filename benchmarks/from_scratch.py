"""Learning from scratch beside Stable-Baselines3: environment steps and seconds until a task is solved.

    python benchmarks/from_scratch.py [--cases ppo-cartpole …] [--seed 100]

Ten learners at once, on Gymnasium's own CartPole and Pendulum, by `quickstudy learn`'s presets, from seeds by
which nothing was chosen; solved are 475 and -200, the mean of 100 episodes by the policy's mode, for every
learner. Seconds are of this process's wall clock, compilation and exams included, with an empty store of
compiled programs. Beside them, what `sb3_from_scratch.py` measured on the same machine (its settings are tuned
for it; its seconds are CPU time of training alone): its ten seeds one after the other take ten times its mean.
Three learners on HalfCheetah-v5's body, asked for by `--cases`, have no mark to reach: their returns after a
million steps (ppo), or a hundred thousand (sac), stand beside Stable-Baselines3's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from typing import Any

BEGAN = time.perf_counter()
os.environ["QUICKSTUDY_CACHE"] = tempfile.mkdtemp(prefix="quickstudy-fresh-")

import numpy as np  # noqa: E402
from machine import RESULTS, save  # noqa: E402

from quickstudy.envs.cartpole import CartPole  # noqa: E402
from quickstudy.envs.pendulum import Pendulum  # noqa: E402
from quickstudy.learning import learn  # noqa: E402
from quickstudy.learning_settings import Learning, to_record  # noqa: E402
from quickstudy.life_presets import learning_preset  # noqa: E402

SB3 = RESULTS / "sb3_from_scratch.json"
STANDARD = {
    "cartpole": CartPole(mass_pole=(0.1, 0.1), length=(0.5, 0.5), force=(10.0, 10.0)),
    "pendulum": Pendulum(length=(1.0, 1.0), mass=(1.0, 1.0)),
}
CASES = ("ppo-cartpole", "a2c-cartpole", "dqn-cartpole", "ppo-pendulum", "sac-pendulum")
CHEETAH = ("sac-halfcheetah", "ppo-halfcheetah")
NUM_SEEDS = 10
NUM_CHEETAHS = 3


def learning(case: str, seed: int) -> Learning:
    agent, family = case.split("-")
    if family == "halfcheetah":
        preset = learning_preset(agent, "cheetah-mass")
        body = dataclasses.replace(
            preset.env, log2_range=0.0, height_reward=0.0, control_cost=0.1, max_steps=1000
        )
        return dataclasses.replace(
            preset, env=body, num_tasks=1, num_seeds=NUM_CHEETAHS, num_episodes=20, seed=seed
        )
    preset = learning_preset(agent, family)
    return dataclasses.replace(
        preset, env=STANDARD[family], num_tasks=1, num_seeds=NUM_SEEDS, num_episodes=100, seed=seed
    )


def measured(case: str, seed: int, began: float) -> dict[str, Any]:
    made = learning(case, seed)
    cpu_began = time.process_time()
    learned = learn(made, progress=True)
    exams = learned.exams["exams"]
    solved = next((e["steps"] for e in exams if e["solved"] == 1.0), None)
    return {
        "learning": to_record(made),
        "steps_until_all_solved": solved,
        "steps": exams[-1]["steps"],
        "final_returns": [round(x, 1) for x in exams[-1]["returns"]],
        "curve": [(e["steps"], round(e["mean"], 1), round(e["lowest"], 1)) for e in exams],
        "seconds": round(time.perf_counter() - began, 1),
        # The same on a machine that others use too.
        "cpu_seconds": round(time.process_time() - cpu_began, 1),
    }


def beside(case: str, ours: dict[str, Any]) -> dict[str, Any]:
    """What Stable-Baselines3 took, and the ratio."""
    runs = json.loads(SB3.read_text())["cases"].get(case, {}).get("runs") if SB3.exists() else None
    if not runs:
        return {}
    seconds = float(np.mean([run["cpu_seconds"] for run in runs]))
    learners = len(ours["final_returns"])
    return {
        "sb3": {
            "final_returns": [run["final_return"] for run in runs],
            "first_solved_at": [run["first_solved_at"] for run in runs],
            "steps": runs[0]["steps"],
            "mean_cpu_seconds": round(seconds, 1),
        },
        "times_faster": round(learners * seconds / ours["seconds"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=[*CASES, *CHEETAH])
    parser.add_argument("--seed", type=int, default=100)
    options = parser.parse_args()
    kept = RESULTS / "from_scratch.json"
    found = json.loads(kept.read_text())["cases"] if kept.exists() else {}
    began = BEGAN
    for case in options.cases:
        found[case] = measured(case, options.seed, began)
        # Of all cases: since an earlier one was measured, the other side may have been.
        found = {name: {**ours, **beside(name, ours)} for name, ours in found.items()}
        told = {name: x for name, x in found[case].items() if name not in ("learning", "curve")}
        print(case, json.dumps(told), flush=True)
        began = time.perf_counter()
        save("from_scratch", {"cases": found})


if __name__ == "__main__":
    main()
