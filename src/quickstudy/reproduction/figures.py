"""The figures of a reproduced table: every cell's rows, and the bars of the two-step signature."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.axes import Axis, tick_texts
from quickstudy.reporting.charts import WIDTH, segment, svg, text
from quickstudy.reporting.estimates import Estimate, number
from quickstudy.reporting.figures import figure
from quickstudy.reporting.intervals import Row, interval_chart
from quickstudy.reporting.markup import Markup, element, joined
from quickstudy.reproduction.rows import (
    LIMIT_DIGITS,
    PUBLISHED_PLACES,
    limit_words,
    plain,
    seeds_words,
    share_words,
)
from quickstudy.reproduction.signature import EFFECTS, KINDS

BARS_HEIGHT = 250.0
BAR_WIDTH = 62.0
PROBABILITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def cell_figure(entry: Mapping[str, Any]) -> Markup:
    """Our seeds and their mean, the published rows, the limit; the best on top."""
    limit, ours = entry["limit"], entry["ours"]
    rows = [Row(f"seed {run['seed']}", Estimate.read(run["total"]), "c0") for run in entry["runs"]]
    if ours["num_seeds"] > 1:
        rows.append(Row("ours, mean", Estimate.read(ours), "agent"))
    rows += [Row(name, _published(entry, name), "quiet") for name in entry["published"] if name != "random"]
    low, high = limit["low"], limit["high"]
    bound = _Limit(low, low, low if high is None else high)
    rows.append(Row("limit" if limit["exact"] else "limit, from", bound, "exact", limit["exact"]))
    drawing = interval_chart(
        f"{entry['cell']}: our seeds beside the published rows and the limit",
        "; ".join(f"{row.label}: {row.estimate.full()}" for row in rows),
        rows,
        "total return of a trial (undiscounted)",
    )
    random = entry["published"].get("random")
    return figure(
        f"cell-{entry['cell']}",
        drawing,
        element("strong", f"{entry['cell']}. "),
        f"{entry['setting']}. Blue: our {seeds_words(ours['num_seeds'])}, with 95% intervals over tasks",
        ", and their mean with one over seeds" if ours["num_seeds"] > 1 else "",
        ". Grey: published means. " if entry["published"] else ". No mean was published. ",
        f"Limit: {limit_words(limit)}.",
        "" if random is None else f" A random agent, {number(random, 1)}, is left out.",
    )


class _Published(Estimate):
    """Known to as many places as were printed."""

    def text(self, signed: bool = False) -> str:
        return number(self.mean, PUBLISHED_PLACES, signed)


class _Limit(Estimate):
    """Known to all places that are stated."""

    def text(self, signed: bool = False) -> str:
        return plain(self.mean, LIMIT_DIGITS)


def _published(entry: Mapping[str, Any], name: str) -> Estimate:
    mean, margin = entry["published"][name], entry["published_margins"].get(name, math.nan)
    return _Published(mean, mean - margin, mean + margin)


def signature_figure(who: str, told: Mapping[str, Any]) -> Markup:
    """Four bars: rewarded and not, each after a common and a rare transition."""
    estimates = [Estimate.read(told[name]) for name in KINDS]
    effects = "; ".join(f"{name} {share_words(told[name])}" for name in EFFECTS)
    return figure(
        f"signature-{who}",
        _bars(who, estimates) if any(estimate.known for estimate in estimates) else None,
        element("strong", f"{who}. "),
        f"How often the next choice is the same; {effects}.",
    )


def _bars(who: str, estimates: list[Estimate]) -> Markup:
    y = Axis(0.0, 1.0, start=BARS_HEIGHT - 46, end=28)
    x = Axis(0.0, 4.0, start=58, end=WIDTH - 10)
    shares = tick_texts(PROBABILITIES)
    return svg(
        f"{who}: probability to stay with the last choice",
        "; ".join(f"{name}: {estimate.full()}" for name, estimate in zip(KINDS, estimates, strict=True)),
        BARS_HEIGHT,
        *(segment(x.start, y(value), x.end, y(value), "grid") for value in PROBABILITIES),
        *(
            text(x.start - 7, y(value) + 4, share, "tick", "end")
            for value, share in zip(PROBABILITIES, shares, strict=True)
        ),
        text(2, 14, "probability to stay", "axis"),
        *(
            _bar(x(index + 0.5), y, name, estimate)
            for index, (name, estimate) in enumerate(zip(KINDS, estimates, strict=True))
        ),
        text(x(1.0), BARS_HEIGHT - 8, "rewarded", "name", "middle"),
        text(x(3.0), BARS_HEIGHT - 8, "not rewarded", "name", "middle"),
    )


def _bar(x: float, y: Axis, name: str, estimate: Estimate) -> Markup:
    transition = name.rpartition(" ")[2]
    label = text(x, y.start + 18, transition, "tick", "middle")
    if not estimate.known:
        return label
    look = "c0" if transition == "common" else "c1"
    top = y(estimate.mean)
    return joined(
        element(
            "rect",
            element("title", f"{name}: {estimate.full()}"),
            x=x - BAR_WIDTH / 2,
            y=top,
            width=BAR_WIDTH,
            height=max(y.start - top, 0.5),
            class_=f"marker {look}",
        ),
        segment(x, y(estimate.low), x, y(estimate.high), "whisker exact") if estimate.bounded else None,
        label,
    )
