"""The methods of a comparison on a page: their table, and one line or row for each in the figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from quickstudy.reporting.charts import Axes, Series, line_chart, segment
from quickstudy.reporting.document import alarm, folded, section
from quickstudy.reporting.estimates import MISSING, Estimate, count, short
from quickstudy.reporting.figures import (
    STEPS,
    episode_series,
    figure,
    level_lines,
    reference_looks,
    reference_series,
)
from quickstudy.reporting.intervals import Row, interval_chart
from quickstudy.reporting.markup import Markup, element, joined
from quickstudy.reporting.method_words import (
    interval_meaning,
    repetitions,
    seeds_text,
    steps_text,
    unequal_steps,
)
from quickstudy.reporting.methods import FEWEST_SEEDS, Method, differing_settings
from quickstudy.reporting.tables import setting, table

References = Mapping[str, Mapping[str, Any]]
Looks = Mapping[str, str]
"""Classes of each method's line, by its key."""
OVER = "Mean over seeds of each seed's mean over its held-out tasks"


def methods_sections(
    methods: Sequence[Method], looks: Looks, references: References, apart: Sequence[str]
) -> list[Markup | None]:
    """`apart` says why the learning curves cannot be compared; nothing where they can."""
    unequal, repeated = unequal_steps(methods), repetitions(methods)
    lead, _, steps = unequal.partition(": ")
    meaning = "A method is all runs that are equal except for their seed. " + interval_meaning(methods)
    told = (_adaptation(methods, looks, references), _totals(methods, looks, references))
    return [
        section(
            "Methods",
            alarm(f"{lead}:", steps) if unequal else None,
            element("p", meaning),
            element("p", repeated) if repeated else None,
            element("div", methods_table(methods, looks), class_="card"),
            _settings(methods),
        ),
        section("What the methods learned to learn", element("div", *told, class_="pair")),
        section("Training of the methods", element("div", _learning(methods, looks, apart), class_="pair")),
    ]


def methods_table(methods: Sequence[Method], looks: Looks) -> Markup:
    """Every method's headline figures; the first column is the key to the figures."""
    head = ["method", "seeds", "total return", "over seeds", "first episode", "last episode"]
    head += ["environment steps", "seconds of training"]
    rows = [_method_row(method, looks[method.key]) for method in methods]
    return table("The methods, the highest total return first; means over seeds", head, rows)


def _method_row(method: Method, look: str) -> list[Any]:
    episodes = method.episodes or [Estimate.read(None)]
    return [
        joined(swatch(look), f"{method.key} {method.name}"),
        seeds_text(method),
        method.total.text(),
        _over_seeds(method),
        episodes[0].text(),
        episodes[-1].text(),
        steps_text(method),
        count(method.seconds),
    ]


def _over_seeds(method: Method) -> str:
    """The interval, or what is told of too few seeds for one."""
    if len(method.evaluated) >= FEWEST_SEEDS:
        return method.total.bounds() or MISSING
    if not method.total.bounded:
        return "one seed" if method.evaluated else "not evaluated"
    return f"{method.total.bounds().strip('[]').replace(', ', ' … ')}, two seeds"


def swatch(look: str) -> Markup:
    """A piece of a line, as its figures draw it."""
    line = segment(0, 5, 30, 5, f"curve {look}")
    return element("svg", line, class_="key", viewBox="0 0 30 10", aria_hidden="true")


def labels(methods: Sequence[Method]) -> dict[str, str]:
    """A few letters for each method: the outer loop only where its agent comes with several."""
    loops = Counter(agent for agent, _ in {(method.agent, method.title) for method in methods})
    return {
        method.key: f"{method.key} {method.title if loops[method.agent] > 1 else method.agent}"
        for method in methods
    }


def _adaptation(methods: Sequence[Method], looks: Looks, references: References) -> Markup:
    names = labels(methods)
    series = [
        episode_series(names[method.key], episodes, looks[method.key], dots=True)
        for method in methods
        if (episodes := method.episodes)
    ]
    drawing = line_chart(
        f"Return of each episode of a trial, {len(series)} methods",
        "; ".join(f"{line.label}: from {short(line.y[0])} to {short(line.y[-1])}" for line in series),
        [*series, *reference_series(references, quiet=True)],
        Axes("episode of the trial", "mean return of the episode", whole_x=True),
    )
    return figure(
        "methods-adaptation",
        drawing,
        element("strong", "Adaptation. "),
        "Mean return of each successive episode in one trial with a new task. ",
        f"{OVER}, with bands over seeds.",
        otherwise="No method is evaluated yet.",
    )


def _totals(methods: Sequence[Method], looks: Looks, references: References) -> Markup:
    names, plain = labels(methods), reference_looks(references, quiet=True)
    rows = [Row(names[method.key], method.total, looks[method.key]) for method in methods]
    rows += [
        Row(name, Estimate.read(reference), plain[name], bool(reference.get("exact")))
        for name, reference in references.items()
    ]
    drawing = interval_chart(
        f"Total return of a trial, {len(methods)} methods",
        "; ".join(f"{row.label}: {row.estimate.full()}" for row in rows),
        rows,
        "total return of a trial (undiscounted)",
    )
    return figure(
        "methods-totals",
        drawing,
        element("strong", "Whole trial. "),
        f"Mean total return of a trial. {OVER}, with bars over seeds",
        "; a reference's bar is over tasks." if references else ".",
        otherwise="No method is evaluated yet.",
    )


def _learning(methods: Sequence[Method], looks: Looks, apart: Sequence[str]) -> Markup:
    names = labels(methods)
    series = [_learning_series(names[method.key], method, looks[method.key]) for method in methods]
    levels = {line.label: line for method in methods for run in method.runs for line in level_lines(run)}
    drawing = line_chart(
        f"Return over {STEPS}, {len(methods)} methods",
        "; ".join(f"{line.label}: {short(line.y[-1])} at {count(line.x[-1])}" for line in series if line.y),
        series,
        Axes(STEPS, "mean total return of a trial"),
        [] if apart else list(levels.values()),
    )
    return figure(
        "methods-learning",
        drawing,
        element("strong", "Learning. "),
        "Mean total return of a trial on held-out validation tasks, on training tasks for a method that was "
        "not validated. Mean over seeds with bands over seeds, where all seeds of a method were measured.",
        f" Not comparable: {'; '.join(apart)}." if apart else "",
        otherwise="No run has finished an update yet.",
    )


def _learning_series(label: str, method: Method, look: str) -> Series:
    x, estimates = method.learning
    mean, low, high = ([estimate[part] for estimate in estimates] for part in range(3))
    return Series(label, x, mean, look, low, high, dots=True)


def _settings(methods: Sequence[Method]) -> Markup | None:
    """All settings in which methods of one agent and outer loop differ; their names tell only a few."""
    ordered = sorted(methods, key=lambda method: method.title)
    tables = [_settings_table(title, list(group)) for title, group in groupby(ordered, lambda m: m.title)]
    drawn = [drawing for drawing in tables if drawing is not None]
    return folded("Settings in which methods of one agent and outer loop differ", *drawn) if drawn else None


def _settings_table(title: str, methods: Sequence[Method]) -> Markup | None:
    names = differing_settings(methods)
    if not names:
        return None
    methods = sorted(methods, key=lambda method: (len(method.key), method.key))
    rows = [[element("code", name), *(_setting(method, name) for method in methods)] for name in names]
    return table(title, ["setting", *(method.key for method in methods)], rows)


def _setting(method: Method, name: str) -> str:
    return setting(method.settings[name]) if name in method.settings else MISSING
