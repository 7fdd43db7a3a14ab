"""Defaults for pairs of an agent and a task family; what is tuned was measured, see `benchmarks/results`."""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.agents.inner_loop import InnerLoop
from quickstudy.experiment import Experiment, build
from quickstudy.imitation import Imitation
from quickstudy.registry import resolve
from quickstudy.types import TrialShape
from quickstudy.variants import VARIANTS


@dataclasses.dataclass(frozen=True)
class Preset:
    outer: str
    """Registry name of the outer loop."""
    summary: str
    agent_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    env_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    outer_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    any_outer_fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of whatever outer loop has fields of these names."""
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
    ("episodic", "bandit"): Preset(
        outer="ppo",
        summary="Bernoulli bandits of ten pulls, above the classical learners, in a minute, by each retrieval",
        outer_fields={
            # What is found of few steps is small, and the layers that read it are slow to learn from it.
            "learning_rate": 2e-2,
            "discount": 1.0,
            "gae_lambda": 0.3,
            "entropy_coefficient": 0.02,
            "final_entropy_coefficient": 0.0,
        },
        fields={"num_tasks": 1024, "num_updates": 500, "num_test_tasks": 10_000},
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
    ("planner", "tabular-mdp"): Preset(
        outer="ppo",
        summary="level with a planner that knows the prior, by reinforcement alone, in two minutes",
        outer_fields={
            "learning_rate": 2e-2,
            "discount": 1.0,
            "gae_lambda": 0.9,
            "num_epochs": 1,
            "entropy_coefficient": 0.0,
            "normalise_values": True,
        },
        fields={"num_tasks": 128, "num_updates": 300, "evaluate_every": 50, "num_validation_tasks": 512},
    ),
    ("rl2", "grid-navigation"): Preset(
        outer="ppo",
        summary="four episodes, as in VariBAD, near the exact optimum in three minutes",
        # Which cells the first episode has seen is much to remember for the search in the second.
        agent_fields={"hidden_size": 128},
        outer_fields={
            "learning_rate": 3e-3,
            # Not to 0: when the entropy is worth nothing any more, the policy has yet to become sure.
            "final_learning_rate": 3e-4,
            "discount": 1.0,
            # The best first route is known by what the second episode earns, once that one is settled.
            "gae_lambda": 0.97,
            "entropy_coefficient": 0.25,
            "final_entropy_coefficient": 0.0,
            "entropy_lead": 3.0,
            "normalise_values": True,
            # Of a sure policy the gradient is small, until a rare mistake's is large.
            "max_grad_norm": 0.1,
        },
        trial_fields={"num_episodes": 4},
        fields={"num_tasks": 256, "num_updates": 1800},
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


# Agents that take gradient steps on phases of their own: what is before the last phase serves to adapt.
WITHOUT_CRITIC = {"baseline": "linear", "credit": "episode", "phases": "last"}


def _gradient(
    summary: str, agent_fields: dict[str, Any], outer_fields: dict[str, Any], **fields: Any
) -> Preset:
    """MAML's own protocol: one adaptation, to 20 episodes."""
    return Preset(
        outer="trpo",
        summary=summary,
        agent_fields=agent_fields,
        # A fifth of the streams tells the curvature as well, for a third of the time.
        outer_fields={"gae_lambda": 1.0, "fisher_share": 0.2, **outer_fields},
        any_outer_fields=WITHOUT_CRITIC,
        trial_fields={"num_adapts": 1, "num_streams": 20, "num_episodes": 1},
        fields={
            "num_tasks": 20,
            "evaluate_every": 20,
            "num_validation_tasks": 40,
            "num_test_tasks": 200,
            **fields,
        },
    )


PRESETS |= {
    ("maml", "semi-circle"): _gradient(
        "20 tasks of 20 episodes an update, one inner step",
        {"inner_rate": 0.5, "later_inner_rate": 0.25},
        {},
        num_updates=100,
    ),
    ("e-maml", "semi-circle"): _gradient(
        "20 tasks of 20 episodes an update, one inner step; each stream is paid for its own part",
        {"inner_rate": 0.5, "later_inner_rate": 0.25},
        {"credit_by_stream": True},
        num_updates=100,
    ),
    ("maml", "point-navigation"): _gradient(
        "20 tasks of 20 episodes an update, one inner step, as published",
        {"inner_rate": 0.5, "later_inner_rate": 0.25},
        {},
        num_updates=100,
    ),
    ("maml", "bandit"): Preset(
        outer="ppo",
        summary="ten pulls, a gradient step after each; 4.6% below the optimum, in seconds",
        # One pull tells nothing of what to compare it with: that the critic knows.
        agent_fields={
            "hidden_sizes": (16,),
            "activation": "tanh",
            "inner_rate": 5.0,
            "baseline": "critic",
            "value_coefficient": 0.05,
            "normalise_advantages": False,
        },
        outer_fields={"learning_rate": 0.01, "entropy_coefficient": 0.0},
        trial_fields={"num_adapts": 9, "num_streams": 1, "num_episodes": 1},
        fields={"num_tasks": 1000, "num_updates": 200, "num_test_tasks": 10_000},
    ),
    ("maml", "tabular-mdp"): Preset(
        outer="ppo",
        summary="ten episodes, a gradient step after each; above what was published, in seconds",
        # By one step's surprise alone: what a process earns later is noise beside it.
        agent_fields={
            "hidden_sizes": (32,),
            "activation": "tanh",
            "inner_rate": 1.0,
            "baseline": "critic",
            "value_coefficient": 0.05,
            "discount": 1.0,
            "gae_lambda": 0.0,
        },
        outer_fields={"learning_rate": 0.01, "entropy_coefficient": 0.0, "discount": 1.0, "gae_lambda": 0.9},
        any_outer_fields={"credit": "episode"},
        trial_fields={"num_adapts": 9, "num_streams": 1, "num_episodes": 1},
        fields={"num_tasks": 200, "num_updates": 100, "num_validation_tasks": 1000, "num_test_tasks": 10_000},
    ),
    **{
        ("maml", name): _gradient(
            "20 tasks of 20 episodes an update, one inner step; a wider trust region than published",
            {"inner_rate": 0.1, "later_inner_rate": 0.05},
            {"max_kl": 0.04},
            num_updates=100,
        )
        for name in ("cheetah-direction", "cheetah-velocity", "ant-direction")
    },
}
# Of agents that MAML's own protocol does not suit.
OWN_WAYS: dict[str, dict[str, Any]] = {
    "reptile": {"outer": "reptile", "outer_fields": {}},
    # The first adaptation tells the task, the second is the first that steps.
    "mmaml": {"trial_fields": {"num_adapts": 2, "num_streams": 20, "num_episodes": 1}},
}
PRESETS |= {
    ("promp", name): _gradient(
        "10 tasks of 20 episodes an update, 24 million steps; tuned on cheetah-direction alone",
        {"inner_rate": 0.1, "later_inner_rate": 0.05},
        {},
        num_tasks=10,
        num_updates=300,
        evaluate_every=50,
    )
    for name in ("cheetah-direction", "ant-direction")
}
PRESETS["promp", "cheetah-velocity"] = dataclasses.replace(
    _gradient(
        "10 tasks of 20 episodes an update, 20.8 million steps; what is earned before the step counts, too",
        # A speed is told within a few steps; what lies behind them is noise.
        {"inner_rate": 0.1, "later_inner_rate": 0.05, "discount": 0.9, "gae_lambda": 0.9},
        {},
        num_tasks=10,
        num_updates=260,
        evaluate_every=65,
        num_validation_tasks=10,
    ),
    outer="ppo",
    # Who is trained for what comes after the step alone stands still before it, and is told a direction only.
    outer_fields={"phases": "all", "num_minibatches": 5, "schedule": "linear"},
)
# One task an update, with one step that counts: nothing to compare it with.
PRESETS["meta-policy-gradient", "bandit"] = _gradient("one adaptation to 20 pulls; tuned for nothing", {}, {})
GRADIENT_FALLBACK = _gradient("one adaptation to 20 episodes, in 20 tasks an update; tuned for nothing", {}, {})


def preset(agent: str, env: str, outer: str | None = None) -> Experiment:
    """The experiment of a pair with its tuned defaults, where there are any.

    `agent` may be the name of a published variant, too (`variants.VARIANTS`). An outer loop other than the
    preset's own starts from its own defaults. Classical learners, which nothing can meta-train, get no outer
    loop.
    """
    variant = VARIANTS.get(agent)
    name = agent if variant is None else variant.agent
    agent_class, env_class = resolve("agent", name), resolve("env", env)
    tuned = _tuned(agent, name, env, issubclass(agent_class, InnerLoop))
    agent_fields, outer_fields = dict(tuned.agent_fields), dict(tuned.outer_fields)
    own = tuned.outer
    if variant is not None:
        agent_fields |= variant.agent_fields
        if own != variant.outer:
            outer_fields = {}
        # A preset of the variant itself knows better than its paper, one of its agent does not.
        own_way = (agent, env) in PRESETS
        outer_fields = variant.outer_fields | outer_fields if own_way else outer_fields | variant.outer_fields
        own = variant.outer
    outer_value = None
    if outer is not None or getattr(agent_class, "meta_learned", True):
        outer_class = resolve("outer", own if outer is None else outer)
        known = {f.name for f in dataclasses.fields(outer_class)}
        fields = {name: value for name, value in tuned.any_outer_fields.items() if name in known}
        fields |= outer_fields if outer in (None, own) else {}
        outer_value = build(outer_class, fields, "outer")
    return Experiment(
        agent=build(agent_class, agent_fields, "agent"),
        env=build(env_class, tuned.env_fields, "env"),
        outer=outer_value,
        trial=TrialShape(**tuned.trial_fields),
        **tuned.fields | ({} if variant is None else variant.fields),
    )


def _tuned(agent: str, name: str, env: str, by_gradients: bool) -> Preset:
    """By the names of the variant and of the agent that it is; `by_gradients` where that is an `InnerLoop`."""
    if not by_gradients:
        return PRESETS.get((name, env)) or PRESETS.get((ANY, env), FALLBACK)
    # What suits MAML in a family suits its relatives better than nothing.
    known = (PRESETS.get((of, env)) for of in (agent, name, "maml"))
    tuned = next((preset for preset in known if preset is not None), GRADIENT_FALLBACK)
    return dataclasses.replace(tuned, **OWN_WAYS.get(name, {}))
