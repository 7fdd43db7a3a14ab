"""Runs as methods: one method is the runs whose experiments are equal except for the seed.

    m_s = mean over held-out tasks of seed s's run
    mean over s of m_s, with a 95% interval from a bootstrap over the seeds

A seed is the unit that is drawn: the tasks within one run tell nothing about the next training. Of two seeds
only the lowest and the highest are told, of one seed nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from quickstudy.maths.statistics import mean_interval
from quickstudy.reporting.command import FOUND
from quickstudy.reporting.conditions import Runs, acting
from quickstudy.reporting.estimates import Estimate
from quickstudy.reporting.figures import averaged
from quickstudy.reporting.summary import RunSummary
from quickstudy.reporting.tables import flattened, setting
from quickstudy.variants import variant_of

FEWEST_SEEDS = 3
"""With fewer there is no interval, only a lowest and a highest seed."""


@dataclasses.dataclass(frozen=True)
class Method:
    """The runs of one experiment, one for each seed."""

    settings: dict[str, Any]
    """The experiment without its seed, by dotted names; how the evaluation's actions were chosen beside it."""
    runs: list[RunSummary]
    repeated: list[RunSummary]
    """Runs whose seed is among `runs` already: no seeds more, so they count for nothing."""
    key: str = ""
    """The short name in figures: A has the highest total."""
    name: str = ""
    """Agent, outer loop, and as few settings as tell it from the other methods with these two."""

    @property
    def agent(self) -> str:
        """The agent's name, or that of the published method that it is with its outer loop and settings."""
        return variant_of(self.settings) or self.runs[0].agent

    @property
    def title(self) -> str:
        outer = self.runs[0].outer
        return f"{self.agent}, {outer}" if outer else self.agent

    @property
    def evaluated(self) -> list[RunSummary]:
        return [run for run in self.runs if run.estimate("total").known]

    @property
    def total(self) -> Estimate:
        return over_seeds([run.estimate("total").mean for run in self.evaluated])

    @property
    def episodes(self) -> list[Estimate]:
        """The adaptation curve, as far as it goes in every seed."""
        curves = [[episode.mean for episode in run.episodes] for run in self.runs if run.episodes]
        return [over_seeds(values) for values in zip(*curves, strict=False)]

    @property
    def env_steps(self) -> tuple[float, float]:
        """Environment steps of the shortest and of the longest training; NaN where none has begun."""
        known = [run.env_steps for run in self.runs if math.isfinite(run.env_steps)]
        return (min(known), max(known)) if known else (math.nan, math.nan)

    @property
    def seconds(self) -> float:
        """Of a training, mean over seeds."""
        known = [value for run in self.runs if math.isfinite(value := _last(run.column("seconds")))]
        return sum(known) / len(known) if known else math.nan

    @property
    def learning(self) -> tuple[list[float], list[Estimate]]:
        """(environment steps, mean total return of a trial) where all its seeds were measured.

        On held-out validation tasks; on training tasks where no seed was validated.
        """
        validated = [points for run in self.runs if (points := _points(run, "eval_return"))]
        curves = validated or [points for run in self.runs if (points := _points(run, "return"))]
        if not curves:
            return [], []
        steps = sorted(set.intersection(*map(set, curves)))
        columns = [averaged(steps, [points[x] for x in steps]) for points in curves]
        return columns[0][0], [over_seeds(values) for values in zip(*(y for _, y, _ in columns), strict=True)]


def seed_methods(summaries: Sequence[RunSummary]) -> list[Method]:
    """The runs as methods, the highest total first; none where no method has two seeds."""
    methods: list[Method] = []
    for summary in summaries:
        _add(methods, summary)
    if all(len(method.runs) < 2 for method in methods):
        return []
    methods.sort(key=lambda method: -method.total.mean if method.total.known else math.inf)
    return [
        dataclasses.replace(method, key=key(index), name=_name(method, methods))
        for index, method in enumerate(methods)
    ]


def keyed_runs(methods: Sequence[Method]) -> Runs:
    """Every run, the repeated ones too, under the key of its method."""
    return [(method.key, run) for method in methods for run in (*method.runs, *method.repeated)]


def over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of the seeds' finite values; from 3 on with an interval, of 2 with lowest and highest."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return Estimate(math.nan, math.nan, math.nan)
    if len(known) >= FEWEST_SEEDS:
        return Estimate(*map(float, mean_interval(np.asarray(known))))
    low, high = (min(known), max(known)) if len(known) == 2 else (math.nan, math.nan)
    return Estimate(sum(known) / len(known), low, high)


def differing_settings(methods: Sequence[Method]) -> list[str]:
    """The dotted names of settings in which methods differ, in their stored order."""
    names = dict.fromkeys(name for method in methods for name in method.settings)
    return [name for name in names if _num_told_apart(methods, [name]) > 1]


def key(index: int) -> str:
    """A, B, …, Z, AA, …"""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _add(methods: list[Method], summary: RunSummary) -> None:
    settings = _settings(summary)
    method = next((method for method in methods if method.settings == settings), None)
    if method is None:
        methods.append(Method(settings, [summary], []))
    elif seed_of(summary) in map(seed_of, method.runs):
        method.repeated.append(summary)
    else:
        method.runs.append(summary)


def _settings(summary: RunSummary) -> dict[str, Any]:
    stored = {name: x for name, x in summary.experiment.items() if name not in FOUND and name != "seed"}
    return {**dict(flattened(stored)), "actions": acting(summary)}


def seed_of(summary: RunSummary) -> Any:
    return summary.experiment.get("seed")


def _name(method: Method, methods: Sequence[Method]) -> str:
    siblings = [other for other in methods if other.title == method.title]
    chosen = _telling_apart(siblings)
    shorts = [_short(name) for name in chosen]
    told = [
        f"{short if shorts.count(short) == 1 else name} {setting(method.settings[name])}"
        for name, short in zip(chosen, shorts, strict=True)
        if name in method.settings
    ]
    return ", ".join([method.title, *told])


def _telling_apart(methods: Sequence[Method]) -> list[str]:
    """Few settings in which no two methods are equal: again and again the one that parts the most."""
    chosen: list[str] = []
    differing = differing_settings(methods)
    while _num_told_apart(methods, chosen) < len(methods):
        best = max(differing, key=lambda name: _num_told_apart(methods, [*chosen, name]))
        if _num_told_apart(methods, [*chosen, best]) == _num_told_apart(methods, chosen):
            break
        chosen.append(best)
    return chosen


def _num_told_apart(methods: Sequence[Method], names: Sequence[str]) -> int:
    return len({tuple(setting(method.settings.get(name)) for name in names) for method in methods})


def _short(name: str) -> str:
    """The last part of a dotted name; of a `type` the part that it is the type of."""
    parts = name.split(".")
    return parts[-2] if parts[-1] == "type" and len(parts) > 1 else parts[-1]


def _last(values: Sequence[float]) -> float:
    return next((value for value in reversed(values) if math.isfinite(value)), math.nan)


def _points(summary: RunSummary, name: str) -> dict[float, float]:
    rows = zip(summary.column("env_steps"), summary.column(name), strict=False)
    return {x: y for x, y in rows if math.isfinite(x) and math.isfinite(y)}
