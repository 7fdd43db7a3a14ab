"""Adaptation curves beside the published ones as one HTML document that needs nothing outside itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.charts import Axes, Level, Series, line_chart
from quickstudy.reporting.document import document, folded, section
from quickstudy.reporting.figures import figure
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.tables import settings_table, table
from quickstudy.reproduction.curve_rows import (
    WORDS,
    curve,
    head,
    num_points,
    published,
    table_rows,
    trained_by,
    training_head,
    training_rows,
    verdict,
)
from quickstudy.reproduction.protocol import how_to_repeat
from quickstudy.reproduction.rows import held_out_words, too_narrow

SHORT = {"pretrained": "pre.", "goal-known": "known", "every-step": "every"}
"""Names that leave room in a label beside a line."""


def curve_page(result: Mapping[str, Any]) -> str:
    """The whole result as one page, without scripts."""
    cells = result["cells"]
    title = f"{result['title']}, reproduced"
    return document(
        title,
        element("h1", title),
        element("p", verdict(result), class_="verdict"),
        element("p", f"{result['source']}. {result['setting']}.", class_="trained"),
        element("div", _summary(result), class_="card"),
        section(
            "Return against gradient steps",
            element(
                "div",
                curves_figure(result),
                element("ul", *(element("li", trained_by(entry)) for entry in cells)),
                class_="pair ragged",
            ),
        ),
        section("Our trainings", *(_cell(entry) for entry in cells if entry["runs"])),
        how_to_repeat(result),
    )


def curves_figure(result: Mapping[str, Any]) -> Markup:
    """Ours drawn through, with their bands; the published ones dashed, in the same colour."""
    series = [line for index, entry in enumerate(result["cells"]) for line in _series(result, entry, index)]
    exact = [(entry["cell"], entry["exact"]) for entry in result["cells"] if entry["exact"] is not None]
    drawing = line_chart(
        f"{result['title']}: return after each number of gradient steps, ours beside the published",
        "; ".join(f"{row[0]} {row[1]}: {', '.join(row[2:])}" for row in table_rows(result)),
        series,
        Axes("gradient steps", "mean return of an episode", whole_x=True),
        [Level(f"{SHORT.get(name, name)} exact", value, "exact") for name, value in exact],
    )
    return figure(
        "curves",
        drawing,
        element("strong", "Adaptation. "),
        "Drawn through: ours, with bands of their 95% intervals. Dashed, or a single dot, in the same colour: "
        "published",
        f"; {', '.join(name for name, _ in exact)} is drawn exactly" if exact else "",
        ". What is told the task takes no gradient step; its line is drawn across.",
    )


def _series(result: Mapping[str, Any], entry: Mapping[str, Any], index: int) -> list[Series]:
    """Ours, if it is measured, and the published curve, if there is one; of what takes no step a level."""
    name, ours, theirs = entry["cell"], curve(entry), published(entry)
    if not entry["takes_steps"]:
        ours, theirs = ours * num_points(result), theirs[:1] * num_points(result)
    look = f"c{index} {'agent' if index == 0 else 'run'}"
    lines = []
    if ours:
        steps = [float(k) for k in range(len(ours))]
        lines.append(
            Series(
                name,
                steps,
                [x.mean for x in ours],
                look,
                [x.low for x in ours],
                [x.high for x in ours],
                dots=entry["takes_steps"],
            )
        )
    if any(map(math.isfinite, theirs)):
        steps = [float(k) for k in range(len(theirs))]
        lines.append(
            Series(f"{SHORT.get(name, name)} theirs", steps, theirs, f"c{index} d1", dots=entry["takes_steps"])
        )
    return lines


def _summary(result: Mapping[str, Any]) -> Markup:
    measured = [entry for entry in result["cells"] if entry["runs"]]
    few = too_narrow(entry["ours"]["num_seeds"] for entry in measured)
    tasks = f" {measured[0]['runs'][0]['num_tasks']:,}" if measured else ""
    caption = (
        f"Mean return of an episode after so many gradient steps, in{tasks} {held_out_words(result)}; "
        f"ours with a 95% interval, of a single seed over tasks, else over seeds{few}"
    )
    return table(caption, head(result), table_rows(result), texts=len(WORDS))


def _cell(entry: Mapping[str, Any]) -> Markup:
    return folded(
        f"{entry['cell']}: {entry['setting']}",
        table(
            "After so many gradient steps, with 95% intervals over tasks",
            training_head(entry),
            training_rows(entry),
        ),
        settings_table("Our experiment; the seeds differ in nothing else", entry["experiment"]),
    )
