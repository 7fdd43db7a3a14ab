"""Runs to report on: realistic numbers, and what goes wrong with them."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from quickstudy.animation import Animation, Episode, encode
from quickstudy.reporting import RunSummary
from quickstudy.reporting.command import repeat_command

HOSTILE = '<script>alert("x")</script>&\'"<b>\x00'


def estimate(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def curve(
    first: float, last: float, rate: float, num_episodes: int, half: float = 0.008
) -> list[dict[str, float]]:
    """An adaptation curve that rises, or falls, from `first` towards `last`."""
    means = [last + (first - last) * math.exp(-rate * episode) for episode in range(num_episodes)]
    return [{**estimate(mean, half), "iqm": mean + 0.01} for mean in means]


def bandit_trial(probabilities: list[float], num_pulls: int, seed: int) -> dict[str, Any]:
    """A trial of an agent that does find the good arm."""
    random = np.random.default_rng(seed)
    wins, losses = np.ones(len(probabilities)), np.ones(len(probabilities))
    steps = []
    for pull in range(num_pulls):
        action = int(np.argmax(wins / (wins + losses) + random.uniform(0, 0.1, len(wins))))
        reward = float(random.random() < probabilities[action])
        wins[action] += reward
        losses[action] += 1 - reward
        steps.append({"episode": pull, "action": action, "reward": reward})
    best = max(probabilities)
    return {
        "task": f"{len(probabilities)} arms, the best pays with probability {best:.2f}",
        "labels": [f"p = {p:.2f}" for p in probabilities],
        "steps": steps,
    }


def metrics(num_updates: int = 400, first: float = 5.0, last: float = 6.6) -> dict[str, list[float]]:
    random = np.random.default_rng(1)
    update = np.arange(1, num_updates + 1, dtype=float)
    progress = 1 - np.exp(-update / 70)
    level = first + (last - first) * progress
    measured = (update % 25 == 0) | (update == 1)
    held_out = np.where(measured, level + random.normal(0, 0.02, num_updates), np.nan)
    columns = {
        "update": update,
        "env_steps": update * 10240,
        "seconds": 8 + update * 0.11,
        "steps_per_second": 93_000 + random.normal(0, 2500, num_updates),
        "return": level + random.normal(0, 0.06, num_updates),
        "eval_return": held_out,
        "eval_low": held_out - 0.05,
        "eval_high": held_out + 0.05,
        "loss": -0.05 - 0.02 * progress + random.normal(0, 0.01, num_updates),
        "entropy": 1.61 * np.exp(-update / 120) + 0.25,
        "kl": 0.012 * np.exp(-update / 200) + np.abs(random.normal(0, 0.001, num_updates)),
        "value_loss": 1.4 * np.exp(-update / 50) + 0.35 + random.normal(0, 0.01, num_updates),
        "grad_norm": 0.4 + np.abs(random.normal(0, 0.1, num_updates)),
        "skipped": np.zeros(num_updates),
    }
    return {name: column.tolist() for name, column in columns.items()}


def experiment() -> dict[str, Any]:
    return {
        "agent": {"type": "rl2", "hidden_size": 64, "core": "gru"},
        "env": {"type": "bandit", "num_arms": 5},
        "outer": {"type": "ppo", "learning_rate": 0.003, "clip": 0.2, "gae_lambda": 0.3, "epochs": 4},
        "trial": {"num_adapts": 0, "num_streams": 1, "num_episodes": 10},
        "num_tasks": 1024,
        "num_updates": 400,
        "seed": 0,
        "versions": {"quickstudy": "0.1.0", "jax": "0.10.2", "numpy": "2.4.6", "python": "3.11.7"},
        "machine": {"device": "cpu", "cores": 2, "system": "Linux-6.1"},
        "fingerprint": {"digest": "5c1b7f2a9e0d81aa", "max_steps": 1, "rewards": [0.0, 1.0, 1.0, 0.0]},
    }


def reference(total: float, half: float, exact: bool, episodes: list[Any] | None) -> dict[str, Any]:
    return {**estimate(total, half), "exact": exact, "episodes": episodes}


def evaluation(num_episodes: int = 10) -> dict[str, Any]:
    return {
        "agent": "rl2",
        "env": "bandit",
        "num_tasks": 10_000,
        "seed": 0,
        "episodes": curve(0.501, 0.725, 0.55, num_episodes),
        "total": {**estimate(6.617, 0.045), "standard_error": 0.023},
        "success": None,
        "gain": estimate(0.2236, 0.0121),
        "verdict": {
            "learned": True,
            "text": "Learned to learn: 6.617 [6.572, 6.662] over the trial, and the last episode is worth "
            "+0.224 more than the first; 0.65% below the best possible 6.66.",
        },
        "references": {
            "random": reference(5.003, 0.041, False, curve(0.5, 0.5, 1, num_episodes)),
            "greedy": reference(6.575, 0.045, False, curve(0.5, 0.708, 0.7, num_episodes)),
            "epsilon-greedy": reference(6.5, 0.044, False, curve(0.5, 0.699, 0.6, num_episodes)),
            "optimistic-thompson": reference(6.45, 0.043, False, curve(0.5, 0.72, 0.35, num_episodes)),
            "thompson": reference(5.704, 0.043, False, curve(0.5, 0.64, 0.2, num_episodes)),
            "ucb1": reference(6.62, 0.044, False, curve(0.5, 0.727, 0.5, num_episodes)),
            "gittins": reference(6.55, 0.044, False, curve(0.5, 0.718, 0.5, num_episodes)),
            "bayes-optimal": reference(6.66, 0.0, True, curve(0.5, 0.731, 0.56, num_episodes, 0.0)),
        },
        "optimum_gap_percent": estimate(0.646, 0.68),
        "protocol": {
            "trial": {"num_adapts": 0, "num_streams": 1, "num_episodes": num_episodes},
            "num_tasks": 10_000,
            "seed": 0,
            "checkpoint": 400,
            "interval": "95%, percentile bootstrap over tasks, 1000 resamples",
            "total": "undiscounted return of the whole trial, mean over streams",
            "versions": {"quickstudy": "0.1.0", "jax": "0.10.2"},
        },
        "examples": [
            bandit_trial([0.12, 0.92, 0.35, 0.51, 0.27], 10, 0),
            bandit_trial([0.48, 0.22, 0.61, 0.05, 0.83], 10, 1),
            bandit_trial([0.71, 0.33, 0.66, 0.14, 0.42], 10, 2),
            bandit_trial([0.09, 0.18, 0.31, 0.95, 0.64], 10, 3),
        ],
    }


def run(**changes: Any) -> RunSummary:
    """The realistic run; keyword arguments replace its fields."""
    fields: dict[str, Any] = {
        "name": "rl2-bandit-0",
        "experiment": experiment(),
        "evaluation": evaluation(),
        "metrics": metrics(),
        "command": repeat_command(experiment()),
    }
    return RunSummary(**{**fields, **changes})


FAILURE = "Learned nothing: 5.01 [4.97, 5.05] over the trial is not above a random agent's 5.003."


def failed() -> RunSummary:
    """Training that stayed at random."""
    stored = evaluation()
    stored["episodes"] = curve(0.5, 0.501, 1, 10)
    stored["total"] = estimate(5.01, 0.041)
    stored["gain"] = estimate(0.0012, 0.012)
    stored["optimum_gap_percent"] = estimate(24.8, 0.62)
    stored["verdict"] = {"learned": False, "text": FAILURE}
    return run(evaluation=stored, metrics=metrics(last=5.01))


def not_evaluated() -> RunSummary:
    return run(evaluation=None)


LEFT, RIGHT, MOVED = (0, 114, 178), (0, 158, 115), (230, 159, 0)
"""The colours of the animation's halves, and of the square that moves in both."""


def animation(task: str = "goal at (0.31, −0.44)", returns: tuple[float, ...] = (-40.4, -4.0)) -> bytes:
    """Pictures of one colour with a square that goes to the right; the last episode is shorter."""
    episodes = []
    for index, (total, colour, num_steps) in enumerate(zip(returns, (LEFT, RIGHT), (12, 8), strict=False)):
        frames = [np.full((120, 120, 3), colour, np.uint8) for _ in range(num_steps + 1)]
        for step, frame in enumerate(frames):
            frame[50:70, 8 * step : 8 * step + 20] = MOVED
        episodes.append(Episode((1, 3)[index], total, num_steps, frames))
    return encode(Animation(task, 1, episodes))


def empty() -> RunSummary:
    """A run that has not begun."""
    return RunSummary("fresh", {}, None, {}, "")


def single_episode() -> RunSummary:
    stored = evaluation(1)
    stored["gain"] = None
    stored["optimum_gap_percent"] = None
    stored["references"] = {}
    stored["success"] = estimate(0.83, 0.01)
    stored["examples"] = []
    return run(evaluation=stored, metrics=metrics(1))


def broken_numbers() -> RunSummary:
    """NaN, infinity and null wherever a number is expected."""
    bad = [math.nan, math.inf, -math.inf, None, 1e300, "much"]
    stored = evaluation()
    for index, episode in enumerate(stored["episodes"]):
        episode["mean" if index % 2 else "high"] = bad[index % len(bad)]
    stored["total"] = {"mean": math.nan, "low": None, "high": math.inf}
    stored["gain"] = {"mean": None, "low": math.nan, "high": 1.0}
    stored["optimum_gap_percent"] = {"mean": math.inf}
    stored["references"]["random"] = {"mean": math.nan, "exact": False, "episodes": [None, {"mean": "x"}]}
    stored["references"]["odd"] = None
    stored["examples"][0]["steps"][3]["reward"] = math.nan
    stored["examples"][1] = {"task": None, "labels": None, "steps": [{"reward": math.inf, "action": None}]}
    stored["examples"][2] = {"task": "no steps", "labels": None, "steps": []}
    columns = metrics(60)
    columns["return"][40:] = [math.nan] * 20
    columns["loss"] = [math.nan] * 60
    columns["eval_low"] = [math.nan] * 60
    columns["entropy"][5] = math.inf
    return run(evaluation=stored, metrics=columns)


def hostile() -> RunSummary:
    """Markup wherever a text is expected."""
    stored = copy.deepcopy(evaluation())
    stored["verdict"] = {"learned": False, "text": HOSTILE}
    stored["references"] = {HOSTILE: stored["references"]["bayes-optimal"]}
    stored["protocol"] = {HOSTILE: {HOSTILE: HOSTILE}}
    stored["examples"][0]["task"] = HOSTILE
    stored["examples"][0]["labels"] = [HOSTILE] * 5
    settings = {**experiment(), "agent": {"type": HOSTILE}, "env": {"type": HOSTILE}, HOSTILE: HOSTILE}
    columns = {**metrics(30), HOSTILE: [0.5] * 30}
    drawn = animation(HOSTILE, (math.nan, math.inf))
    return RunSummary(HOSTILE, settings, stored, columns, f"quickstudy train {HOSTILE}", drawn)


def continuous() -> RunSummary:
    """Two-dimensional actions, negative rewards, three episodes of 100 steps, no exact optimum."""
    random = np.random.default_rng(5)
    stored = evaluation(3)
    stored |= {"agent": "maml", "env": "point-navigation", "episodes": curve(-40.4, -4.0, 1.6, 3, 1.2)}
    stored |= {"total": estimate(-56.1, 3.1), "gain": estimate(36.0, 1.4), "optimum_gap_percent": None}
    stored["references"] = {
        "random": reference(-212.0, 4.0, False, curve(-70.6, -70.7, 1, 3, 1.5)),
        "no adaptation": reference(-121.0, 4.0, False, curve(-40.4, -40.3, 1, 3, 1.5)),
        "goal known": reference(-1.521, 0.0, True, None),
    }
    distance = np.abs(np.concatenate([np.linspace(0.6, 0.5, 100), np.linspace(0.6, 0.05, 100)]))
    steps = [
        {"episode": index // 100, "action": random.normal(0, 0.1, 2).tolist(), "reward": -float(far)}
        for index, far in enumerate([*distance, *np.linspace(0.6, 0.01, 100)])
    ]
    stored["examples"] = [{"task": "goal at (0.31, −0.44)", "labels": None, "steps": steps}]
    settings = experiment() | {
        "agent": {"type": "maml", "inner_learning_rate": 0.1},
        "env": {"type": "point-navigation"},
        "outer": {"type": "trpo", "max_kl": 0.01},
        "trial": {"num_adapts": 2, "num_streams": 20, "num_episodes": 1},
    }
    return run(
        name="maml-navigation-3",
        experiment=settings,
        evaluation=stored,
        metrics=metrics(500, -70, -30),
        animation=animation(),
    )


def long_trials() -> RunSummary:
    """Bandit trials of 1000 pulls, a random MDP with signed rewards, and an action set too large for rows."""
    random = np.random.default_rng(7)
    stored = evaluation(1000)
    mdp = [
        {"episode": step // 10, "action": int(random.integers(5)), "reward": float(random.normal(1, 1))}
        for step in range(100)
    ]
    many = [{"episode": 0, "action": int(random.integers(50)), "reward": 1.0} for _ in range(30)]
    stored["examples"] = [
        bandit_trial([0.12, 0.92, 0.35, 0.51, 0.27], 1000, 0),
        {"task": "a random MDP, 10 states and 5 actions", "labels": None, "steps": mdp},
        {"task": "50 actions", "labels": None, "steps": many},
    ]
    return run(evaluation=stored, metrics=metrics(3000))


def every_run() -> dict[str, RunSummary]:
    """All of the runs above, by name."""
    return {
        "realistic": run(),
        "failed": failed(),
        "not_evaluated": not_evaluated(),
        "empty": empty(),
        "single_episode": single_episode(),
        "broken_numbers": broken_numbers(),
        "hostile": hostile(),
        "continuous": continuous(),
        "long_trials": long_trials(),
    }
