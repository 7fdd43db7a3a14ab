"""The report of one run: what it found, shown, and how to repeat it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.comparison import compare_page
from quickstudy.reporting.document import alarm, document, folded, section
from quickstudy.reporting.episodes import episodes_section
from quickstudy.reporting.estimates import count, number
from quickstudy.reporting.figures import (
    adaptation_figure,
    diagnostics_figure,
    learning_figure,
    totals_figure,
    trials_section,
)
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.summary import RunSummary
from quickstudy.reporting.tables import episodes_table, flattened, learning_table, settings_table, totals_table

__all__ = ["compare_page", "report_page"]


def report_page(summary: RunSummary) -> str:
    """The whole report as one HTML document, without scripts and without any address outside itself."""
    title = f"{summary.agent} on {summary.env}"
    lead, grounds = summary.finding
    failed = summary.learned is False
    return document(
        f"{lead}: {title}" if failed else title,
        alarm(f"{lead}.", grounds) if failed else None,
        element("header", *_head(summary, title)),
        tiles(summary),
        _evaluation(summary),
        section(
            "Training", element("div", learning_figure(summary), diagnostics_figure(summary), class_="pair")
        ),
        episodes_section(summary),
        section("Trials, step by step", trials_section(summary)),
        _numbers(summary),
        _repeat(summary),
    )


def _head(summary: RunSummary, title: str) -> list[Markup]:
    lines = [element("h1", title)]
    if summary.learned:
        lead, grounds = summary.finding
        lines.append(element("p", element("strong", f"{lead}."), " ", grounds, class_="verdict"))
    if summary.evaluation is None:
        lines.append(_not_evaluated(summary))
    return [*lines, element("p", trained(summary), class_="trained")]


def _not_evaluated(summary: RunSummary) -> Markup:
    return alarm(
        "Not evaluated yet.",
        "The adaptation curve, the references, the gain and the distance to the optimum are missing. "
        "Get them with ",
        element("code", "quickstudy evaluate DIR --save"),
        f", where DIR is the directory of this run, {summary.name}; that writes the report again.",
    )


def trained(summary: RunSummary) -> str:
    """What was trained, in one sentence."""
    experiment = summary.experiment
    outer = f"meta-trained with {summary.outer}" if summary.outer else "not meta-trained,"
    words = f"Run {summary.name}: {summary.agent} {outer} on {_named(summary.env, experiment.get('env'))}"
    updates, tasks = experiment.get("num_updates"), experiment.get("num_tasks")
    if summary.outer and updates is not None and tasks is not None:
        words += f"; {_amount(updates, 'update')} of {_amount(tasks, 'task')}"
    words += trial_words(experiment.get("trial"))
    seed = experiment.get("seed")
    return words + (f"; seed {seed}." if seed is not None else ".")


def trial_words(trial: Any) -> str:
    """The shape of a trial in words."""
    if not isinstance(trial, Mapping):
        return ""
    adapts, streams, episodes = (trial.get(name) for name in ("num_adapts", "num_streams", "num_episodes"))
    words = f"; a trial is {_amount(episodes, 'episode')}"
    if streams not in (1, None):
        words += f" in each of {streams} streams"
    return words + (f", with {_amount(adapts, 'adaptation')}" if adapts else "")


def _amount(size: Any, noun: str) -> str:
    shown = f"{size:,}" if isinstance(size, int) else size
    return f"{shown} {noun}{'' if size == 1 else 's'}"


def _named(name: str, stored: Any) -> str:
    """A name with its settings in brackets, where they are few enough to read."""
    settings = [pair for pair in flattened(stored) if pair[0] != "type"] if isinstance(stored, Mapping) else []
    if not 0 < len(settings) <= 3:
        return name
    return f"{name} ({', '.join(f'{key} {value}' for key, value in settings)})"


def tiles(summary: RunSummary) -> Markup:
    """The headline figures."""
    return element("dl", *_evaluation_tiles(summary), *_training_tiles(summary), class_="tiles")


def _evaluation_tiles(summary: RunSummary) -> list[Markup]:
    if summary.evaluation is None:
        return []
    total, gain, gap = (summary.estimate(name) for name in ("total", "gain", "optimum_gap_percent"))
    shown = [_tile("Total return of a trial", total.text(), _interval(total.bounds()))]
    single = "one episode: nothing to compare" if len(summary.episodes) == 1 else "not known"
    includes = ", which includes 0" if gain.low <= 0 <= gain.high else ""
    note = _interval(gain.bounds()) + includes if gain.known else single
    shown.append(_tile("Gain, last minus first episode", gain.text(signed=True), note))
    exact = any(reference.get("exact") for reference in summary.references.values())
    unknown = "not known" if exact else "no exact optimum is known here"
    note = _interval(gap.bounds()) if gap.known else unknown
    shown.append(_tile("Distance to the optimum", f"{gap.text()}%" if gap.known else gap.text(), note))
    for name, title in (("success", "Success at any time"), ("success_at_end", "Success at the end")):
        success = summary.estimate(name).scaled(100)
        if success.known:
            shown.append(_tile(title, f"{success.text()}%", _interval(success.bounds())))
    return shown


def _interval(bounds: str) -> str:
    return f"95% {bounds}" if bounds else "no interval"


def _training_tiles(summary: RunSummary) -> list[Markup]:
    rate = summary.steps_per_second
    note = f"at {count(rate)} steps/s" if math.isfinite(rate) else "speed not recorded"
    seconds = [value for value in summary.column("seconds") if math.isfinite(value)]
    note += f", {duration(seconds[-1])}" if seconds else ""
    return [_tile("Environment steps", count(summary.env_steps), note)]


def duration(seconds: float) -> str:
    """A length of time in the unit that fits."""
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= 1.5 * size:
            return f"{number(seconds / size, 1)}\N{NO-BREAK SPACE}{unit}"
    return f"{number(seconds, 0)}\N{NO-BREAK SPACE}s"


def _tile(name: str, value: str, note: str) -> Markup:
    return element(
        "div",
        element("dt", name),
        element("dd", value, class_="big"),
        element("dd", note, class_="note") if note else None,
    )


def _evaluation(summary: RunSummary) -> Markup | None:
    if summary.evaluation is None:
        return None
    figures = element("div", adaptation_figure(summary), totals_figure(summary), class_="pair")
    return section("What it learned to learn", figures)


def _numbers(summary: RunSummary) -> Markup | None:
    evaluated = summary.evaluation is not None
    return section(
        "The numbers",
        element("div", totals_table(summary), class_="card") if evaluated else None,
        folded("Return of each episode", episodes_table(summary)) if evaluated else None,
        folded("Evaluations during training", learning_table(summary))
        if summary.column("eval_return")
        else None,
    )


def _repeat(summary: RunSummary) -> Markup | None:
    protocol = (summary.evaluation or {}).get("protocol")
    # Lines may break between words only: a break within `--seed` would read as another option.
    words = [element("span", part) if part.strip() else part for part in re.split(r"(\s+)", summary.command)]
    command = element("pre", element("code", *words)) if summary.command else None
    return section(
        "How to repeat it",
        command
        or element("p", "The command was not recorded; the configuration below says everything it set."),
        folded("The experiment, every setting", settings_table("experiment.json", summary.experiment)),
        folded("The evaluation protocol", settings_table("Protocol", protocol)) if protocol else None,
    )
