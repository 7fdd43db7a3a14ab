"""Published adaptation curves as data: what each method earns after 0, 1, 2 and 3 gradient steps in a new task.

The cells of such a study are methods. `maml` is trained for what it earns after one step, `every-step` is the
same agent, where somebody tried, trained for what it earns after each; `pretrained` is one
policy for all tasks, trained without any; `scratch` is a network that nothing trained; `goal-known` is told the
task, and takes no step. The first three take the same steps when they are measured.

Source: Finn et al. 2017 (MAML, arXiv 1703.03400), figures 4 and 5; numbers of the authors' result files.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from quickstudy.envs.ant import AntDirection
from quickstudy.envs.cheetah import CheetahDirection, CheetahVelocity
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.envs.told import Told
from quickstudy.types import TrialShape

NUM_STEPS = 3
"""Gradient steps, at most, of every published curve."""


@dataclasses.dataclass(frozen=True)
class CurveCell:
    """One method."""

    name: str
    setting: str
    env: Any
    trial: TrialShape
    """Of the training."""
    measured: TrialShape
    """Its phases are the points of the curve."""
    published: tuple[float | None, ...] = (None,) * (NUM_STEPS + 1)
    """Mean return of an episode after so many steps; of a method that takes none, the first alone."""
    margin: float | None = None
    """The ± of the last."""
    exact: float | None = None
    """What it earns exactly; then nothing is trained."""

    @property
    def is_trained(self) -> bool:
        return self.exact is None

    @property
    def takes_steps(self) -> bool:
        return self.measured.num_adapts > 0


@dataclasses.dataclass(frozen=True)
class CurveStudy:
    """A published figure of such curves."""

    name: str
    title: str
    source: str
    setting: str
    """Theirs, in one sentence or two."""
    env: str
    """Registry name of the task family."""
    cells: tuple[CurveCell, ...]
    num_test_tasks: int
    num_seeds: int = 3
    num_different: int | None = None
    """Tasks, where there are few: those held out are then the same again, drawn afresh. None: without end."""

    def cell(self, name: str) -> CurveCell:
        return next(cell for cell in self.cells if cell.name == name)


def curve_cells(
    env: Any,
    told: Any,
    num_streams: int,
    maml: tuple[float, ...],
    margin: float | None,
    pretrained: float,
    known: float,
    exact: float | None = None,
) -> tuple[CurveCell, ...]:
    """The four methods in one family; `pretrained` is published after the last step alone."""
    nothing, one_step = (TrialShape(num, num_streams, num_episodes=1) for num in (0, 1))
    steps = TrialShape(NUM_STEPS, num_streams, num_episodes=1)
    unknown = (None,) * NUM_STEPS
    return (
        CurveCell("maml", "trained for what it earns after one step", env, one_step, steps, maml, margin),
        CurveCell(
            "pretrained", "one policy, trained in all tasks", env, nothing, steps, (*unknown, pretrained)
        ),
        CurveCell("scratch", "a network that was not trained", env, one_step, steps),
        CurveCell("goal-known", "told the task", told, nothing, nothing, (known, *unknown), exact=exact),
    )


def _of_a_body(name: str, num_episodes: int = 20) -> str:
    return (
        f"{name}; 200 steps an episode, {num_episodes} episodes before each gradient step, step sizes 0.1, "
        "then 0.05. MAML by TRPO in 40 tasks an update, up to 500 updates; means over 40 test tasks, of the "
        "best checkpoint. Their body, observations and engine are of an older version than ours"
    )


SOURCE = "Finn et al. 2017 (arXiv 1703.03400), the authors' result files"
NAVIGATED = (-40.4, -11.7, -3.33, -3.23)
# Of the walk straight at the goal; see `envs.point_navigation`.
NAVIGATION = -0.2 - 0.4 * (math.sqrt(2) + math.asinh(1)) / 3

CURVE_STUDIES: tuple[CurveStudy, ...] = (
    CurveStudy(
        name="maml-navigation",
        title="MAML in 2D navigation",
        source=SOURCE,
        setting="100 steps an episode, 20 episodes before each gradient step, step sizes 0.5, then 0.25. MAML "
        "by TRPO in 20 tasks an update, up to 500 updates; means over 40 test tasks, of the best checkpoint",
        env="point-navigation",
        cells=(
            *curve_cells(
                PointNavigation(),
                PointNavigation(),
                num_streams=20,
                maml=NAVIGATED,
                margin=0.29,
                pretrained=-8.5,
                known=-2.29,
                exact=NAVIGATION,
            ),
            CurveCell(
                "every-step",
                "MAML trained for what it earns after each of three steps; its first phase looks around",
                PointNavigation(),
                TrialShape(NUM_STEPS, num_streams=20, num_episodes=1),
                TrialShape(NUM_STEPS, num_streams=20, num_episodes=1),
                NAVIGATED,
            ),
        ),
        num_test_tasks=1000,
        num_seeds=5,
    ),
    CurveStudy(
        name="maml-cheetah-direction",
        title="MAML on HalfCheetah, by direction",
        source=SOURCE,
        setting=_of_a_body("Forward or backward"),
        env="cheetah-direction",
        cells=curve_cells(
            CheetahDirection(),
            Told("cheetah-direction"),
            num_streams=20,
            maml=(-50.7, 293.2, 313.5, 315.7),
            margin=7.0,
            pretrained=19.6,
            known=442.7,
        ),
        num_test_tasks=40,
        num_different=2,
    ),
    CurveStudy(
        name="maml-cheetah-velocity",
        title="MAML on HalfCheetah, by velocity",
        source=SOURCE,
        setting=_of_a_body("Target U(0, 2)"),
        env="cheetah-velocity",
        cells=curve_cells(
            CheetahVelocity(),
            Told("cheetah-velocity"),
            num_streams=20,
            maml=(-129.5, -78.6, -66.6, -60.8),
            margin=4.4,
            pretrained=-133.6,
            known=-54.5,
        ),
        num_test_tasks=40,
    ),
    CurveStudy(
        name="maml-ant-direction",
        title="MAML on Ant, by direction",
        source=SOURCE,
        setting=_of_a_body("Forward or backward", num_episodes=40),
        env="ant-direction",
        cells=curve_cells(
            AntDirection(),
            Told("ant-direction"),
            num_streams=40,
            maml=(8.7, 499.2, 500.7, 499.1),
            margin=None,
            pretrained=6.9,
            known=524.8,
        ),
        num_test_tasks=40,
        num_different=2,
    ),
)
