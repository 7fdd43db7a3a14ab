"""The figures of a report: which numbers of a run go into which chart, and what its caption says."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from quickstudy.reporting.charts import Axes, Level, Series, line_chart
from quickstudy.reporting.estimates import Estimate, count, short
from quickstudy.reporting.intervals import Row, interval_chart
from quickstudy.reporting.markup import Markup, element, joined
from quickstudy.reporting.summary import RunSummary, listed
from quickstudy.reporting.trials import read_trial, trial_figure

STEPS = "environment steps"
POINT_LIMIT = 250
"""Curves over training with more points than this are averaged in groups."""
TRIAL_LIMIT = 6
MULTIPLE_LIMIT = 4
MULTIPLE_SIZE = (250.0, 150.0)

DIAGNOSTICS = ("entropy", "kl", "value_loss", "grad_norm", "loss", "policy_loss")
"""The outer loop's columns that are drawn first, in this order."""
PROGRESS = {"update", "env_steps", "seconds", "steps_per_second", "skipped"} | {
    "return",
    "eval_return",
    "eval_low",
    "eval_high",
}
"""Columns that tell about the training itself and not about the outer loop."""


def figure(name: str, drawing: Markup | None, *caption: Any, otherwise: str = "Nothing to draw.") -> Markup:
    """A drawing with its caption, or a sentence in its place."""
    content = element("p", otherwise, class_="nothing") if drawing is None else drawing
    return element("figure", content, element("figcaption", *caption), id=name)


def interval_words(evaluation: Mapping[str, Any] | None) -> str:
    tasks = (evaluation or {}).get("num_tasks")
    over = f" {tasks:,} held-out tasks" if isinstance(tasks, int) else " held-out tasks"
    protocol = (evaluation or {}).get("protocol")
    stored = protocol.get("interval") if isinstance(protocol, dict) else None
    return f"Over{over}; intervals: {stored or '95%, bootstrap over tasks'}."


def reference_looks(references: Mapping[str, Mapping[str, Any]], quiet: bool = False) -> dict[str, str]:
    """Classes of each reference's line; `quiet` leaves the colours to something else."""
    looks, plain = {}, 0
    for name, reference in references.items():
        if reference.get("exact") or name == "random":
            looks[name] = "exact" if reference.get("exact") else "random"
        else:
            looks[name] = f"{'quiet' if quiet else f'c{1 + plain % 4}'} d{1 + plain % 3}"
            plain += 1
    return looks


def episode_series(label: str, episodes: Sequence[Estimate], look: str, dots: bool = False) -> Series:
    """An adaptation curve; episodes are counted from 1."""
    return Series(
        label,
        [index + 1.0 for index in range(len(episodes))],
        [episode.mean for episode in episodes],
        look,
        [episode.low for episode in episodes],
        [episode.high for episode in episodes],
        dots,
    )


def reference_series(references: Mapping[str, Mapping[str, Any]], quiet: bool = False) -> list[Series]:
    """The adaptation curves of the references that have one."""
    looks = reference_looks(references, quiet)
    return [
        episode_series(name, [Estimate.read(episode) for episode in episodes], looks[name])
        for name, reference in references.items()
        if (episodes := listed(dict(reference), "episodes"))
    ]


def adaptation_figure(summary: RunSummary) -> Markup:
    episodes, references = summary.episodes, reference_series(summary.references)
    absent = [name for name in summary.references if name not in {line.label for line in references}]
    name = f"Return of each episode of a trial, {summary.agent} beside {len(references)} references"
    drawing = line_chart(
        name,
        "; ".join(f"episode {index}: {episode.full()}" for index, episode in enumerate(episodes[:20], 1)),
        [episode_series(summary.agent, episodes, "agent", dots=True), *references],
        Axes("episode of the trial", "mean return of the episode", whole_x=True),
    )
    alone = "This trial has a single episode, so there is no adaptation to see. " if len(episodes) == 1 else ""
    missing = f" Without a value for each episode, and so not drawn: {', '.join(absent)}." if absent else ""
    return figure(
        "adaptation",
        drawing,
        element("strong", "Adaptation. "),
        f"Mean return of each episode in one trial with a new task. {alone}",
        interval_words(summary.evaluation) + missing,
        otherwise="The evaluation holds no episodes.",
    )


def totals_figure(summary: RunSummary) -> Markup:
    looks = reference_looks(summary.references)
    rows = [Row(summary.agent, summary.estimate("total"), "agent")]
    rows += [
        Row(name, Estimate.read(reference), looks[name], bool(reference.get("exact")))
        for name, reference in summary.references.items()
    ]
    drawing = interval_chart(
        f"Total return of a trial, {summary.agent} beside {len(rows) - 1} references",
        "; ".join(f"{row.label}: {row.estimate.full()}" for row in rows),
        rows,
        "total return of a trial (undiscounted)",
    )
    exact = (
        " The diamond and the dashed line are exact; a simulated mean may lie beyond by chance."
        if any(row.exact for row in rows)
        else ""
    )
    return figure(
        "totals",
        drawing,
        element("strong", "Whole trial. "),
        f"Mean total return of a trial.{exact} ",
        interval_words(summary.evaluation),
        otherwise="The evaluation holds no total.",
    )


def level_lines(summary: RunSummary) -> list[Level]:
    """Random and the exact values, to read a learning curve against."""
    return [
        Level(name, Estimate.read(reference).mean, "exact" if reference.get("exact") else "random")
        for name, reference in summary.references.items()
        if reference.get("exact") or name == "random"
    ]


def averaged(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float], int]:
    """The finite points, averaged in groups of the returned size so that no more than POINT_LIMIT are left."""
    points = [(a, b) for a, b in zip(x, y, strict=False) if math.isfinite(a) and math.isfinite(b)]
    size = max(math.ceil(len(points) / POINT_LIMIT), 1)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    xs = [sum(point[0] for point in group) / len(group) for group in groups]
    ys = [sum(point[1] for point in group) / len(group) for group in groups]
    return xs, ys, size


def validation_series(summary: RunSummary, label: str, look: str) -> Series:
    """Return on held-out tasks over environment steps, at the updates where it was measured."""
    columns = [summary.column(name) for name in ("env_steps", "eval_return", "eval_low", "eval_high")]
    rows = [row for row in zip(*columns, strict=False) if math.isfinite(row[0]) and math.isfinite(row[1])]
    x, y, low, high = ([row[index] for row in rows] for index in range(4))
    return Series(label, x, y, look, low, high, dots=True)


def learning_figure(summary: RunSummary) -> Markup:
    x, y, size = averaged(summary.column("env_steps"), summary.column("return"))
    validation = validation_series(summary, "held-out", "agent")
    drawing = line_chart(
        f"Return over {STEPS}, on training tasks and on held-out tasks",
        f"{len(validation.x)} evaluations over {count(summary.env_steps)} {STEPS}; "
        f"the last on held-out tasks: {short(validation.y[-1]) if validation.y else 'none'}",
        [validation, Series("training", x, y, "practice")],
        Axes(STEPS, "mean total return of a trial"),
        level_lines(summary),
    )
    lost = sum(not math.isfinite(value) for value in summary.column("return"))
    return figure(
        "learning",
        drawing,
        element("strong", "Learning. "),
        "Mean total return of a trial on the tasks of each update (training) and on held-out validation tasks, "
        "with a 95% band where one was measured. ",
        f"Training points are means of {size} rows of metrics.csv. " if size > 1 else "",
        f"In {lost} rows of metrics.csv the return is not a finite number; they are left out." if lost else "",
        otherwise="metrics.csv holds no update yet.",
    )


def diagnostics_figure(summary: RunSummary) -> Markup | None:
    """Small multiples of what the outer loop says about itself; None if it says nothing."""
    others = [name for name in summary.metrics if name not in PROGRESS and name not in DIAGNOSTICS]
    names = [name for name in (*DIAGNOSTICS, *others) if name in summary.metrics]
    steps = summary.column("env_steps")
    drawn = {name: _multiple(name, steps, summary.column(name)) for name in names}
    charts = [drawing for drawing in drawn.values() if drawing is not None][:MULTIPLE_LIMIT]
    if not charts:
        return None
    skipped = next((value for value in reversed(summary.column("skipped")) if math.isfinite(value)), 0)
    return figure(
        "diagnostics",
        element("div", *charts, class_="multiples"),
        element("strong", "Outer loop. "),
        f"What {summary.outer or 'the learner'} says about its own updates, over {STEPS}.",
        f" {skipped:g} updates were not finite and were skipped." if skipped else "",
    )


def _multiple(name: str, steps: Sequence[float], values: Sequence[float]) -> Markup | None:
    x, y, _ = averaged(steps, values)
    if len(x) < 2:
        return None
    ends = f"from {short(y[0])} to {short(y[-1])}"
    series = [Series("", x, y, "agent thin")]
    return line_chart(f"{name} over {STEPS}", ends, series, Axes("", name), size=MULTIPLE_SIZE)


def trials_section(summary: RunSummary) -> Markup | None:
    """The example trials with one key to all of them; None if the evaluation kept none."""
    stored = [example for example in listed(summary.evaluation, "examples") if isinstance(example, dict)]
    trials = [trial for trial in map(read_trial, stored) if trial is not None][:TRIAL_LIMIT]
    if not trials:
        return None
    rows = any(trial.labels for trial in trials)
    best = " The shaded row is the best one." if any(trial.best is not None for trial in trials) else ""
    negative = any(reward < 0 for trial in trials for reward in trial.rewards)
    cross = ", a cross for a reward below 0" if negative else ""
    key = (
        f"Each column is a step, each row an action. A filled dot is a reward (the larger, the more), "
        f"a ring is no reward{cross}.{best}"
        if rows
        else "The reward of each step."
    )
    lines = " Vertical lines part the episodes." if any(trial.boundaries for trial in trials) else ""
    return joined(
        element("p", key, lines),
        element(
            "div",
            *(trial_figure(trial, index) for index, trial in enumerate(trials, 1)),
            class_="pair ragged",
            id="trials",
        ),
    )
