"""Runs or methods side by side on one page, with a warning where they are not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from quickstudy.reporting.conditions import differences, training_differences
from quickstudy.reporting.document import alarm, document, folded, section
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.methods import FEWEST_SEEDS, Method, key, keyed_runs, seed_methods
from quickstudy.reporting.methods_section import methods_sections
from quickstudy.reporting.runs_section import Shown, keyed, run_figures, runs_table
from quickstudy.reporting.summary import RunSummary

NAMED_LIMIT = 5
DRAWN_LIMIT = 20
"""More runs than this are not drawn one by one beside their methods."""


def compare_page(summaries: list[RunSummary]) -> str:
    """The comparison as one HTML document, without scripts and without any address outside itself.

    Runs that are seeds of one method are told as methods first, and one by one below.
    """
    methods = seed_methods(summaries)
    return _methods_page(methods) if methods else _runs_page(summaries)


def look(index: int) -> str:
    """Colour and dashes of a run or method: twenty pairs before one comes again."""
    return f"run c{index % 5} d{index // 5 % 4}"


def _runs_page(summaries: list[RunSummary]) -> str:
    runs = [Shown(key(index), summary, look(index)) for index, summary in enumerate(summaries)]
    found = differences(keyed(runs))
    # Under different conditions another run's references would be lines to nothing.
    shared = {} if found else _shared_references(summaries)
    return document(
        f"{len(runs)} runs compared",
        _warning(found),
        element("h1", f"{len(runs)} runs compared"),
        None if found else element("p", _leader(runs), class_="verdict"),
        element("div", runs_table(runs), class_="card"),
        *run_figures(runs, shared),
    )


def _methods_page(methods: Sequence[Method]) -> str:
    looks = {method.key: look(index) for index, method in enumerate(methods)}
    runs = keyed_runs(methods)
    found = differences(runs)
    shared = {} if found else _shared_references([run for _, run in runs])
    title = (
        f"{len(methods)} methods compared" if len(methods) > 1 else f"Seeds of one method: {methods[0].name}"
    )
    return document(
        title,
        _warning(found),
        element("h1", title),
        None if found else element("p", _leading_method(methods), class_="verdict"),
        *methods_sections(methods, looks, shared, training_differences(runs)),
        *_single_runs(_seeds(methods, looks), shared),
    )


def _seeds(methods: Sequence[Method], looks: Mapping[str, str]) -> list[Shown]:
    """Every run under its method's key and number, with its method's look."""
    return [
        Shown(f"{method.key}{number}", run, looks[method.key])
        for method in methods
        for number, run in enumerate([*method.runs, *method.repeated], 1)
    ]


def _single_runs(runs: Sequence[Shown], shared: Mapping[str, Mapping[str, Any]]) -> list[Markup | None]:
    drawn = len(runs) <= DRAWN_LIMIT
    said = (
        "A1, A2, … are the seeds of method A."
        if drawn
        else f"{len(runs)} runs are too many to draw one by one; quickstudy report DIR writes a page of one."
    )
    listed = folded(f"All {len(runs)} runs", runs_table(runs))
    return [section("Single runs", element("p", said), listed), *(run_figures(runs, shared) if drawn else [])]


def _warning(found: list[str]) -> Markup | None:
    if not found:
        return None
    lines = element("ul", *(element("li", line) for line in found), class_="alarms")
    return alarm("Not comparable.", "These runs were measured under different conditions:", lines)


def _leader(runs: Sequence[Shown]) -> str:
    """Who has the highest total, and whose intervals overlap with its."""
    known = [(run.key, run.summary.agent, run.summary.estimate("total")) for run in runs]
    known = sorted((run for run in known if run[2].known), key=lambda run: -run[2].mean)
    if not known:
        return "None of these runs is evaluated yet: quickstudy evaluate DIR --save adds what is missing."
    name, agent, total = known[0]
    words = f"{name} ({agent}) has the highest total return of a trial: {total.full()}."
    near = [other for other, _, estimate in known[1:] if estimate.high >= total.low]
    return words + (f" Its interval overlaps that of {_few(near)}." if near else "")


def _leading_method(methods: Sequence[Method]) -> str:
    """The same of methods, which are sorted by their totals; only what has an interval can overlap."""
    known = [method for method in methods if method.total.known]
    if not known:
        return "None of these methods is evaluated yet: quickstudy evaluate DIR --save adds what is missing."
    best = known[0]
    highest = " has the highest" if len(known) > 1 else ","
    words = f"{best.key} ({best.name}){highest} total return of a trial: "
    if len(best.evaluated) < FEWEST_SEEDS:
        return f"{words}{best.total.text()}, over fewer than {FEWEST_SEEDS} seeds."
    near = [
        method.key
        for method in known[1:]
        if len(method.evaluated) >= FEWEST_SEEDS and method.total.high >= best.total.low
    ]
    words += f"{best.total.full()} over {len(best.evaluated)} seeds."
    return words + (f" Its interval overlaps that of {_few(near)}." if near else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= NAMED_LIMIT else f"{len(names)} others"


def _shared_references(summaries: Sequence[RunSummary]) -> dict[str, dict[str, Any]]:
    """All references by name, as the first run that has them tells them."""
    shared: dict[str, dict[str, Any]] = {}
    for summary in summaries:
        for name, reference in summary.references.items():
            shared.setdefault(name, reference)
    return shared
