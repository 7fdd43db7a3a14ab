"""The report of a learning from scratch as one HTML document that needs nothing outside itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.charts import Axes, Level, Series, line_chart
from quickstudy.reporting.document import alarm, document, folded, section
from quickstudy.reporting.estimates import Estimate, count
from quickstudy.reporting.figures import figure
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.tables import settings_table, table


def learning_page(record: Mapping[str, Any], name: str) -> str:
    """The whole learning, `record` as `learning_record` makes it."""
    title = f"{record['agent']} on {record['env']}, from scratch"
    verdict = record["verdict"]
    return document(
        title,
        None if verdict["learned"] else alarm(verdict["text"]),
        element("h1", title),
        element("p", verdict["text"], class_="verdict") if verdict["learned"] else None,
        element("p", _told(record, name), class_="trained"),
        section("Return against environment steps", element("div", _curve(record), class_="pair")),
        section("The exams in numbers", _table(record)),
        section("How to repeat it", folded("Protocol", settings_table("Protocol", record["protocol"]))),
    )


def _told(record: Mapping[str, Any], name: str) -> str:
    protocol, last = record["protocol"], record["exams"][-1]
    learners = f"{record['num_tasks']} tasks with {record['num_seeds']} learners in each"
    return (
        f"Run {name}: {learners}, {last['steps']:,} environment steps each, {last['seconds']:.1f} s in all; "
        f"seed {protocol['seed']}. Intervals: {record['interval']}."
    )


def _curve(record: Mapping[str, Any]) -> Markup:
    exams = record["exams"]
    steps = [entry["steps"] for entry in exams]
    bounded = all(_finite(entry["low"]) for entry in exams)
    mean = Series(
        record["agent"],
        steps,
        [entry["mean"] for entry in exams],
        "c1",
        [entry["low"] for entry in exams] if bounded else (),
        [entry["high"] for entry in exams] if bounded else (),
        dots=True,
    )
    worst = Series("lowest", steps, [entry["lowest"] for entry in exams], "c2 d2")
    levels = [Level("random", record["random"], "random")] if _finite(record.get("random")) else []
    levels += [Level("task known", record["task_known"], "exact")] if _finite(record.get("task_known")) else []
    drawing = line_chart(
        "Mean return of an exam against the environment steps of one learner",
        "; ".join(f"{entry['steps']:,} steps: {entry['mean']:.4g}" for entry in exams),
        [mean, worst],
        Axes("environment steps of one learner", "mean return of an episode"),
        levels,
    )
    return figure(
        "curve",
        drawing,
        element("strong", "Learning. "),
        "The mean over learners with its interval, and the lowest learner. An exam: ",
        f"{record['protocol']['exam']}.",
    )


def _table(record: Mapping[str, Any]) -> Markup:
    def row(entry: Mapping[str, Any]) -> list[str]:
        estimate = Estimate.read(entry)
        solved = "–" if entry["solved"] is None else f"{entry['solved']:.0%}"
        success = "–" if entry["success"] is None else f"{entry['success']['mean']:.0%}"
        numbers = [count(entry["steps"]), estimate.full(), f"{entry['lowest']:.4g}", success, solved]
        return [*numbers, f"{entry['seconds']:.1f}"]

    head = ["steps", "mean return", "lowest learner", "success", "solved", "seconds"]
    return table("Exams", head, map(row, record["exams"]))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
