"""The options of each command, as frozen dataclasses; their docstrings are the command line's help."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import tyro

from quickstudy.experiment import Experiment
from quickstudy.learning_settings import Learning
from quickstudy.loggers import WandbMode
from quickstudy.transfer.pipeline import Stage
from quickstudy.transfer.settings import Transfer
from quickstudy.types import TrialShape

Unprefixed = tyro.conf.arg(name="")


@dataclasses.dataclass(frozen=True)
class TrainOptions:
    """Meta-train an agent on a task family."""

    experiment: Annotated[Experiment, Unprefixed]
    out: str | None = None
    """The run directory, which must be new; by default one is made in runs/."""
    wandb: WandbMode = "off"
    """Log to Weights & Biases too."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the evaluation as one JSON object and nothing else on standard output."""


@dataclasses.dataclass(frozen=True)
class LearnOptions:
    """Let an agent learn each task from scratch."""

    learning: Annotated[Learning, Unprefixed]
    out: str | None = None
    """The run directory, which must be new; by default one is made in runs/."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the exams as one JSON object and nothing else on standard output."""


@dataclasses.dataclass(frozen=True)
class TransferOptions:
    """Known tasks, one policy, new tasks: fine-tuned, judged, kept or discarded."""

    transfer: Annotated[Transfer, Unprefixed]
    until: Stage = "judge"
    """The last stage to do now; `quickstudy resume` does the others."""
    out: str | None = None
    """The directory, which must be new; by default one is made in runs/."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object and nothing else on standard output."""


@dataclasses.dataclass(frozen=True)
class ResumeTransferOptions:
    """Go on with a transfer, with the first stage that is not done."""

    until: Stage = "judge"
    """The last stage to do now."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object and nothing else on standard output."""
    allow_code: tyro.conf.FlagCreatePairsOff[bool] = False
    """Import the agent or environment from the file or package outside quickstudy that the run names."""


@dataclasses.dataclass(frozen=True)
class ResumeOptions:
    """Go on with a training from its last checkpoint."""

    wandb: WandbMode = "off"
    """Log to Weights & Biases too."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print the evaluation as one JSON object and nothing else on standard output."""
    allow_code: tyro.conf.FlagCreatePairsOff[bool] = False
    """Import the agent or environment from the file or package outside quickstudy that the run names."""


@dataclasses.dataclass(frozen=True)
class EvaluateRunOptions:
    """Measure a trained agent on held-out tasks."""

    trial: TrialShape
    num_tasks: int
    """Held-out tasks."""
    seed: int = 0
    """Of the held-out tasks."""
    checkpoint: str = "last"
    """last, best (on validation tasks) or the number of updates of a kept checkpoint."""
    greedy: tyro.conf.FlagCreatePairsOff[bool] = False
    """Take the mode of the policy at every step, where it would draw."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""
    save: tyro.conf.FlagCreatePairsOff[bool] = False
    """Make this the evaluation that the run directory and its report hold."""
    allow_code: tyro.conf.FlagCreatePairsOff[bool] = False
    """Import the agent or environment from the file or package outside quickstudy that the run names."""


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Measure an agent as it is first made: a classical learner, an untrained network."""

    agent: Any
    env: Any
    trial: TrialShape = TrialShape()
    num_tasks: int = 1000
    """Held-out tasks."""
    seed: int = 0
    """Of the held-out tasks."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


@dataclasses.dataclass(frozen=True)
class ReproduceOptions:
    """Set our figures beside a published table; the same command again goes on where it stopped."""

    cells: tuple[str, ...] = ()
    """Of the table; without this option all of them."""
    seeds: int = 5
    """Trainings of each cell."""
    out: str | None = None
    """The directory, new or of an earlier call; by default runs/STUDY."""
    num_test_tasks: int = 10_000
    """Held-out tasks in which each training is measured."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """Several runs side by side."""

    out: str | None = None
    """Write the comparison as one HTML file, which must be new."""


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """No options."""


@dataclasses.dataclass(frozen=True)
class ListOptions:
    """What there is."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object and nothing else on standard output."""
