"""Defaults for pairs of an agent and a task family; what is tuned was measured, see `benchmarks/results`."""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.experiment import Experiment, build
from quickstudy.imitation import Imitation
from quickstudy.registry import resolve
from quickstudy.types import TrialShape


@dataclasses.dataclass(frozen=True)
class Preset:
    outer: str
    """Registry name of the outer loop."""
    summary: str
    agent_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    env_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    outer_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    trial_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the experiment itself."""


FALLBACK = Preset(outer="ppo", summary="defaults that were tuned for nothing in particular")

PRESETS: dict[tuple[str, str], Preset] = {
    ("rl2", "bandit"): Preset(
        outer="ppo",
        summary="Bernoulli bandits of up to about 20 pulls, near the exact optimum in under a minute",
        outer_fields={
            "learning_rate": 6e-3,
            "discount": 1.0,
            "gae_lambda": 0.3,
            "entropy_coefficient": 0.05,
            "final_entropy_coefficient": 0.0,
        },
        fields={"num_tasks": 1024, "num_updates": 1000, "num_test_tasks": 10_000},
    ),
    ("symmetric", "bandit"): Preset(
        outer="ppo",
        summary="Bernoulli bandits of many arms or pulls, within a percent of the limit",
        outer_fields={
            "learning_rate": 5e-3,
            "discount": 1.0,
            "gae_lambda": 0.6,
            "num_epochs": 1,
            "entropy_coefficient": 0.05,
            "final_entropy_coefficient": 0.0,
            "normalise_values": True,
        },
        fields={"num_tasks": 512, "num_updates": 300, "num_test_tasks": 10_000},
    ),
    ("rl2", "tabular-mdp"): Preset(
        outer="ppo",
        summary="ten episodes; a memory of fast weights, which imitates the re-planning planner at first",
        agent_fields={"core": "fast-weights", "num_layers": 2, "num_heads": 8, "feed_trial_time": True},
        outer_fields={
            "learning_rate": 2e-4,
            "discount": 1.0,
            "gae_lambda": 0.9,
            "num_epochs": 1,
            "entropy_coefficient": 0.0,
            "normalise_values": True,
        },
        fields={
            "imitation": Imitation(teacher="bayes-planner", share=0.9),
            "num_tasks": 128,
            "num_updates": 1200,
            "evaluate_every": 100,
            "num_validation_tasks": 512,
        },
    ),
    ("rl2", "grid-navigation"): Preset(
        outer="ppo",
        summary="four episodes, as in VariBAD, near the exact optimum in two minutes",
        outer_fields={
            "learning_rate": 3e-3,
            # Not to 0: when the entropy is worth nothing any more, the policy has yet to become sure.
            "final_learning_rate": 1e-3,
            "discount": 1.0,
            # The best first route is known by what the second episode earns.
            "gae_lambda": 0.97,
            "entropy_coefficient": 0.15,
            "final_entropy_coefficient": 0.0,
            "normalise_values": True,
        },
        trial_fields={"num_episodes": 4},
        fields={"num_tasks": 256, "num_updates": 1000},
    ),
    ("rl2", "two-step"): Preset(
        outer="ppo",
        summary="one block of a hundred choices, near the exact optimum in a minute",
        outer_fields={
            "learning_rate": 3e-3,
            "discount": 0.9,
            "gae_lambda": 0.95,
            "entropy_coefficient": 0.02,
            "final_entropy_coefficient": 0.0,
        },
        trial_fields={"num_episodes": 1},
        fields={"num_tasks": 128, "num_updates": 300},
    ),
    ("rl2", "t-maze"): Preset(
        outer="ppo",
        summary="one episode; learns to turn by a cue of a hundred steps before",
        outer_fields={
            "learning_rate": 3e-3,
            "discount": 1.0,
            # Who is sure of walking never tries to turn: see `benchmarks/memory.py`.
            "entropy_coefficient": 0.5,
            "final_entropy_coefficient": 0.005,
            "normalise_values": True,
        },
        trial_fields={"num_episodes": 1},
        fields={"num_tasks": 256, "num_updates": 300},
    ),
}


# Of a family, whatever the agent: trials of the length that is usual there, and few enough of them.
ANY = "any agent"
BODIES = ("cheetah-direction", "cheetah-velocity", "cheetah-mass", "ant-direction", "ant-goal", "ant-velocity",
          "walker-parameters", "hopper-parameters", "humanoid-direction")  # fmt: skip
PRESETS |= {
    (ANY, name): Preset(
        outer="ppo",
        summary="two episodes of 200 steps in 64 tasks an update; tuned for nothing in particular",
        trial_fields={"num_episodes": 2},
        fields={"num_tasks": 64, "evaluate_every": 20, "num_validation_tasks": 64, "num_test_tasks": 256},
    )
    for name in BODIES
}
PRESETS |= {
    (ANY, "meta-world"): Preset(
        outer="ppo",
        summary="20 tasks an update, each with two episodes of 500 steps; tuned for nothing in particular",
        trial_fields={"num_episodes": 2},
        fields={"num_tasks": 20, "evaluate_every": 20, "num_validation_tasks": 20, "num_test_tasks": 50},
    ),
    (ANY, "grid-navigation"): Preset(
        outer="ppo",
        summary="four episodes, as in VariBAD; tuned for nothing in particular",
        trial_fields={"num_episodes": 4},
    ),
    (ANY, "two-step"): Preset(
        outer="ppo",
        summary="one block of a hundred choices; tuned for nothing in particular",
        trial_fields={"num_episodes": 1},
    ),
}


def preset(agent: str, env: str, outer: str | None = None) -> Experiment:
    """The experiment of a pair with its tuned defaults, where there are any.

    An outer loop other than the preset's own starts from its own defaults. Classical learners, which
    nothing can meta-train, get no outer loop.
    """
    tuned = PRESETS.get((agent, env)) or PRESETS.get((ANY, env), FALLBACK)
    agent_class, env_class = resolve("agent", agent), resolve("env", env)
    outer_name = tuned.outer if outer is None else outer
    outer_value = None
    if outer is not None or getattr(agent_class, "meta_learned", True):
        fields = tuned.outer_fields if outer_name == tuned.outer else {}
        outer_value = build(resolve("outer", outer_name), fields, "outer")
    return Experiment(
        agent=build(agent_class, tuned.agent_fields, "agent"),
        env=build(env_class, tuned.env_fields, "env"),
        outer=outer_value,
        trial=TrialShape(**tuned.trial_fields),
        **tuned.fields,
    )
