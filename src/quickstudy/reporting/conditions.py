"""Whether runs may be compared: the conditions that their numbers were measured under."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quickstudy.greedy import Greedy
from quickstudy.registry import name_of
from quickstudy.reporting.summary import RunSummary
from quickstudy.reporting.tables import flattened, setting

Runs = Sequence[tuple[str, RunSummary]]
"""Runs with the short keys that name them, or their methods, in figures."""


def differences(runs: Runs) -> list[str]:
    """One line for each condition in which the runs' evaluations differ; none for runs without one."""
    evaluated = [(name, summary) for name, summary in runs if summary.evaluation is not None]
    evaluations = [(name, _evaluation(summary)) for name, summary in evaluated]
    return environment_differences(runs) + _differing(evaluations)


def training_differences(runs: Runs) -> list[str]:
    """The same for their learning curves: returns of other trials have another scale."""
    trials = [(name, {"training trial": summary.experiment.get("trial")}) for name, summary in runs]
    return environment_differences(runs) + _differing(trials)


def environment_differences(runs: Runs) -> list[str]:
    """Settings in which the environments differ, or else that one of them has changed since."""
    stated = [(name, {"environment": summary.experiment.get("env") or summary.env}) for name, summary in runs]
    marks = [(name, mark) for name, summary in runs if (mark := _fingerprint(summary))]
    return _differing(stated) or _differing(marks)


def acting(summary: RunSummary) -> str:
    """How the evaluation chose its actions: drawn from the policy, or greedy, its mode.

    A run without an evaluation is taken for drawn, as an evaluation is unless it is asked to be greedy.
    """
    protocol = (summary.evaluation or {}).get("protocol")
    agent = protocol.get("agent") if isinstance(protocol, Mapping) else None
    outermost = agent.get("type") if isinstance(agent, Mapping) else None
    return "greedy" if outermost == name_of("agent", Greedy) else "drawn"


def _evaluation(summary: RunSummary) -> dict[str, Any]:
    evaluation = summary.evaluation or {}
    protocol = evaluation.get("protocol")
    trial = protocol.get("trial") if isinstance(protocol, Mapping) else None
    return {
        "trial": trial or summary.experiment.get("trial"),
        "evaluation tasks": evaluation.get("num_tasks"),
        "evaluation seed": evaluation.get("seed"),
        "evaluation actions": acting(summary),
    }


def _fingerprint(summary: RunSummary) -> dict[str, Any]:
    stored = summary.experiment.get("fingerprint")
    digest = stored.get("digest") if isinstance(stored, Mapping) else None
    return {"environment fingerprint": digest} if digest else {}


def _differing(conditions: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    known = [(name, dict(flattened(values))) for name, values in conditions]
    lines = []
    for condition in dict.fromkeys(condition for _, values in known for condition in values):
        # The seeds of one method share its name, and mostly its values.
        told = dict.fromkeys((name, setting(values.get(condition))) for name, values in known)
        if len({value for _, value in told}) > 1:
            lines.append(f"{condition}: " + ", ".join(f"{name} {value}" for name, value in told))
    return lines
