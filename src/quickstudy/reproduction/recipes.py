"""How our agent is trained in each cell of a published table: changes to the preset of agent and family.

The cell gives the family's size and the trial; a recipe the rest: fields of the agent, of the outer loop, of
the experiment itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.experiment import Experiment
from quickstudy.imitation import Imitation
from quickstudy.presets import preset
from quickstudy.reproduction.published import STUDIES


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What differs from the preset."""

    agent: dict[str, Any] = dataclasses.field(default_factory=dict)
    outer: dict[str, Any] = dataclasses.field(default_factory=dict)
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Of the experiment itself: num_tasks, num_updates, curriculum, …"""
    names: tuple[str, str | None] = ("rl2", None)
    """Registry names of the agent and the outer loop; None: that of the preset."""


# Of a run's own evaluation, with every reference; the reproduction measures the agent in many more.
OWN_TEST_TASKS = 256
# A planner's every evaluation takes its time: it solves each process again and again.
OWN_PROCESSES = 64


def _symmetric(**fields: Any) -> Recipe:
    """Bandits of many arms: a memory of each arm, and nothing but reinforcement."""
    return Recipe(names=("symmetric", None), fields={**SELDOM, **fields})


def _shown(num_updates: int, num_tasks: int) -> Recipe:
    """Bandits of many pulls: a memory of each arm, which learns from the Gittins index alone."""
    imitation = Imitation(teacher="gittins", share=1.0, learning_rate=5e-3)
    return _symmetric(imitation=imitation, num_updates=num_updates, num_tasks=num_tasks)


def _planned(num_updates: int) -> Recipe:
    """Tabular MDPs: the preset of an agent that counts and plans, and nothing but reinforcement."""
    return Recipe(names=("planner", None), fields={"num_updates": num_updates, "num_test_tasks": OWN_PROCESSES})


def _methods(name: str, inner_rate: float, later_inner_rate: float, num_test_tasks: int) -> dict[str, Recipe]:
    """Of MAML's study: the methods differ in what they are trained on, which their cells say.

    The later steps come in the measurement alone.
    """
    agent = {"inner_rate": inner_rate, "later_inner_rate": later_inner_rate}
    trained = Recipe(agent=agent, fields={"num_test_tasks": num_test_tasks}, names=(name, None))
    untrained = dataclasses.replace(trained, fields={**trained.fields, "num_updates": 0})
    return {"maml": trained, "pretrained": trained, "scratch": untrained, "goal-known": trained}


SELDOM: dict[str, Any] = {"log_every": 10, "evaluate_every": 100, "num_validation_tasks": 1000}

# By ProMP, which learns from fewer steps than TRPO does here.
BODY: dict[str, Any] = {"name": "promp", "inner_rate": 0.1, "later_inner_rate": 0.05, "num_test_tasks": 40}
CURVES: dict[str, dict[str, Any]] = {
    "maml-navigation": {
        "name": "maml",
        "inner_rate": 0.5,
        "later_inner_rate": 0.25,
        "num_test_tasks": OWN_TEST_TASKS,
    },
    "maml-cheetah-direction": BODY,
    "maml-cheetah-velocity": BODY,
    "maml-ant-direction": BODY,
}

# Actions with a deviation of five half ranges bring the first phase about the whole square: the gradient of a
# walk near the start tells a goal's direction, not its distance. What a place is worth is in its own reward, so
# a short horizon tells more: what a walk does later is noise. The rates make up for both.
EVERY_STEP = Recipe(
    agent={
        "hidden_sizes": (64, 64),
        "first_deviation": 5.0,
        "later_deviation": 0.22,
        "inner_rate": 4.0,
        "later_inner_rate": 0.03,
        "discount": 0.8,
    },
    outer={"phases": "adapted", "max_kl": 0.05},
    fields={"num_updates": 80, "num_test_tasks": OWN_TEST_TASKS},
    names=("maml", None),
)

RECIPES: dict[tuple[str, str], Recipe] = {
    ("rl2-bandits", "n10-k5"): Recipe(),
    ("rl2-bandits", "n10-k10"): Recipe(),
    ("rl2-bandits", "n10-k50"): _symmetric(num_tasks=512, num_updates=300),
    ("rl2-bandits", "n100-k5"): _shown(400, 128),
    ("rl2-bandits", "n100-k10"): _shown(400, 128),
    ("rl2-bandits", "n100-k50"): _shown(200, 64),
    ("rl2-bandits", "n500-k5"): _shown(300, 32),
    ("rl2-bandits", "n500-k10"): _shown(300, 32),
    ("rl2-bandits", "n500-k50"): _shown(250, 32),
    ("rl2-mdps", "n10"): _planned(300),
    ("rl2-mdps", "n25"): _planned(200),
    ("rl2-mdps", "n50"): _planned(120),
    ("rl2-mdps", "n75"): _planned(120),
    ("rl2-mdps", "n100"): _planned(120),
    ("rl2-bandits", "n10-k5-maml"): Recipe(names=("maml", None)),
    ("rl2-mdps", "n10-maml"): Recipe(names=("maml", None), fields={"num_test_tasks": OWN_PROCESSES}),
    ("varibad-grid", "episodes4"): Recipe(),
    ("two-step", "choices100"): Recipe(),
    **{
        (study, cell): method
        for study, fields in CURVES.items()
        for cell, method in _methods(**fields).items()
        if STUDIES[study].cell(cell).is_trained
    },
    ("maml-navigation", "every-step"): EVERY_STEP,
}


def recipe(study: str, cell: str) -> Experiment:
    """Our experiment in a cell, by the names of both; seed 0."""
    published, changes = STUDIES[study], RECIPES[study, cell]
    agent, outer = changes.names
    tuned = preset(agent, published.env, outer)
    setting = published.cell(cell)
    return dataclasses.replace(
        tuned,
        agent=dataclasses.replace(tuned.agent, **changes.agent),
        env=setting.env,
        outer=dataclasses.replace(tuned.outer, **changes.outer),
        trial=setting.trial,
        **{"num_test_tasks": OWN_TEST_TASKS, **changes.fields},
    )
