"""Line charts with interval bands, drawn as inline SVG.

A chart scales with the page: its drawing units are CSS pixels at a width of `WIDTH`, and the style sheet
enlarges its text on a phone, for which the margins leave room. Colours, widths and dashes are classes
(`look`) that the style sheet defines for light and dark; no line is known by its colour alone: each has its
name at its end, and its own dashes.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from quickstudy.reporting.axes import Axis, span, spread, tick_texts, ticks
from quickstudy.reporting.estimates import short
from quickstudy.reporting.markup import Markup, element, joined

WIDTH = 460
HEIGHT = 290
LABEL_WIDTH = 140
BARE_MARGIN = 22
"""Without labels: room for half of the last tick's text."""
LABEL_LETTERS = 13
"""That many letters fit into LABEL_WIDTH at the text size of a phone (15.5 units, up to 0.62 em a letter)."""
ABBREVIATION = 3
LABEL_GAP = 17.0
DOT_LIMIT = 30
X_TICK, Y_TICK = 44, 45
"""Room for a tick's text along each axis."""


@dataclasses.dataclass(frozen=True)
class Series:
    """One curve; `low` and `high`, where given, are its interval. Points that are not finite are left out."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    look: str
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    dots: bool = False
    """A dot at each point, which tells its numbers; not drawn where there are more than DOT_LIMIT."""


@dataclasses.dataclass(frozen=True)
class Level:
    """A horizontal line over the whole width."""

    label: str
    value: float
    look: str


@dataclasses.dataclass(frozen=True)
class Axes:
    """What the two axes of a chart are called, and how they are divided."""

    x_label: str
    y_label: str
    whole_x: bool = False
    """Ticks at whole numbers only."""
    boundaries: Sequence[float] = ()
    """Faint vertical lines at these x."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """The plotting area in drawing units."""

    x: Axis
    y: Axis
    height: float


def line_chart(
    name: str,
    description: str,
    series: Sequence[Series],
    axes: Axes,
    levels: Sequence[Level] = (),
    size: tuple[float, float] = (WIDTH, HEIGHT),
) -> Markup | None:
    """The chart as one `<svg>`; None if there is not one finite point to draw.

    `name` and `description` are what a screen reader says.
    """
    series = [kept for kept in map(_finite_points, series) if len(kept.x)]
    levels = [level for level in levels if math.isfinite(level.value)]
    labels = sum(bool(line.label) for line in (*series, *levels))
    width, height = size[0], max(size[1], labels * LABEL_GAP + 80)
    frame = _frame(series, levels, axes, (width - (LABEL_WIDTH if labels else BARE_MARGIN), height))
    if frame is None:
        return None
    return svg(
        name,
        description,
        height,
        _grid(frame, axes),
        *(_level(frame, level) for level in levels),
        *(_band(frame, line) for line in series if len(line.low)),
        # The first series is the one that matters: it is drawn last, over the others.
        *(_curve(frame, line) for line in reversed(series)),
        _end_labels(frame, series, levels),
        width=width,
    )


def svg(name: str, description: str, height: float, *parts: Markup, width: float = WIDTH) -> Markup:
    """A drawing that screen readers take for one image with a name and a description."""
    return element(
        "svg",
        element("desc", description),
        *parts,
        class_="chart",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=name,
    )


def text(x: float, y: float, content: str, look: str = "", anchor: str | None = None) -> Markup:
    return element("text", content, x=float(x), y=float(y), class_=look or None, text_anchor=anchor)


def segment(x1: float, y1: float, x2: float, y2: float, look: str) -> Markup:
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=look)


def shortened(label: str, letters: int = LABEL_LETTERS) -> str:
    """A label that fits: its first words are abbreviated before its end is cut off."""
    words = re.split("([ -])", label)
    for index in range(0, len(words) - 1, 2):
        if len("".join(words)) > letters and len(words[index]) > ABBREVIATION:
            words[index] = words[index][:ABBREVIATION] + "."
    label = "".join(words)
    return label if len(label) <= letters else label[: letters - 1] + "…"


def _finite_points(series: Series) -> Series:
    bounded = len(series.low) == len(series.high) == len(series.x)
    kept = [i for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)) if math.isfinite(x + y)]
    low = [series.low[i] if math.isfinite(series.low[i]) else series.y[i] for i in kept] if bounded else []
    high = [series.high[i] if math.isfinite(series.high[i]) else series.y[i] for i in kept] if bounded else []
    x, y = [series.x[i] for i in kept], [series.y[i] for i in kept]
    return dataclasses.replace(series, x=x, y=y, low=low, high=high)


def _frame(
    series: Sequence[Series], levels: Sequence[Level], axes: Axes, corner: tuple[float, float]
) -> Frame | None:
    """`corner` is how far right the curves may reach, and the drawing's height."""
    x_range = span([x for line in series for x in line.x], padding=0.0)
    values = [value for line in series for value in (*line.y, *line.low, *line.high)]
    y_range = span(values + [level.value for level in levels])
    if x_range is None or y_range is None:
        return None
    right, height = corner
    bottom = height - (44 if axes.x_label else 24)
    return Frame(Axis(*x_range, start=58, end=right), Axis(*y_range, start=bottom, end=28), height)


def _grid(frame: Frame, axes: Axes) -> Markup:
    x, y = frame.x, frame.y
    x_ticks = ticks(x.low, x.high, max(int((x.end - x.start) / X_TICK), 2), axes.whole_x)
    y_ticks = ticks(y.low, y.high, max(int((y.start - y.end) / Y_TICK), 2))
    middle = (x.start + x.end) / 2
    return joined(
        *(segment(x.start, y(value), x.end, y(value), "grid") for value in y_ticks),
        *(segment(x(value), y.end, x(value), y.start, "boundary") for value in axes.boundaries),
        *(
            text(x.start - 7, y(value) + 4, label, "tick", "end")
            for value, label in zip(y_ticks, tick_texts(y_ticks), strict=True)
        ),
        *(
            text(x(value), y.start + 17, label, "tick", "middle")
            for value, label in zip(x_ticks, tick_texts(x_ticks), strict=True)
        ),
        text(2, 14, axes.y_label, "axis"),
        text(middle, frame.height - 6, axes.x_label, "axis", "middle") if axes.x_label else None,
    )


def _points(frame: Frame, x: Sequence[float], y: Sequence[float]) -> str:
    return " ".join(f"{frame.x(a):.1f},{frame.y(b):.1f}" for a, b in zip(x, y, strict=True))


def _level(frame: Frame, level: Level) -> Markup:
    height = frame.y(level.value)
    return segment(frame.x.start, height, frame.x.end, height, f"curve {level.look}")


def _band(frame: Frame, series: Series) -> Markup:
    if len(series.x) == 1:
        x = frame.x(series.x[0])
        return segment(x, frame.y(series.low[0]), x, frame.y(series.high[0]), f"whisker {series.look}")
    around = _points(frame, series.x, series.high) + " " + _points(frame, series.x[::-1], series.low[::-1])
    return element("polygon", points=around, class_=f"band {series.look}")


def _curve(frame: Frame, series: Series) -> Markup:
    line = element("polyline", points=_points(frame, series.x, series.y), class_=f"curve {series.look}")
    if len(series.x) > (DOT_LIMIT if series.dots else 1):
        return line
    return joined(line, *(_marker(frame, series, index) for index in range(len(series.x))))


def _marker(frame: Frame, series: Series, index: int) -> Markup:
    x, y = series.x[index], series.y[index]
    bounds = f" [{short(series.low[index])}, {short(series.high[index])}]" if len(series.low) else ""
    told = element("title", f"{series.label}, {x:g}: {short(y)}{bounds}")
    return element(
        "circle", told, cx=float(frame.x(x)), cy=float(frame.y(y)), r=3, class_=f"marker {series.look}"
    )


def _end_labels(frame: Frame, series: Sequence[Series], levels: Sequence[Level]) -> Markup:
    """Each line's name beside its end, moved apart where ends are close."""
    ends = [(line.label, line.look, frame.x(line.x[-1]), frame.y(line.y[-1])) for line in series if line.label]
    ends += [(level.label, level.look, frame.x.end, frame.y(level.value)) for level in levels if level.label]
    heights = spread([end[3] for end in ends], LABEL_GAP, frame.y.end, frame.y.start)
    right = frame.x.end
    return joined(
        *(
            joined(
                element(
                    "polyline",
                    points=f"{x:.1f},{y:.1f} {right + 3:.1f},{y:.1f} {right + 12:.1f},{height:.1f}",
                    class_=f"leader {look}" + (" far" if x < right - 1 else ""),
                ),
                text(right + 16, height + 4, shortened(label), f"name {look}"),
            )
            for (label, look, x, y), height in zip(ends, heights, strict=True)
        )
    )
