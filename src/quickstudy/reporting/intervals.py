"""Interval charts: one row for each agent or reference, a dot for its mean and a bar for its 95% interval."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from quickstudy.reporting.axes import Axis, span, tick_texts, ticks
from quickstudy.reporting.charts import WIDTH, segment, shortened, svg, text
from quickstudy.reporting.estimates import Estimate
from quickstudy.reporting.markup import Markup, element, joined

NAME_WIDTH = 150
NAME_LETTERS = 14
VALUE_WIDTH = 70
ROWS_HEIGHT = 220.0
MIN_ROW, MAX_ROW = 26.0, 36.0


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of an interval chart; an exact value is drawn as a diamond and as a line through all rows."""

    label: str
    estimate: Estimate
    look: str
    exact: bool = False


def interval_chart(name: str, description: str, rows: Sequence[Row], x_label: str) -> Markup | None:
    """The chart as one `<svg>`, best row on top; None if no row has a finite mean."""
    rows = sorted((row for row in rows if row.estimate.known), key=lambda row: -row.estimate.mean)
    reach = span([value for row in rows for value in row.estimate])
    if reach is None:
        return None
    row_height = min(max(ROWS_HEIGHT / len(rows), MIN_ROW), MAX_ROW)
    bottom = 12 + row_height * len(rows)
    axis = Axis(*reach, start=NAME_WIDTH, end=WIDTH - VALUE_WIDTH)
    return svg(
        name,
        description,
        bottom + 44,
        _grid(axis, bottom, x_label),
        *(_exact_line(axis, bottom, row) for row in rows if row.exact),
        *(_row(axis, 12 + row_height * (index + 0.5), row) for index, row in enumerate(rows)),
    )


def _grid(axis: Axis, bottom: float, x_label: str) -> Markup:
    values = ticks(axis.low, axis.high, 5)
    return joined(
        *(segment(axis(value), 8, axis(value), bottom, "grid") for value in values),
        *(
            text(axis(value), bottom + 17, label, "tick", "middle")
            for value, label in zip(values, tick_texts(values), strict=True)
        ),
        text((axis.start + axis.end) / 2, bottom + 38, x_label, "axis", "middle"),
    )


def _exact_line(axis: Axis, bottom: float, row: Row) -> Markup:
    x = axis(row.estimate.mean)
    return segment(x, 8, x, bottom, f"curve {row.look}")


def _row(axis: Axis, y: float, row: Row) -> Markup:
    mean, low, high = row.estimate
    told = element("title", f"{row.label}: {row.estimate.full()}{' (exact)' if row.exact else ''}")
    bounded = math.isfinite(low) and math.isfinite(high)
    return element(
        "g",
        told,
        text(NAME_WIDTH - 10, y + 4, shortened(row.label, NAME_LETTERS), f"name {row.look}", "end"),
        segment(axis(low), y, axis(high), y, f"bar {row.look}") if bounded else None,
        _diamond(axis(mean), y, row.look) if row.exact else _dot(axis(mean), y, row.look),
        text(WIDTH - VALUE_WIDTH + 10, y + 4, row.estimate.text(), f"value {row.look}"),
    )


def _dot(x: float, y: float, look: str) -> Markup:
    return element("circle", cx=float(x), cy=float(y), r=4, class_=f"dot {look}")


def _diamond(x: float, y: float, look: str) -> Markup:
    corners = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
    return element("polygon", points=corners, class_=f"dot {look}")
