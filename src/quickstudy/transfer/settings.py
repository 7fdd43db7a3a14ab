"""What the road from known tasks to new ones is made of, as one frozen dataclass that JSON can hold."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args

from quickstudy.agents.fine_tune import FineTune
from quickstudy.agents.ppo import PPO
from quickstudy.errors import require, wrong
from quickstudy.experiment import RECORDED, build, read_part, to_dict
from quickstudy.files import read_json
from quickstudy.learning_settings import check_learns
from quickstudy.lives import LifeShape
from quickstudy.registry import Kind
from quickstudy.transfer.distill import Distillation
from quickstudy.transfer.elastic import Penalty
from quickstudy.transfer.multi_task import MultiTask
from quickstudy.types import MOST

TRANSFER = "transfer_settings.json"
Merge = Literal["distill", "multi-task"]


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What `transfer` takes, the command line builds and a directory stores."""

    env: Any
    """The task family; see `quickstudy list envs`."""
    teacher: Any
    """The agent that learns the known tasks, and the new ones from scratch."""
    agent: FineTune
    """That fine-tunes; its penalty and coefficient are those of `penalties`."""
    teaching: LifeShape
    """A teacher's life in one task."""
    tuning: LifeShape
    """A life of fine-tuning in one new task."""
    num_known: int = 8
    num_validation: int = 8
    num_new: int = 16
    merge: Merge = "distill"
    """distill: the teachers' policies become one. multi-task: no teachers, one policy is trained in all known
    tasks by PPO, with the settings of a teacher that is one."""
    distillation: Distillation = dataclasses.field(default_factory=Distillation)
    multi_task: MultiTask = dataclasses.field(default_factory=MultiTask)
    penalties: tuple[Penalty, ...] = ("none", "kl")
    coefficients: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Of which the best in validation tasks is taken, for each penalty."""
    margin: float = 0.0
    """By how much a fine-tuned policy must be better, at the lower end of the interval, to be kept."""
    num_sequence: int = 0
    """New tasks that one policy is fine-tuned through, one after another, to see what it forgets; 0: none."""
    num_exams: int = 8
    """Of a life."""
    num_episodes: int = 30
    """Of each exam, and of the guard's."""
    seed: int = 0
    """The root of every random key."""

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("num_known", "num_validation", "num_new")}
        longest = min(self.teaching.num_adapts, self.tuning.num_adapts)
        require(
            self,
            **{name: (1 <= n <= MOST, f"between 1 and {MOST:,}") for name, n in counts.items()},
            penalties=(
                len(self.penalties) > 0 and set(self.penalties) <= set(get_args(Penalty)),
                f"one or more of {', '.join(get_args(Penalty))}",
            ),
            coefficients=(
                len(self.coefficients) > 0 and all(c > 0 for c in self.coefficients),
                "one or more above 0",
            ),
            num_exams=(1 <= self.num_exams <= longest, f"between 1 and the adaptations of a life, {longest}"),
            num_episodes=(2 <= self.num_episodes <= MOST, f"between 2 and {MOST:,}"),
            seed=(0 <= self.seed < 2**32, "between 0 and 2**32 - 1"),
        )
        most = 0 if self.agent.part == "adapter" else self.num_new
        require(self, num_sequence=(0 <= self.num_sequence <= most, f"between 0 and {most}"))
        check_learns(self.teacher)
        if self.merge == "multi-task" and not isinstance(self.teacher, PPO):
            raise wrong("Transfer.merge", self.merge, "distill, for a teacher that is not ppo")

    def tuned_by(self, penalty: Penalty, coefficient: float) -> FineTune:
        """The agent that fine-tunes with a penalty."""
        return dataclasses.replace(self.agent, penalty=penalty, coefficient=coefficient)


def read_transfer(directory: Path, allow_code: bool = False) -> Transfer:
    """The settings in a directory; raises `InputError` where they are damaged."""
    fields = {name: x for name, x in read_json(directory / TRANSFER).items() if name not in RECORDED}
    kinds: dict[str, Kind] = {"env": "env", "teacher": "agent", "agent": "agent"}
    for name, kind in kinds.items():
        fields[name] = read_part(kind, fields.get(name), name, allow_code)
    return build(Transfer, fields, "transfer")


def to_record(settings: Transfer) -> dict[str, Any]:
    """The settings as plain JSON values."""
    parts = {"env": to_dict(settings.env, "env"), "teacher": to_dict(settings.teacher, "agent")}
    return {**to_dict(settings), **parts, "agent": to_dict(settings.agent, "agent")}
