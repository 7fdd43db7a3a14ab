"""Runs side by side: one table, one figure for each kind of curve, a warning where they are not comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.charts import Axes, Series, line_chart, segment
from quickstudy.reporting.conditions import Runs, differences, training_differences
from quickstudy.reporting.document import alarm, document, section
from quickstudy.reporting.estimates import Estimate, count, short
from quickstudy.reporting.figures import (
    STEPS,
    averaged,
    episode_series,
    figure,
    interval_words,
    level_lines,
    reference_looks,
    reference_series,
    validation_series,
)
from quickstudy.reporting.intervals import Row, interval_chart
from quickstudy.reporting.markup import Markup, element, joined
from quickstudy.reporting.summary import RunSummary
from quickstudy.reporting.tables import table

NAMED_LIMIT = 5


def compare_page(summaries: list[RunSummary]) -> str:
    """The comparison as one HTML document, without scripts and without any address outside itself."""
    runs = [(key(index), summary) for index, summary in enumerate(summaries)]
    found = differences(runs)
    # Under different conditions another run's references would be lines to nothing.
    shared = {} if found else _shared_references(runs)
    return document(
        f"{len(runs)} runs compared",
        _warning(found),
        element("h1", f"{len(runs)} runs compared"),
        None if found else element("p", _leader(runs), class_="verdict"),
        element("div", runs_table(runs), class_="card"),
        section("What they learned to learn", _evaluated(runs, shared)),
        section("Training", element("div", _learning(runs), class_="pair")),
    )


def key(index: int) -> str:
    """A, B, …, Z, AA, …"""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def look(index: int) -> str:
    """Colour and dashes of a run: twenty pairs before one comes again."""
    return f"run c{index % 5} d{index // 5 % 4}"


def _warning(found: list[str]) -> Markup | None:
    if not found:
        return None
    lines = element("ul", *(element("li", line) for line in found), class_="alarms")
    return alarm("Not comparable.", "These runs were measured under different conditions:", lines)


def _leader(runs: Runs) -> str:
    """Who has the highest total, and whose intervals overlap with its."""
    known = [(name, summary.agent, summary.estimate("total")) for name, summary in runs]
    known = sorted((run for run in known if run[2].known), key=lambda run: -run[2].mean)
    if not known:
        return "None of these runs is evaluated yet: quickstudy evaluate DIR --save adds what is missing."
    name, agent, total = known[0]
    words = f"{name} ({agent}) has the highest total return of a trial: {total.full()}."
    near = [other for other, _, estimate in known[1:] if estimate.high >= total.low]
    others = ", ".join(near) if len(near) <= NAMED_LIMIT else f"{len(near)} others"
    return words + (f" Its interval overlaps that of {others}." if near else "")


def runs_table(runs: Runs) -> Markup:
    """Every run's headline figures; the first column is the key to the figures."""
    head = ["run", "agent, outer loop", "environment", "verdict"]
    head += ["total return", "gain", "gap to optimum, %", "environment steps", "steps/s"]
    rows = [_run_row(index, name, summary) for index, (name, summary) in enumerate(runs)]
    return table("The runs, with 95% intervals", head, rows, texts=4)


def _run_row(index: int, name: str, summary: RunSummary) -> list[Any]:
    total, gain, gap = (summary.estimate(part) for part in ("total", "gain", "optimum_gap_percent"))
    verdict = summary.finding[0] if summary.evaluation is not None else "Not evaluated"
    return [
        joined(_swatch(index), f"{name} ", element("code", summary.name, class_="run")),
        f"{summary.agent}, {summary.outer}" if summary.outer else summary.agent,
        summary.env,
        verdict,
        _stacked(total.text(), total),
        _stacked(gain.text(signed=True), gain),
        _stacked(gap.text(), gap),
        count(summary.env_steps),
        count(summary.steps_per_second),
    ]


def _stacked(mean: str, estimate: Estimate) -> Markup:
    """A mean with its interval below it."""
    return joined(mean, element("div", estimate.bounds(), class_="note") if estimate.known else None)


def _swatch(index: int) -> Markup:
    line = segment(0, 5, 30, 5, f"curve {look(index)}")
    return element("svg", line, class_="key", viewBox="0 0 30 10", aria_hidden="true")


def _shared_references(runs: Runs) -> dict[str, dict[str, Any]]:
    """All references by name, as the first run that has them tells them."""
    shared: dict[str, dict[str, Any]] = {}
    for _, summary in runs:
        for name, reference in summary.references.items():
            shared.setdefault(name, reference)
    return shared


def _label(name: str, summary: RunSummary) -> str:
    return f"{name} {summary.agent}"


def _evaluated(runs: Runs, shared: Mapping[str, Mapping[str, Any]]) -> Markup:
    return element("div", _adaptation(runs, shared), _totals(runs, shared), class_="pair")


def _words(runs: Runs) -> str:
    """What the intervals are, where all runs agree on it."""
    told = {interval_words(summary.evaluation) for _, summary in runs if summary.evaluation is not None}
    return (
        told.pop()
        if len(told) == 1
        else "Intervals are 95%, from a bootstrap over each run's own held-out tasks."
    )


def _adaptation(runs: Runs, shared: Mapping[str, Mapping[str, Any]]) -> Markup:
    series = [
        episode_series(_label(name, summary), summary.episodes, look(index), dots=True)
        for index, (name, summary) in enumerate(runs)
        if summary.episodes
    ]
    drawing = line_chart(
        f"Return of each episode of a trial, {len(series)} runs",
        "; ".join(f"{line.label}: from {short(line.y[0])} to {short(line.y[-1])}" for line in series),
        [*series, *reference_series(shared, quiet=True)],
        Axes("episode of the trial", "mean return of the episode", whole_x=True),
    )
    return figure(
        "adaptation",
        drawing,
        element("strong", "Adaptation. "),
        "Mean return of each episode in one trial with a new task. ",
        _words(runs),
        otherwise="No run is evaluated yet.",
    )


def _totals(runs: Runs, shared: Mapping[str, Mapping[str, Any]]) -> Markup:
    rows = [
        Row(_label(name, summary), summary.estimate("total"), look(index))
        for index, (name, summary) in enumerate(runs)
    ]
    looks = reference_looks(shared, quiet=True)
    rows += [
        Row(name, Estimate.read(reference), looks[name], bool(reference.get("exact")))
        for name, reference in shared.items()
    ]
    drawing = interval_chart(
        f"Total return of a trial, {len(runs)} runs",
        "; ".join(f"{row.label}: {row.estimate.full()}" for row in rows),
        rows,
        "total return of a trial (undiscounted)",
    )
    return figure(
        "totals",
        drawing,
        element("strong", "Whole trial. "),
        "Mean total return of a trial. ",
        _words(runs),
        otherwise="No run is evaluated yet.",
    )


def _learning(runs: Runs) -> Markup:
    series = [_learning_series(index, name, summary) for index, (name, summary) in enumerate(runs)]
    found = training_differences(runs)
    shared = {} if found else {line.label: line for _, run in runs for line in level_lines(run)}
    apart = f" Not comparable: {'; '.join(found)}." if found else ""
    drawing = line_chart(
        f"Return over {STEPS}, {len(runs)} runs",
        "; ".join(f"{line.label}: {short(line.y[-1])} at {count(line.x[-1])}" for line in series if line.y),
        series,
        Axes(STEPS, "mean total return of a trial"),
        list(shared.values()),
    )
    return figure(
        "learning",
        drawing,
        element("strong", "Learning. "),
        "Mean total return of a trial on held-out validation tasks, with a 95% band where one was measured; "
        "on training tasks for a run that was not validated.",
        apart,
        otherwise="No run has finished an update yet.",
    )


def _learning_series(index: int, name: str, summary: RunSummary) -> Series:
    validation = validation_series(summary, _label(name, summary), look(index))
    if validation.x:
        return validation
    x, y, _ = averaged(summary.column("env_steps"), summary.column("return"))
    return Series(_label(name, summary), x, y, look(index))
