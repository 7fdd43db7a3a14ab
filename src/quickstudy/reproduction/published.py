"""Published tables as data: each cell's setting, the rows that were published for it, and the limit above them.

A row that is a classical learner has the name by which `quickstudy list agents` knows it, so that ours stands
beside it. How our agent is trained in a cell, `recipes` says. Published curves stand in `published_curves`.

Source: Duan et al. 2016 (arXiv 1611.02779), tables 1 and 2; Mishra et al. 2018 (arXiv 1707.03141);
Zintgraf et al. 2020 (arXiv 1910.08348); Wang et al. 2016 (arXiv 1611.05763), section 3.2. Limits are this
library's own: exact ones by `references`, bounds as each is said to be.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from quickstudy.envs.bandit import Bandit
from quickstudy.envs.grid_navigation import GridNavigation
from quickstudy.envs.tabular_mdp import TabularMDP
from quickstudy.envs.two_step import TwoStep
from quickstudy.reproduction.published_curves import CURVE_STUDIES, CurveCell, CurveStudy
from quickstudy.types import TrialShape


@dataclasses.dataclass(frozen=True)
class Limit:
    """What the best possible agent earns: at least `low`, and where it is known at most `high`."""

    low: float
    high: float | None = None
    margin: float = 0.0
    """The standard error of `low`, where that was simulated."""

    @property
    def exact(self) -> bool:
        return self.low == self.high


@dataclasses.dataclass(frozen=True)
class Cell:
    """One column of a table."""

    name: str
    setting: str
    env: Any
    trial: TrialShape
    rows: dict[str, float]
    """Published mean returns of a trial, by method."""
    limit: Limit
    margins: dict[str, float] = dataclasses.field(default_factory=dict)
    """The ± of a row, where one was published."""

    is_trained: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True)
class Study:
    """A published table."""

    name: str
    title: str
    source: str
    setting: str
    """Theirs, in one sentence or two."""
    env: str
    """Registry name of the task family."""
    cells: tuple[Cell, ...]
    num_test_tasks: int
    num_reference_tasks: int
    """Of these, those in which the classical learners are measured."""
    num_seeds: int = 5
    references: dict[str, tuple[str, dict[str, Any]]] = dataclasses.field(default_factory=dict)
    """What is measured beside the family's own references: (agent, its fields) by the row's name."""
    also: Literal["optimality", "signature"] | None = None
    """What else is measured of our agents; see the modules of these names."""
    published_optimal: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    """Seeds that were exactly Bayes-optimal, of how many, by method."""
    num_different: int | None = None
    """Tasks, where there are few: those held out are then the same again, drawn afresh. None: without end."""

    def cell(self, name: str) -> Cell:
        return next(cell for cell in self.cells if cell.name == name)


BANDIT_ROWS = ("random", "gittins", "thompson", "optimistic-thompson", "ucb1", "epsilon-greedy", "greedy",
               "rl2", "maml", "snail")  # fmt: skip
# (pulls, arms): published; the ± of SNAIL; limit. With 10 pulls `references` computes the exact limit.
BANDITS: dict[tuple[int, int], tuple[tuple[float | None, ...], float, Limit]] = {
    (10, 5): ((5.0, 6.6, 5.7, 6.5, 6.7, 6.6, 6.6, 6.7, 6.5, 6.6), 0.1, Limit(6.660, 6.660)),
    (10, 10): ((5.0, 6.6, 5.5, 6.2, 6.7, 6.6, 6.6, 6.7, 6.6, 6.7), 0.1, Limit(6.714, 6.714)),
    (10, 50): ((5.1, 6.5, 5.2, 5.5, 6.6, 6.5, 6.5, 6.8, 6.6, 6.7), 0.1, Limit(6.714, 6.714)),
    (100, 5): ((49.9, 78.3, 74.7, 77.9, 78.0, 75.4, 74.8, 78.7, 67.1, 79.1), 1.0, Limit(78.65)),
    (100, 10): ((49.9, 82.8, 76.7, 81.4, 82.4, 77.4, 77.1, 83.5, 70.1, 83.5), 0.8, Limit(83.74)),
    (100, 50): ((49.8, 85.2, 64.5, 67.7, 84.3, 78.3, 78.0, 84.9, 70.3, 85.1), 0.6, Limit(85.54, 86.18)),
    (500, 5): ((249.8, 405.8, 402.0, 406.7, 405.8, 388.2, 380.6, 401.6, None, 408.1), 4.9,
               Limit(408.5, margin=0.4)),
    (500, 10): ((249.0, 437.8, 429.5, 438.9, 437.1, 408.0, 395.0, 432.5, None, 432.4), 3.5, Limit(442.05)),
    (500, 50): ((249.6, 463.7, 427.2, 437.6, 457.6, 413.6, 402.8, 438.9, None, 442.6), 2.5,
               Limit(465.0, 466.6)),
}  # fmt: skip

MDP_ROWS = (
    "random",
    "psrl",
    "opsrl",
    "ucrl2",
    "beb",
    "epsilon-greedy-planner",
    "greedy-planner",
    "rl2",
    "snail",
)
# Episodes: published; what a planner earns that plans again at every step, with its standard error.
MDPS: dict[int, tuple[tuple[float, ...], Limit]] = {
    10: ((100.1, 138.1, 144.1, 146.6, 150.2, 132.8, 134.8, 156.2, 159.0), Limit(163.2, margin=0.2)),
    25: ((250.2, 408.8, 425.2, 424.1, 427.8, 377.3, 368.8, 445.7, 447.0), Limit(463.0, margin=0.5)),
    50: ((499.7, 904.4, 930.7, 918.9, 917.8, 823.3, 769.3, 936.1, 942.0), Limit(984.5, margin=1.1)),
    75: ((749.9, 1417.1, 1449.2, 1427.6, 1422.6, 1293.9, 1172.9, 1428.8, 1448.0), Limit(1515.0, margin=1.6)),
    100: ((999.4, 1939.5, 1973.9, 1942.1, 1935.1, 1778.2, 1578.5, 1913.7, 1953.0), Limit(2049.8, margin=2.2)),
}
# Mishra et al. 2018 give MAML's share of the optimum, .563; that is 218.3 in ten episodes, see `tabular_mdp`.
MAML_IN_MDPS = 0.563 * 218.3
STEPS_OF_MAML = TrialShape(num_adapts=9, num_streams=1, num_episodes=1)
"""A gradient step after each of ten episodes."""
# The prior that seems to be behind the published figures; see `references.tabular_learners`.
FLAT: dict[str, Any] = {"prior_mean": 0.0, "prior_std": 100.0, "prior_moves": 1e-4}


def _bandits() -> tuple[Cell, ...]:
    remembering = tuple(
        Cell(
            name=f"n{pulls}-k{arms}",
            setting=f"{pulls} pulls of {arms} arms",
            env=Bandit(num_arms=arms),
            trial=TrialShape(num_episodes=pulls),
            rows={name: x for name, x in zip(BANDIT_ROWS, rows, strict=True) if x is not None},
            limit=limit,
            margins={"snail": margin},
        )
        for (pulls, arms), (rows, margin, limit) in BANDITS.items()
    )
    by_gradients = Cell(
        name="n10-k5-maml",
        setting="10 pulls of 5 arms, a gradient step after each",
        env=Bandit(),
        trial=STEPS_OF_MAML,
        rows={"maml": 6.5},
        limit=BANDITS[10, 5][2],
    )
    return (*remembering, by_gradients)


def _mdps() -> tuple[Cell, ...]:
    remembering = tuple(
        Cell(
            name=f"n{episodes}",
            setting=f"{episodes} episodes of 10 steps",
            env=TabularMDP(),
            trial=TrialShape(num_episodes=episodes),
            rows=dict(zip(MDP_ROWS, rows, strict=True)),
            limit=limit,
        )
        for episodes, (rows, limit) in MDPS.items()
    )
    by_gradients = Cell(
        name="n10-maml",
        setting="10 episodes of 10 steps, a gradient step after each",
        env=TabularMDP(),
        trial=STEPS_OF_MAML,
        rows={"maml": MAML_IN_MDPS},
        limit=MDPS[10][1],
    )
    return (*remembering, by_gradients)


TABLES: dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            name="rl2-bandits",
            title="Bernoulli bandits",
            source="Duan et al. 2016 (arXiv 1611.02779), table 1; Mishra et al. 2018 (arXiv 1707.03141)",
            setting="An arm pays 1 with a probability p ~ U(0, 1) of its own; a trial is n pulls of k arms. "
            "Published means are over 1000 bandits (standard error about 0.06 for 10 pulls, 0.3 to "
            "0.5 for 100, 0.7 to 2.4 for 500), so one may lie above the limit by chance; RL² is the "
            "best of several runs, a GRU of 256 units after up to 1.25e9 steps",
            env="bandit",
            cells=_bandits(),
            num_test_tasks=100_000,
            num_reference_tasks=100_000,
        ),
        Study(
            name="rl2-mdps",
            title="Random tabular MDPs",
            source="Duan et al. 2016 (arXiv 1611.02779), table 2; Mishra et al. 2018 (arXiv 1707.03141)",
            setting="10 states, 5 actions, 10 steps an episode, mean rewards ~ N(1, 1), noise of variance 1, "
            "moves ~ Dirichlet(1); a trial is n episodes. Published means are over 1000 processes "
            "(standard error about 0.9 for 10 episodes), RL² after up to 2.5e9 steps. The limit is "
            "what a planner with the true prior earns that plans again at every step, a lower bound "
            "of the best possible. Some published classical learners look as if they had assumed a mean "
            "reward of 0 (docs/reproduce.md); ours have the true prior, the greedy one and PSRL mean 0, too",
            env="tabular-mdp",
            cells=_mdps(),
            num_test_tasks=10_000,
            num_reference_tasks=1000,
            references={
                "opsrl": ("opsrl", {}),
                "greedy-planner, prior mean 0": ("greedy-planner", FLAT),
                "psrl, prior mean 0": ("psrl", {"prior_mean": 0.0}),
            },
        ),
        Study(
            name="varibad-grid",
            title="Grid navigation",
            source="Zintgraf et al. 2020 (arXiv 1910.08348)",
            setting="5×5 cells, 21 possible goals, 15 steps an episode, 4 episodes. No mean return was "
            "published as a number; of 20 seeds of VariBAD 4 are said to be exactly Bayes-optimal, of"
            " 20 of RL² none, after 2e7 steps (a secondary source)",
            env="grid-navigation",
            cells=(
                Cell(
                    name="episodes4",
                    setting="4 episodes of 15 steps",
                    env=GridNavigation(),
                    trial=TrialShape(num_episodes=4),
                    rows={},
                    limit=Limit(37.214, 37.214),
                ),
            ),
            num_test_tasks=10_000,
            num_reference_tasks=10_000,
            num_seeds=10,
            references={"grid-bayes": ("grid-bayes", {})},
            also="optimality",
            published_optimal={"varibad": (4, 20), "rl2": (0, 20)},
            num_different=21,
        ),
        Study(
            name="two-step",
            title="The two-step task",
            source="Wang et al. 2016 (arXiv 1611.05763), section 3.2; Daw et al. 2011 (Neuron 69)",
            setting="One block of 100 choices; the better place pays with probability 0.9, the other with "
            "0.1. No mean return was published; what was shown is the signature of model-based choice",
            env="two-step",
            cells=(
                Cell(
                    name="choices100",
                    setting="100 choices",
                    env=TwoStep(),
                    trial=TrialShape(num_episodes=1),
                    rows={},
                    limit=Limit(70.586, 70.586),
                ),
            ),
            num_test_tasks=10_000,
            num_reference_tasks=10_000,
            references={"two-step-bayes": ("two-step-bayes", {})},
            also="signature",
            num_different=2,
        ),
    )
}

AnyCell = Cell | CurveCell
AnyStudy = Study | CurveStudy
STUDIES: dict[str, AnyStudy] = {**TABLES, **{study.name: study for study in CURVE_STUDIES}}


def listing() -> list[dict[str, Any]]:
    """What can be reproduced: name, one sentence, cells."""
    return [
        {
            "name": study.name,
            "summary": f"{study.title}; {study.source}; cells: {' '.join(cell.name for cell in study.cells)}",
            "cells": [cell.name for cell in study.cells],
        }
        for study in STUDIES.values()
    ]
