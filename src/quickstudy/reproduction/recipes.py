"""How our agent is trained in each cell of a published table: changes to the preset of agent and family.

The cell gives the family's size and the trial; a recipe the rest: fields of the agent, of the outer loop, of
the experiment itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from quickstudy.curriculum import Curriculum
from quickstudy.experiment import Experiment
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
CREDIT: dict[str, Any] = {"discount": 1.0, "gae_lambda": 0.3}
# Towards the end of a training nothing is left to chance.
SURE: dict[str, Any] = {"learning_rate": 3e-3, "final_entropy_coefficient": 0.0}


def _bandit(**changes: Any) -> Recipe:
    return Recipe(**{"outer": {"learning_rate": 3e-3}, **changes})


def _mdp(*lengths: int) -> Recipe:
    # Every evaluation measures the planners, too, which solve each process again and again.
    tasks = {"num_validation_tasks": 256, "num_test_tasks": 64}
    fields = {"curriculum": Curriculum(lengths=lengths), "num_updates": 1000, **tasks}
    return Recipe(outer={"learning_rate": 3e-3, **CREDIT}, fields=fields)


RECIPES: dict[tuple[str, str], Recipe] = {
    ("rl2-bandits", "n10-k5"): Recipe(),
    ("rl2-bandits", "n10-k10"): Recipe(),
    ("rl2-bandits", "n10-k50"): Recipe(),
    ("rl2-bandits", "n100-k5"): _bandit(fields={"curriculum": Curriculum(lengths=(10, 30))}),
    ("rl2-bandits", "n100-k10"): _bandit(fields={"curriculum": Curriculum(lengths=(10, 30))}),
    ("rl2-bandits", "n100-k50"): _bandit(fields={"curriculum": Curriculum(lengths=(10, 30))}),
    ("rl2-bandits", "n500-k5"): _bandit(fields={"curriculum": Curriculum(lengths=(10, 30, 100))}),
    ("rl2-bandits", "n500-k10"): _bandit(fields={"curriculum": Curriculum(lengths=(10, 30, 100))}),
    ("rl2-bandits", "n500-k50"): _bandit(fields={"curriculum": Curriculum(lengths=(10, 30, 100))}),
    ("rl2-mdps", "n10"): _mdp(),
    ("rl2-mdps", "n25"): _mdp(10),
    ("rl2-mdps", "n50"): _mdp(10, 25),
    ("rl2-mdps", "n75"): _mdp(10, 25),
    ("rl2-mdps", "n100"): _mdp(10, 25, 50),
    ("varibad-grid", "episodes4"): Recipe(
        outer={"discount": 0.95, "gae_lambda": 0.95, "entropy_coefficient": 0.03, **SURE},
        fields={"num_tasks": 512, "num_updates": 1000},
    ),
    ("two-step", "choices100"): Recipe(
        outer={"discount": 0.9, "gae_lambda": 0.95, "entropy_coefficient": 0.02, **SURE},
        fields={"num_tasks": 128, "num_updates": 300},
    ),
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
