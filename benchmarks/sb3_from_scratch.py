"""What Stable-Baselines3 needs to learn CartPole, Pendulum and HalfCheetah, at the settings tuned for it.

    python benchmarks/sb3_from_scratch.py [--seeds 2] [--cases ppo-cartpole …]

The other half of `from_scratch.py`, for an environment of its own: it needs stable-baselines3 2.9 and PyTorch,
and nothing of quickstudy. The settings are those of RL Baselines3 Zoo. A tenth of the budget at a time, 20
episodes by the deterministic policy; at the end 100. Seconds are of the process's CPU in training alone, on one
thread: what a quiet core would take.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

# Of another environment than the project's own.
sb3: Any = importlib.import_module("stable_baselines3")
torch: Any = importlib.import_module("torch")
BaseCallback: Any = importlib.import_module("stable_baselines3.common.callbacks").BaseCallback
make_vec_env: Any = importlib.import_module("stable_baselines3.common.env_util").make_vec_env
evaluate_policy: Any = importlib.import_module("stable_baselines3.common.evaluation").evaluate_policy
VecNormalize: Any = importlib.import_module("stable_baselines3.common.vec_env").VecNormalize

RESULT = Path(__file__).parent / "results" / "sb3_from_scratch.json"
FIRST_SEED = 100
# Environment, budget, streams, solved, settings.
CASES: dict[str, tuple[str, int, int, float, dict[str, Any]]] = {
    "ppo-cartpole": (
        "CartPole-v1",
        100_000,
        8,
        475.0,
        {"n_steps": 32, "batch_size": 256, "gae_lambda": 0.8, "gamma": 0.98, "n_epochs": 20, "ent_coef": 0.0,
         "learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.2 * left},
    ),
    "a2c-cartpole": ("CartPole-v1", 500_000, 8, 475.0, {"ent_coef": 0.0}),
    "dqn-cartpole": (
        "CartPole-v1",
        50_000,
        1,
        475.0,
        {"learning_rate": 2.3e-3, "batch_size": 64, "buffer_size": 100_000, "learning_starts": 1000,
         "gamma": 0.99, "target_update_interval": 10, "train_freq": 256, "gradient_steps": 128,
         "exploration_fraction": 0.16, "exploration_final_eps": 0.04,
         "policy_kwargs": {"net_arch": [256, 256]}},
    ),
    "ppo-pendulum": (
        "Pendulum-v1",
        100_000,
        4,
        -200.0,
        {"n_steps": 1024, "gae_lambda": 0.95, "gamma": 0.9, "n_epochs": 10, "ent_coef": 0.0,
         "learning_rate": 1e-3, "clip_range": 0.2, "use_sde": True, "sde_sample_freq": 4},
    ),
    "sac-pendulum": ("Pendulum-v1", 20_000, 1, -200.0, {"learning_rate": 1e-3}),
    "ppo-halfcheetah": (
        "HalfCheetah-v5",
        1_000_000,
        1,
        math.inf,
        {"n_steps": 512, "batch_size": 64, "gae_lambda": 0.92, "gamma": 0.98, "n_epochs": 20,
         "ent_coef": 0.000401762, "learning_rate": 2.0633e-5, "clip_range": 0.1, "max_grad_norm": 0.8,
         "vf_coef": 0.58096, "policy_kwargs": {"log_std_init": -2, "ortho_init": False,
         "activation_fn": torch.nn.ReLU, "net_arch": {"pi": [256, 256], "vf": [256, 256]}}},
    ),
    "sac-halfcheetah": ("HalfCheetah-v5", 100_000, 1, math.inf, {"learning_starts": 10_000}),
}  # fmt: skip
NORMALISED = {"ppo-halfcheetah"}
"""By running statistics of observations and returns."""


def one(name: str, seed: int) -> dict[str, Any]:
    """One training -> its curve and what it took."""
    env_name, budget, num_streams, solved, settings = CASES[name]
    algorithm = getattr(sb3, name.split("-")[0].upper())
    streams = make_vec_env(env_name, num_streams, seed=seed)
    if name in NORMALISED:
        streams = VecNormalize(streams, gamma=settings["gamma"])
    model = algorithm("MlpPolicy", streams, seed=seed, device="cpu", **settings)
    judge, curve, seconds = make_vec_env(env_name, 1, seed=10_000 + seed), [], 0.0
    if name in NORMALISED:
        judge = VecNormalize(judge, training=False, norm_reward=False)
        judge.obs_rms = streams.obs_rms

    # Learning goes on in one call, so that schedules see the whole budget; between its parts it is examined.
    class Examined(BaseCallback):
        began = 0.0
        next_at = budget // 10

        def _on_step(self) -> bool:
            nonlocal seconds
            if self.num_timesteps >= self.next_at:
                seconds += time.process_time() - self.began
                returns, _ = evaluate_policy(model, judge, 20, deterministic=True)
                curve.append((self.num_timesteps, round(float(returns), 1), round(seconds, 1)))
                self.next_at += budget // 10
                self.began = time.process_time()
            return True

        def _on_training_start(self) -> None:
            self.began = time.process_time()

    model.learn(budget, callback=Examined())
    returns, _ = evaluate_policy(model, judge, 100, deterministic=True)
    first = next((steps for steps, mean, _ in curve if mean >= solved), None)
    return {"seed": seed, "steps": budget, "cpu_seconds": round(seconds, 1), "curve": curve,
            "first_solved_at": first, "final_return": round(float(returns), 1)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--cases", nargs="*", default=list(CASES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(RESULT.read_text())["cases"] if RESULT.exists() else {}
    for name in options.cases:
        runs = []
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            runs.append(one(name, seed))
            print(name, {k: v for k, v in runs[-1].items() if k != "curve"}, flush=True)
        found[name] = {"runs": runs, "solved": CASES[name][3] if math.isfinite(CASES[name][3]) else None}
        told = {
            "command": "python benchmarks/sb3_from_scratch.py",
            "versions": {"stable-baselines3": sb3.__version__, "torch": torch.__version__,
                         "gymnasium": gymnasium.__version__, "numpy": np.__version__},
            "machine": {"platform": platform.platform(), "processor": platform.machine(), "threads": 1},
            "cases": found,
        }  # fmt: skip
        RESULT.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
