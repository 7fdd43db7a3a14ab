"""What learning from scratch is made of, as one frozen dataclass that JSON can hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from quickstudy import keys
from quickstudy.errors import InputError, require
from quickstudy.evaluation import held_out, training_split
from quickstudy.experiment import RECORDED, build, read_part, to_dict
from quickstudy.files import read_json
from quickstudy.lives import LifeShape
from quickstudy.registry import Kind, name_of
from quickstudy.types import MOST

LEARNING = "learning.json"
DEFAULT_LIFE = LifeShape()
TaskSet = Literal["new", "known", "validation"]
TASK_SETS: dict[str, tuple[int, Callable[[Any], Any]]] = {
    "new": (keys.TEST, held_out),
    "known": (keys.KNOWN, training_split),
    "validation": (keys.VALIDATION, training_split),
}
"""The branch of random keys and the split of the family that tasks are of."""


@dataclasses.dataclass(frozen=True)
class Learning:
    """What `learn` takes, the command line builds and a run directory stores."""

    agent: Any
    """One that learns within a task; see `quickstudy list agents`."""
    env: Any
    """The task family; see `quickstudy list envs`."""
    life: LifeShape = DEFAULT_LIFE
    tasks: TaskSet = "new"
    """new: those that an evaluation with this seed holds out; known: training tasks; validation: others."""
    num_tasks: int = 10
    num_seeds: int = 1
    """Learners in each task."""
    num_exams: int = 10
    """On the way, evenly spread, the last at the end; one more is at the start."""
    num_episodes: int = 20
    """Of each exam."""
    solved: float | None = None
    """A mean return from which a task counts as solved; None where nothing does."""
    start: str | None = None
    """A directory with a policy of known tasks, for an agent that begins with one: `transfer` makes it."""
    seed: int = 0
    """The root of every random key."""

    def __post_init__(self) -> None:
        require(
            self,
            tasks=(self.tasks in TASK_SETS, f"one of {', '.join(TASK_SETS)}"),
            num_tasks=(1 <= self.num_tasks <= MOST, f"between 1 and {MOST:,}"),
            num_seeds=(1 <= self.num_seeds <= MOST, f"between 1 and {MOST:,}"),
            num_exams=(1 <= self.num_exams <= self.life.num_adapts, "between 1 and life.num_adapts"),
            num_episodes=(1 <= self.num_episodes <= MOST, f"between 1 and {MOST:,}"),
            seed=(0 <= self.seed < 2**32, "between 0 and 2**32 - 1"),
        )

    @property
    def num_learners(self) -> int:
        return self.num_tasks * self.num_seeds

    @property
    def exam_adapts(self) -> list[int]:
        """After how many adaptations there is an exam."""
        return [round(i * self.life.num_adapts / self.num_exams) for i in range(self.num_exams + 1)]


def read_learning(directory: Path | str, allow_code: bool = False) -> Learning:
    """The settings in a run directory; raises `InputError` where they are damaged."""
    record = read_json(Path(directory) / LEARNING)
    fields = {name: x for name, x in record.items() if name not in RECORDED}
    kinds: tuple[Kind, ...] = ("agent", "env")
    for kind in kinds:
        fields[kind] = read_part(kind, fields.get(kind), kind, allow_code)
    return build(Learning, fields, "learning")


def check_learns(agent: Any) -> None:
    """Raise `InputError` where a life would teach an agent nothing."""
    if getattr(agent, "meta_learned", True):
        name = name_of("agent", type(agent))
        raise InputError(f"agent: {name!r} is meta-trained; use `quickstudy train {name} ENV`")


def to_record(learning: Learning) -> dict[str, Any]:
    """The settings as plain JSON values."""
    parts = {"agent": to_dict(learning.agent, "agent"), "env": to_dict(learning.env, "env")}
    return {**to_dict(learning), **parts}
