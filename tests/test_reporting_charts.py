"""The pieces that figures are made of: axes, curves, labels and numbers."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import pytest

from quickstudy.reporting.axes import span, spread, thinned, tick_texts, ticks
from quickstudy.reporting.charts import Axes, Series, line_chart, shortened
from quickstudy.reporting.estimates import Estimate, count, number
from quickstudy.reporting.figures import averaged


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 1.0, 5) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(1, 10, 5, whole=True) == [float(value) for value in range(1, 11)]
    assert ticks(1, 500, 5, whole=True) == [100, 200, 300, 400, 500]
    for low, high in ((-3.3, 17.0), (1e-9, 3e-9), (5e8, 6e8), (0.4999, 0.5001)):
        found = ticks(low, high)
        assert 2 <= len(found) <= 12
        assert low - 1e-9 * abs(low) <= found[0] <= found[-1] <= high + 1e-9 * abs(high)
        assert len(set(tick_texts(found))) == len(found)
    assert tick_texts([0, 1e6, 2e6]) == ["0", "1M", "2M"]
    assert tick_texts([-0.5, 0.0]) == ["\N{MINUS SIGN}0.5", "0"]


def test_labels_are_spread_without_overlap_near_their_lines() -> None:
    assert spread([10, 50, 90], 15, 0, 100) == [10, 50, 90]
    assert spread([50, 50, 50], 20, 0, 100) == [30, 50, 70]
    assert spread([99, 98, 97], 20, 0, 100) == [100, 80, 60]
    assert spread([], 20, 0, 100) == []


def test_span_leaves_room_even_around_one_value() -> None:
    assert span([math.nan]) is None
    low, high = span([0.0]) or (0.0, 0.0)
    assert low < 0 < high
    low, high = span([7.0, 7.0, math.inf]) or (0.0, 0.0)
    assert low < 7 < high < math.inf


def test_line_chart_without_points_is_none() -> None:
    empty = Series("a", [1.0, math.nan], [math.nan, 2.0], "agent")
    assert line_chart("n", "d", [empty], Axes("x", "y")) is None
    assert line_chart("n", "d", [], Axes("x", "y")) is None


def test_line_chart_points_are_where_their_values_are() -> None:
    drawing = line_chart("n", "d", [Series("", [0.0, 1.0, 2.0], [0.0, 2.0, 1.0], "agent")], Axes("x", "y"))
    assert drawing is not None
    curve = ElementTree.fromstring(drawing).find("polyline")
    assert curve is not None
    points = [tuple(map(float, point.split(","))) for point in curve.get("points", "").split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y1 < y2 < y0
    assert y0 - y1 == pytest.approx(2 * (y2 - y1), abs=0.3)


def test_long_curves_are_averaged_in_groups() -> None:
    x, y, size = averaged(list(range(1000)), [1.0] * 999 + [math.nan])
    assert (len(x), size) == (250, 4)
    assert y == [1.0] * 250
    assert averaged([1.0, 2.0], [3.0, math.nan]) == ([1.0], [3.0], 1)
    assert thinned(1000, 3) == [0, 500, 999]


def test_numbers_have_the_places_that_their_interval_supports() -> None:
    assert Estimate(6.617, 6.572, 6.662).full() == "6.62 [6.57, 6.66]"
    assert Estimate(-212.3, -216.4, -208.1).full() == "\N{MINUS SIGN}212 [\N{MINUS SIGN}216, \N{MINUS SIGN}208]"
    assert Estimate(6.66, 6.66, 6.66).full() == "6.660"
    assert Estimate(math.nan, 0.0, 1.0).text() == number(math.inf) == "\N{EN DASH}"
    assert Estimate.read({"mean": True, "low": "1", "high": None}).known is False
    assert (count(812), count(41_234), count(1.25e6), count(math.nan)) == (
        "812",
        "41.2k",
        "1.25M",
        "\N{EN DASH}",
    )


def test_long_labels_are_abbreviated() -> None:
    assert shortened("bayes-optimal") == "bayes-optimal"
    assert shortened("optimistic-thompson") == "opt.-thompson"
    assert shortened("averyveryverylongname") == "averyveryver…"
