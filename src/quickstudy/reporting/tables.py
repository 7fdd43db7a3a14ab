"""Tables: the numbers behind the figures, and configurations laid out row by row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quickstudy.reporting.axes import thinned
from quickstudy.reporting.estimates import MISSING, Estimate, count, finite, number
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.summary import RunSummary, listed

ROW_LIMIT = 60
"""Longer tables show this many rows, evenly chosen, and say so."""


def table(caption: str, head: Sequence[Any], rows: Iterable[Sequence[Any]], texts: int = 1) -> Markup:
    """A table that scrolls by itself where it is wider than the page; the first `texts` columns are words."""

    def cells(tag: str, row: Sequence[Any]) -> Iterator[Markup]:
        for index, cell in enumerate(row):
            kind = "th" if tag == "td" and index == 0 else tag
            scope = {"th": "col" if tag == "th" else "row"}.get(kind)
            yield element(kind, cell, scope=scope, class_="numeric" if index >= texts else None)

    content = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *cells("th", head))),
        element("tbody", *(element("tr", *cells("td", row)) for row in rows)),
    )
    # Focusable, so that a keyboard can scroll it.
    return element("div", content, class_="scroll", role="region", aria_label=caption, tabindex=0)


def totals_table(summary: RunSummary) -> Markup:
    """The agent and every reference: total return with its interval."""
    total = summary.estimate("total")
    rows = [[summary.agent, total.text(), total.bounds() or MISSING]]
    for name, reference in summary.references.items():
        estimate = Estimate.read(reference)
        interval = "exact" if reference.get("exact") else estimate.bounds() or MISSING
        rows.append([name, estimate.text(), interval])
    return table("Total return of a trial", ["who", "mean", "95% interval"], rows)


def episodes_table(summary: RunSummary) -> Markup:
    """The adaptation curve in numbers, beside the references that have one."""
    references = {name: listed(value, "episodes") for name, value in summary.references.items()}
    references = {name: episodes for name, episodes in references.items() if episodes}
    own, episodes = listed(summary.evaluation, "episodes"), summary.episodes
    kept = thinned(len(episodes), ROW_LIMIT)

    def row(index: int) -> list[str]:
        stored = own[index] if isinstance(own[index], dict) else {}
        others = [Estimate.read(e[index] if index < len(e) else None) for e in references.values()]
        iqm = episodes[index].beside(finite(stored.get("iqm")))
        return [str(index + 1), episodes[index].full(), iqm, *(other.full() for other in others)]

    left_out = "" if len(kept) == len(episodes) else f", {len(kept)} of {len(episodes)} episodes"
    head = ["episode", f"{summary.agent}: mean", "interquartile mean", *references]
    return table(f"Return of each episode, with 95% intervals{left_out}", head, map(row, kept))


def learning_table(summary: RunSummary) -> Markup:
    """The evaluations during training."""
    names = ("update", "env_steps", "seconds", "eval_return", "eval_low", "eval_high")
    columns = [summary.column(name) for name in names]
    length = len(columns[3])
    columns = [column or [math.nan] * length for column in columns]
    measured = [row for row in zip(*columns, strict=True) if math.isfinite(row[3])]
    kept = [measured[index] for index in thinned(len(measured), ROW_LIMIT)]
    left_out = "" if len(kept) == len(measured) else f", {len(kept)} of {len(measured)}"
    return table(
        f"Evaluations on held-out validation tasks during training{left_out}",
        ["update", "environment steps", "seconds", "mean total return", "95% interval"],
        (
            [number(update, 0), count(steps), number(seconds, 0), estimate.text(), estimate.bounds() or MISSING]
            for update, steps, seconds, *rest in kept
            for estimate in [Estimate(*rest)]
        ),
    )


def flattened(stored: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as dotted names, in their stored order."""
    for name, value in stored.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def settings_table(caption: str, stored: Mapping[str, Any]) -> Markup:
    """A nested configuration, one row a value."""
    rows = [
        element("tr", element("th", element("code", name), scope="row"), element("td", setting(value)))
        for name, value in flattened(stored)
    ]
    content = element("table", element("caption", caption), element("tbody", *rows), class_="settings")
    return element("div", content, class_="scroll", role="region", aria_label=caption, tabindex=0)


def setting(value: Any) -> str:
    """A stored value as a person writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping) and not value:
        return "default"
    if isinstance(value, list | tuple):
        return ", ".join(setting(entry) for entry in value) or "none"
    return str(value)
