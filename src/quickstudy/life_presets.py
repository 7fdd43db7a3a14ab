"""Defaults for pairs of an agent from scratch and a task family; what is tuned says on what."""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.experiment import build
from quickstudy.learning import Learning, check_learns
from quickstudy.lives import LifeShape
from quickstudy.registry import resolve


@dataclasses.dataclass(frozen=True)
class LifePreset:
    life: LifeShape
    summary: str
    agent_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the learning itself."""


FALLBACK = LifePreset(LifeShape(), "defaults that were tuned for nothing in particular")
TUNED = "tuned on the standard task"
LIFE_PRESETS: dict[tuple[str, str], LifePreset] = {
    ("ppo", "cartpole"): LifePreset(
        LifeShape(num_adapts=64, num_streams=32, num_steps=32),
        f"65,536 steps; {TUNED}",
        {
            "learning_rate": 2e-3,
            "schedule": "linear",
            "discount": 0.98,
            "gae_lambda": 0.9,
            "num_epochs": 10,
            "num_minibatches": 4,
        },
    ),
    ("a2c", "cartpole"): LifePreset(
        LifeShape(num_adapts=1500, num_streams=8, num_steps=16),
        f"192,000 steps; {TUNED}",
        {
            "learning_rate": 2e-3,
            "schedule": "linear",
            "gae_lambda": 0.95,
            "normalise_advantages": False,
            "normalise_rewards": True,
        },
    ),
    ("reinforce", "cartpole"): LifePreset(
        LifeShape(num_adapts=50, num_streams=8, num_steps=500),
        f"200,000 steps; {TUNED}",
        {"learning_rate": 1e-2, "schedule": "linear"},
    ),
    ("ppo", "pendulum"): LifePreset(
        LifeShape(num_adapts=48, num_streams=8, num_steps=256),
        f"98,304 steps; {TUNED}",
        {
            "learning_rate": 1e-3,
            "schedule": "linear",
            "discount": 0.9,
            "num_minibatches": 16,
            "normalise_rewards": True,
        },
    ),
}
LIFE_PRESETS |= {
    (name, "tabular-mdp"): LifePreset(
        LifeShape(num_adapts=500, num_streams=4, num_steps=10),
        "2,000 episodes, which bring the best of tables to 99% of the optimum",
        fields={"num_tasks": 64, "num_episodes": 100},
    )
    for name in ("value-iteration", "policy-iteration", "q-learning", "sarsa", "monte-carlo")
}
# Of a family, whatever the agent.
SOLVED = {"cartpole": 475.0, "pendulum": -200.0}
"""The mean return from which Gymnasium's task counts as solved; those of other physics may not have it."""


def learning_preset(agent: str, env: str) -> Learning:
    """The learning of a pair with its tuned defaults, where there are any; raises `InputError`."""
    agent_class, env_class = resolve("agent", agent), resolve("env", env)
    tuned = LIFE_PRESETS.get((agent, env), FALLBACK)
    made = build(agent_class, tuned.agent_fields, "agent")
    check_learns(made)
    fields = {"solved": SOLVED.get(env), **tuned.fields}
    return Learning(agent=made, env=build(env_class, {}, "env"), life=tuned.life, **fields)
