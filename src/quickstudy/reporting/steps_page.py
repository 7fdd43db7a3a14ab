"""Methods on the same new tasks at the same number of environment steps, as one HTML document."""

from __future__ import annotations

from quickstudy.reporting.charts import Axes, Series, line_chart
from quickstudy.reporting.document import alarm, document, section
from quickstudy.reporting.estimates import Estimate, count
from quickstudy.reporting.figures import figure
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.steps import Method, differences, same_steps
from quickstudy.reporting.tables import table

MOST_LINES = 8
"""Of a figure; more are in the table alone."""


def steps_page(found: list[Method]) -> str:
    """The whole comparison."""
    title = f"{len(found)} methods on new tasks of {found[0].tasks['env']['type']}"
    apart = differences(found)
    return document(
        title,
        alarm("Not comparable.", "; ".join(apart)) if apart else None,
        element("h1", title),
        section("Return against environment steps in a new task", _curves(found)),
        section("In numbers", _table(found)),
    )


def _curves(found: list[Method]) -> Markup:
    longest = 2 * same_steps(found)
    series = []
    for i, method in enumerate(found[:MOST_LINES]):
        steps, mean, low, high = zip(*(p for p in method.points if p[0] <= longest), strict=True)
        series.append(Series(method.name, steps, mean, f"c{i % 5} d{i % 4}", low, high, dots=True))
    drawing = line_chart(
        "Mean return of an episode against the environment steps in a new task",
        "; ".join(f"{s.label}: {s.y[-1]:.4g} at {s.x[-1]:,} steps" for s in series),
        series,
        Axes("environment steps in a new task", "mean return of an episode"),
        [],
    )
    return figure(
        "steps",
        drawing,
        element("strong", "In new tasks. "),
        "A point at no steps is zero-shot. Bands are 95% intervals. Exams of learners take the policy's mode; "
        "the episodes of a meta-trained agent are drawn unless its evaluation was greedy.",
    )


def _table(found: list[Method]) -> Markup:
    equal = same_steps(found)

    def row(method: Method) -> list[str]:
        first, there, last = method.points[0], method.within(equal), method.points[-1]
        return [method.name, *(Estimate(*p[1:]).full() for p in (first, there, last)), count(last[0])]

    head = ["method", "at the start", f"within {equal:,} steps", "at its end", "steps at its end"]
    return table("Mean return of an episode in a new task", head, map(row, found))
