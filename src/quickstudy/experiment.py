"""An experiment: everything that a training is made of, as one frozen dataclass that JSON can hold."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from typing import Any

from quickstudy.curriculum import Curriculum
from quickstudy.discretisation import DiscretisedActions
from quickstudy.errors import InputError, require, unknown, wrong
from quickstudy.imitation import Imitating, Imitation
from quickstudy.normalisation import NormalisedObservations, Normalising
from quickstudy.registry import Kind, name_of, resolve
from quickstudy.sharing import SharedExperience, Sharing
from quickstudy.types import MOST, TrialShape

# What experiment.json holds beside the experiment.
RECORDED = ("versions", "machine", "fingerprint")
# A string like `package.module:callable`, `file.py:Name` or `module:Env-v0`; `g=5:15` is none.
CODE_NAME = re.compile(r'"[\w./\\-]+:[A-Za-z_][\w.-]*"')
PARTS: tuple[Kind, ...] = ("agent", "env", "outer")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What `train` takes, the command line builds and a run directory stores."""

    agent: Any
    """The agent; see `quickstudy list agents`."""
    env: Any
    """The task family; see `quickstudy list envs`."""
    outer: Any
    """The outer loop; see `quickstudy list outers`."""
    trial: TrialShape = TrialShape()
    num_tasks: int = 1024
    """N, the fresh tasks of one update."""
    num_updates: int = 400
    seed: int = 0
    """The root of every random key."""
    log_every: int = 10
    """Updates between two lines of metrics; they run as one compiled call."""
    evaluate_every: int = 50
    """Updates between two evaluations on validation tasks, each with a checkpoint."""
    num_validation_tasks: int = 1000
    """Tasks of an evaluation during the training."""
    num_test_tasks: int = 1000
    """Held-out tasks of the evaluation at the end."""
    curriculum: Curriculum = Curriculum()
    """Short trials first."""
    imitation: Imitation = Imitation()
    """A teacher first."""
    normalise_observations: bool = False
    """To mean 0 and deviation 1, by statistics of the training that an evaluation leaves as they are."""
    action_bins: int | None = None
    """Values of each action dimension that the agent chooses among; None leaves continuous actions so."""
    start: str | None = None
    """A directory with a policy of known tasks, as `transfer` leaves it, with which the training begins."""

    def __post_init__(self) -> None:
        require(
            self,
            num_tasks=(1 <= self.num_tasks <= MOST, f"between 1 and {MOST:,}"),
            num_updates=(0 <= self.num_updates < 2**31, "between 0 and 2**31 - 1"),
            seed=(0 <= self.seed < 2**32, "between 0 and 2**32 - 1"),
            log_every=(1 <= self.log_every < 2**31, "between 1 and 2**31 - 1"),
            evaluate_every=(self.evaluate_every >= 1, "at least 1"),
            num_validation_tasks=(2 <= self.num_validation_tasks <= MOST, f"between 2 and {MOST:,}"),
            num_test_tasks=(2 <= self.num_test_tasks <= MOST, f"between 2 and {MOST:,}"),
            action_bins=(self.action_bins is None or 2 <= self.action_bins <= 10_000, "between 2 and 10,000"),
        )
        bare = not self.normalise_observations and self.action_bins is None
        require(self, start=(self.start is None or bare, "None with normalise_observations or action_bins"))
        parts = getattr(self.outer, "num_minibatches", 1)
        if self.num_tasks % parts:
            raise wrong("num_tasks", self.num_tasks, f"a multiple of outer.num_minibatches, {parts}")
        if self.num_updates and self.updates_of_early_stage == 0:
            least = math.ceil((len(self.stages) - 1) / self.curriculum.latest)
            stages = f"the {len(self.stages) - 1} early stages of its curriculum"
            raise wrong("num_updates", self.num_updates, f"at least {least}, for {stages}")

    def check_trainable(self) -> None:
        """Raise `InputError` where there is nothing to meta-train, or nothing to do it with."""
        name = name_of("agent", type(self.agent))
        if not getattr(self.agent, "meta_learned", True):
            raise InputError(
                f"agent: {name!r} has nothing to meta-train; use `quickstudy evaluate {name} ENV`, or "
                f"`quickstudy learn {name} ENV` where it learns from scratch"
            )
        if self.outer is None:
            raise wrong("outer", None, "an outer loop, for example quickstudy.outer.ppo.PPO()")

    @property
    def stages(self) -> tuple[TrialShape, ...]:
        """The trials of each stage of the curriculum; the last are the experiment's own."""
        short = [n for n in self.curriculum.lengths if n < self.trial.num_episodes]
        return (*(dataclasses.replace(self.trial, num_episodes=n) for n in short), self.trial)

    @property
    def updates_of_early_stage(self) -> int | None:
        """After so many a stage of short trials ends, however far the agent is; None without such a stage."""
        num_early = len(self.stages) - 1
        return self.curriculum.most_updates(self.num_updates, num_early) if num_early else None

    @property
    def learner(self) -> Any:
        """The agent with the settings of this experiment, as it lives."""
        agent = self.agent
        if self.action_bins is not None:
            agent = DiscretisedActions(agent, self.action_bins)
        if self.normalise_observations:
            agent = NormalisedObservations(agent)
        if self._shares:
            agent = SharedExperience(agent, self.agent.num_shared, self.agent.discount)
        return agent

    @property
    def loop(self) -> Any:
        """The outer loop with the settings of this experiment."""
        outer = self.outer
        if self.imitation.teacher is not None:
            outer = Imitating(outer, self.imitation, self.env)
        if self.normalise_observations:
            outer = Normalising(outer)
        # Outermost, as around the agent: what is shared is as the world has it.
        return Sharing(outer) if self._shares else outer

    @property
    def _shares(self) -> bool:
        return getattr(self.agent, "num_shared", 0) > 0

    @property
    def steps_per_update(self) -> tuple[int, ...]:
        """Environment steps of one update, in each of the `stages`."""
        return tuple(self.num_tasks * trial.steps_per_task(self.env) for trial in self.stages)

    @property
    def names(self) -> dict[str, str]:
        """The registry names of agent, env and outer."""
        present: list[Kind] = [kind for kind in PARTS if getattr(self, kind) is not None]
        return {kind: name_of(kind, type(getattr(self, kind))) for kind in present}


def to_dict(value: Any, kind: Kind | None = None) -> Any:
    """A dataclass as plain JSON values; agent, env and outer carry their name as `type`."""
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return list(value) if isinstance(value, tuple) else value
    fields = {
        f.name: to_dict(getattr(value, f.name), _kind(f.name)) for f in dataclasses.fields(value) if f.init
    }
    return fields if kind is None else {"type": name_of(kind, type(value)), **fields}


def to_record(experiment: Experiment, **beside: Any) -> dict[str, Any]:
    """What experiment.json holds: the experiment, and `RECORDED` beside it."""
    return {**to_dict(experiment), **beside}


def from_record(record: dict[str, Any], allow_code: bool = False) -> Experiment:
    """The experiment of an experiment.json."""
    return from_dict({k: v for k, v in record.items() if k not in RECORDED}, allow_code)


def from_dict(data: dict[str, Any], allow_code: bool = False) -> Experiment:
    """Read what `to_dict` wrote; raises `InputError` naming the field that is wrong."""
    data = dict(data)
    for kind in PARTS:
        part = data.get(kind)
        if part is None and kind == "outer":
            continue
        data[kind] = read_part(kind, part, kind, allow_code)
    data["trial"] = build(TrialShape, data.get("trial", {}), "trial")
    return build(Experiment, data, "experiment")


def read_part(kind: Kind, part: Any, where: str, allow_code: bool) -> Any:
    """An agent, env or outer of JSON values that carry its name as `type`; raises `InputError`."""
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise wrong(where, part, "an object with a field 'type'")
    cls = resolve(kind, part["type"], allow_code)
    if not allow_code:
        _refuse_code(kind, part)
    return build(cls, {name: value for name, value in part.items() if name != "type"}, where)


def build(cls: type, values: dict[str, Any], where: str) -> Any:
    """A dataclass from JSON values whose names and types are checked."""
    if not isinstance(values, dict):
        raise wrong(where, values, "an object")
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    for name, value in values.items():
        if name not in names:
            raise unknown(f"{where} field", name, names)
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, dict):
            values = {**values, name: build(hints[name], value, f"{where}.{name}")}
        elif not _fits(value, hints[name]):
            raise wrong(f"{where}.{name}", value, f"of type {getattr(hints[name], '__name__', hints[name])}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return cls(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error


def _refuse_code(kind: Kind, part: dict[str, Any]) -> None:
    """A field may name code too, `package.module:callable`, in a bridge to somebody else's environments."""
    for name, value in part.items():
        if name != "type" and CODE_NAME.search(json.dumps(value)):
            raise InputError(
                f"{kind}.{name}: {value!r} may name code outside quickstudy; if you trust it, pass --allow-code"
            )


def _kind(field: str) -> Kind | None:
    return next((kind for kind in PARTS if kind == field), None)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of an annotated type; annotations outside JSON's types are let through."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return value in arguments
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if hint is bool or hint is type(None) or hint is str:
        return isinstance(value, hint)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, list | tuple)
    return True
