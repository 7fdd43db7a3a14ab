"""The runs of a comparison one by one: their table, and one line or row for each in the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from quickstudy.reporting.charts import Axes, Series, line_chart
from quickstudy.reporting.conditions import Runs, training_differences
from quickstudy.reporting.document import section
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
from quickstudy.reporting.methods_section import swatch
from quickstudy.reporting.summary import RunSummary
from quickstudy.reporting.tables import table


class Shown(NamedTuple):
    """A run as the figures show it."""

    key: str
    summary: RunSummary
    look: str


def run_figures(runs: Sequence[Shown], shared: Mapping[str, Mapping[str, Any]]) -> list[Markup | None]:
    return [
        section("What they learned to learn", _evaluated(runs, shared)),
        section("Training", element("div", _learning(runs), class_="pair")),
    ]


def keyed(runs: Sequence[Shown]) -> Runs:
    return [(run.key, run.summary) for run in runs]


def runs_table(runs: Sequence[Shown]) -> Markup:
    """Every run's headline figures; the first column is the key to the figures."""
    head = ["run", "agent, outer loop", "environment", "verdict"]
    head += ["total return", "gain", "gap to optimum, %", "environment steps", "steps/s"]
    rows = [_run_row(run) for run in runs]
    return table("The runs, with 95% intervals", head, rows, texts=4)


def _run_row(run: Shown) -> list[Any]:
    summary = run.summary
    total, gain, gap = (summary.estimate(part) for part in ("total", "gain", "optimum_gap_percent"))
    verdict = summary.finding[0] if summary.evaluation is not None else "Not evaluated"
    return [
        joined(swatch(run.look), f"{run.key} ", element("code", summary.name, class_="run")),
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


def _label(run: Shown) -> str:
    return f"{run.key} {run.summary.agent}"


def _evaluated(runs: Sequence[Shown], shared: Mapping[str, Mapping[str, Any]]) -> Markup:
    return element("div", _adaptation(runs, shared), _totals(runs, shared), class_="pair")


def _words(runs: Sequence[Shown]) -> str:
    """What the intervals are, where all runs agree on it."""
    told = {interval_words(run.summary.evaluation) for run in runs if run.summary.evaluation is not None}
    return (
        told.pop()
        if len(told) == 1
        else "Intervals are 95%, from a bootstrap over each run's own held-out tasks."
    )


def _adaptation(runs: Sequence[Shown], shared: Mapping[str, Mapping[str, Any]]) -> Markup:
    series = [
        episode_series(_label(run), run.summary.episodes, run.look, dots=True)
        for run in runs
        if run.summary.episodes
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


def _totals(runs: Sequence[Shown], shared: Mapping[str, Mapping[str, Any]]) -> Markup:
    rows = [Row(_label(run), run.summary.estimate("total"), run.look) for run in runs]
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


def _learning(runs: Sequence[Shown]) -> Markup:
    series = [_learning_series(run) for run in runs]
    found = training_differences(keyed(runs))
    shared = {} if found else {line.label: line for run in runs for line in level_lines(run.summary)}
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


def _learning_series(run: Shown) -> Series:
    validation = validation_series(run.summary, _label(run), run.look)
    if validation.x:
        return validation
    x, y, _ = averaged(run.summary.column("env_steps"), run.summary.column("return"))
    return Series(_label(run), x, y, run.look)
