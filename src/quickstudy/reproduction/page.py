"""A reproduced table as one HTML document that needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.document import document, folded, section
from quickstudy.reporting.estimates import number
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.tables import settings_table, table
from quickstudy.reproduction.curve_page import curve_page
from quickstudy.reproduction.figures import cell_figure, signature_figure
from quickstudy.reproduction.protocol import how_to_repeat
from quickstudy.reproduction.rows import (
    METHODS,
    SUMMARY,
    TRAININGS,
    held_out_words,
    method_rows,
    optimality_words,
    share_words,
    summary_row,
    too_narrow,
    trained_by,
    training_rows,
    verdict,
)
from quickstudy.reproduction.signature import EFFECTS, KINDS


def page(result: Mapping[str, Any]) -> str:
    """The whole result as one page, without scripts."""
    if result["kind"] == "curves":
        return curve_page(result)
    cells = result["cells"]
    title = f"{result['title']}, reproduced"
    return document(
        title,
        element("h1", title),
        element("p", verdict(result), class_="verdict"),
        element("p", f"{result['source']}. {result['setting']}.", class_="trained"),
        element("div", _summary(cells), class_="card"),
        element("ul", *(element("li", trained_by(entry)) for entry in cells)),
        section("Cell by cell", element("div", *map(cell_figure, cells), class_="pair ragged")),
        *(_optimality(entry) for entry in cells if "optimality" in entry),
        *(_signatures(entry) for entry in cells if "signatures" in entry),
        section("Every row", *(_cell(result, entry) for entry in cells)),
        how_to_repeat(result),
    )


def _summary(cells: list[dict[str, Any]]) -> Markup:
    few = too_narrow(entry["ours"]["num_seeds"] for entry in cells)
    caption = f"Mean return of a trial; ours with a 95% interval over seeds{few}"
    caption += "; the gap is that of the mean to the limit"
    return table(caption, SUMMARY, map(summary_row, cells))


def _optimality(entry: Mapping[str, Any]) -> Markup | None:
    runs = entry["runs"]
    best = runs[0]["optimality"]["optimum"]
    head = ["seed", *(f"{index} episode{'s' if index > 1 else ''}" for index in range(1, len(best) + 1)), ""]
    rows = [
        [str(run["seed"]), *(number(x, 3) for x in run["optimality"]["cumulative"]), _mark(run["optimality"])]
        for run in runs
    ]
    rows.append(["Bayes-optimal", *(number(x, 3) for x in best), ""])
    goals = runs[0]["optimality"]["num_tasks"]
    caption = f"Return of the greedy agent summed up to each episode, mean over all {goals} goals"
    return section(
        "Exactly Bayes-optimal",
        element("p", optimality_words(entry["optimality"])),
        element("div", table(caption, head, rows), class_="card"),
    )


def _mark(optimality: Mapping[str, Any]) -> str:
    return "optimal" if optimality["exactly_optimal"] else "not optimal"


def _signatures(entry: Mapping[str, Any]) -> Markup | None:
    told = entry["signatures"]
    rows = [[who, *(share_words(values[name]) for name in (*KINDS, *EFFECTS))] for who, values in told.items()]
    caption = (
        "Probability to stay with the last choice, by what it brought, and the effects, with 95% intervals"
    )
    words = (
        "A model-based agent changes its choice when a rare transition led to a reward, and stays when one led "
        "to none: an interaction of reward and transition, and no effect of the reward alone. A model-free "
        "learner asks whether there was a reward; a little of an interaction it shows, too, as what it stays "
        "with is more often right."
    )
    return section(
        "Model-based choice",
        element("p", words),
        element("div", *(signature_figure(who, values) for who, values in told.items()), class_="pair"),
        element("div", table(caption, ["who", *KINDS, *EFFECTS], rows), class_="card"),
    )


def _cell(result: Mapping[str, Any], entry: Mapping[str, Any]) -> Markup:
    references = entry["references"]["num_tasks"]
    tasks = entry["runs"][0]["num_tasks"]
    others = "" if references in (None, tasks) else f", the classical learners in {references:,}"
    caption = (
        f"Mean return of a trial, with 95% intervals: ours over seeds, each in {tasks:,} "
        f"{held_out_words(result)}{others}"
    )
    return folded(
        f"{entry['cell']}: {entry['setting']}",
        table(caption, METHODS, method_rows(entry)),
        table("Our trainings, with 95% intervals over tasks", TRAININGS, training_rows(entry)),
        settings_table("Our experiment; the seeds differ in nothing else", entry["experiment"]),
    )
