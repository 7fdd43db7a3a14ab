"""Defaults for pairs of an agent from scratch and a task family; what is tuned says on what."""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.agents.fine_tune import FineTune
from quickstudy.experiment import build
from quickstudy.learning_settings import Learning, check_learns
from quickstudy.lives import LifeShape
from quickstudy.registry import resolve
from quickstudy.transfer.settings import Transfer


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
        LifeShape(num_adapts=60, num_streams=8, num_steps=64),
        f"30,720 steps, of which it needs about half; {TUNED}",
        {"learning_rate": 1e-3, "schedule": "linear", "num_minibatches": 8, "normalise_rewards": True},
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
        LifeShape(num_adapts=40, num_streams=8, num_steps=256),
        f"81,920 steps; {TUNED}",
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
    ("dqn", "cartpole"): LifePreset(
        LifeShape(num_adapts=192, num_streams=8, num_steps=32),
        f"49,152 steps; {TUNED}",
        {
            "num_updates": 64,
            "batch_size": 128,
            "target_period": 1,
            "target_rate": 0.01,
            "loss": "squared",
            "schedule": "linear",
            "num_steps": 20,
            "discount": 0.998,
            "learning_rate": 2e-3,
        },
    ),
    ("sac", "pendulum"): LifePreset(
        LifeShape(num_adapts=1500, num_streams=8, num_steps=1),
        f"12,000 steps; {TUNED}",
        {
            "num_updates": 4,
            "batch_size": 128,
            "hidden_sizes": (64, 64),
            "learning_rate": 2e-3,
            "buffer_size": 20_000,
            "target_rate": 0.01,
        },
    ),
    ("ppo", "cheetah-mass"): LifePreset(
        LifeShape(num_adapts=976, num_streams=8, num_steps=128),
        f"a million steps; {TUNED}, from the settings of RL Baselines3 Zoo",
        {
            "hidden_sizes": (256, 256),
            "activation": "relu",
            # The zoo takes 8 times as many steps at a fifteenth of this rate, and one stream.
            "learning_rate": 3e-4,
            "schedule": "linear",
            "discount": 0.98,
            "gae_lambda": 0.92,
            "entropy_coefficient": 4e-4,
            "value_coefficient": 0.58,
            "max_grad_norm": 0.8,
            "initial_log_std": -2.0,
            "normalise_observations": True,
            "normalise_rewards": True,
        },
        {"num_tasks": 4, "num_episodes": 10},
    ),
    ("sac", "cheetah-mass"): LifePreset(
        LifeShape(num_adapts=25_000, num_streams=4, num_steps=1),
        f"100,000 steps, an update for each; {TUNED}, from the settings of Stable-Baselines3",
        {"num_updates": 4, "learning_rate": 1e-3, "learning_starts": 2000},
        {"num_tasks": 4, "num_episodes": 10},
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


# Of fine-tuning: the fields of PPO's own presets, with a tenth of its steps.
TUNING: dict[str, LifePreset] = {
    "cartpole": LifePreset(
        LifeShape(num_adapts=8, num_streams=8, num_steps=64),
        "a tenth of PPO's steps",
        {"learning_rate": 3e-4, "num_minibatches": 8, "normalise_rewards": True, "critic_warmup": 2},
    ),
    "pendulum": LifePreset(
        LifeShape(num_adapts=8, num_streams=4, num_steps=256),
        "a tenth of PPO's steps",
        {
            "learning_rate": 3e-4,
            "discount": 0.9,
            "num_minibatches": 16,
            "normalise_rewards": True,
            "critic_warmup": 2,
        },
    ),
    "tabular-mdp": LifePreset(
        LifeShape(num_adapts=20, num_streams=10, num_steps=10),
        "200 episodes",
        {"learning_rate": 1e-3, "num_minibatches": 2, "critic_warmup": 2},
    ),
}


def transfer_preset(env: str, teacher: str) -> Transfer:
    """The road from known tasks of a family to new ones, with a teacher's own preset; raises `InputError`."""
    learning = learning_preset(teacher, env)
    tuned = TUNING.get(env, LifePreset(dataclasses.replace(learning.life, num_adapts=10), "", {}))
    agent = build(FineTune, tuned.agent_fields, "agent")
    return Transfer(learning.env, learning.agent, agent, learning.life, tuned.life)


def learning_preset(agent: str, env: str) -> Learning:
    """The learning of a pair with its tuned defaults, where there are any; raises `InputError`."""
    agent_class, env_class = resolve("agent", agent), resolve("env", env)
    tuned = LIFE_PRESETS.get((agent, env), FALLBACK)
    made = build(agent_class, tuned.agent_fields, "agent")
    check_learns(made)
    fields = {"solved": SOLVED.get(env), **tuned.fields}
    return Learning(agent=made, env=build(env_class, {}, "env"), life=tuned.life, **fields)
