"""docs/cores.md: what benchmarks/cores.py measured, as tables and a picture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.parent / "docs"
FORMS = {
    "step": "Step form, as in collection",
    "unroll": "Sequence form, forward",
    "unroll_and_gradient": "Sequence form with its gradient, as in updates",
    "one_stream_unroll_and_gradient": "The same of one stream alone",
}
# Tell lines apart on white and on dark grey, and by their dashes in print.
COLOURS = ("#c2452d", "#2f7ed8", "#3a9a4b", "#a45ac4", "#b8860b", "#0f9b9b", "#808080")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 56, 120, 28, 44
LABEL_GAP = 14.0


def write(record: dict[str, Any]) -> Path:
    """The page and its picture; -> the page."""
    results, machine = record["results"], record["machine"]
    names = list(dict.fromkeys(row["core"] for row in results))
    lengths = sorted({row["length"] for row in results})
    rates = {
        form: {name: _row(results, name, lengths, f"{form}_steps_per_second") for name in names}
        for form in FORMS
    }
    parts = [
        "# How fast the memories are",
        f"Thousands of steps a second, {record['hidden_size']} units, {record['steps']:,} steps of all streams "
        f"together at every length; transformer and snail look back over {record['context']} steps. By "
        f"`{record['command']}` on {machine['cpu']} with JAX {record['versions']['jax']}, at a load average of "
        f"{record['load_average_at_the_start']} before it began.",
        _verdict(rates, lengths),
        "![Steps a second with the gradient, by length](cores.svg)",
    ]
    for form, title in FORMS.items():
        parts += [f"## {title}", _table(rates[form], lengths)]
    page = DOCS / "cores.md"
    page.write_text("\n\n".join(parts) + "\n")
    (DOCS / "cores.svg").write_text(_picture(rates["unroll_and_gradient"], lengths))
    return page


def _row(results: list[dict[str, Any]], name: str, lengths: list[int], field: str) -> list[float]:
    found = {row["length"]: row[field] for row in results if row["core"] == name}
    return [found.get(length, math.nan) for length in lengths]


def _verdict(rates: dict[str, dict[str, list[float]]], lengths: list[int]) -> str:
    """What the state space is to the GRU, from these numbers."""
    said = []
    for form, what in (
        ("unroll_and_gradient", "together"),
        ("one_stream_unroll_and_gradient", "of one stream"),
    ):
        if not {"gru", "state-space"} <= set(rates[form]):
            return ""
        ours, gru = rates[form]["state-space"], rates[form]["gru"]
        faster = [length for length, a, b in zip(lengths, ours, gru, strict=True) if a > b]
        times = ", ".join(f"{a / b:.1f} at {n}" for n, a, b in zip(lengths, ours, gru, strict=True))
        said.append(f"{what}, {times}" + (f" (faster at {', '.join(map(str, faster))})" if faster else ""))
    one = rates["unroll_and_gradient"]["state-space"]
    growth = (lengths[-1] / one[-1]) / (lengths[0] / one[0]) / (lengths[-1] / lengths[0])
    return (
        "Training rates of the state space in those of the GRU: "
        + "; ".join(said)
        + f". A stream {lengths[-1] // lengths[0]} times as long costs the state space {growth:.2f} times as "
        "much a step: its time grows linearly in the length where that is about 1."
    )


def _table(rates: dict[str, list[float]], lengths: list[int]) -> str:
    rows = [["", *(f"{length}" for length in lengths)], ["---", *("---:" for _ in lengths)]]
    rows += [[name, *(_thousands(x) for x in row)] for name, row in rates.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _thousands(rate: float) -> str:
    if math.isnan(rate):
        return ""
    return f"{rate / 1000:.1f}" if rate < 100_000 else f"{rate / 1000:,.0f}"


def _picture(rates: dict[str, list[float]], lengths: list[int]) -> str:
    """Both axes are logarithmic."""
    values = [math.log10(x) for row in rates.values() for x in row if x > 0]
    low, high = math.floor(min(values)), math.ceil(max(values))
    first, last = math.log2(lengths[0]), math.log2(lengths[-1])

    def place(length: int, rate: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(length) - first) / max(1.0, last - first)
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(rate) - low) / max(1, high - low)
        return x, y

    parts = [_text(LEFT, 16, "steps a second, with the gradient"), _text(WIDTH / 2 - 60, HEIGHT - 8, "length")]
    for power in range(low, high + 1):
        y = place(lengths[0], 10.0**power)[1]
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#8884"/>')
        parts.append(
            _text(LEFT - 6, y + 4, f"{10**power:,}" if power < 4 else f"{10**power // 1000:,}k", "end")
        )
    for length in lengths:
        parts.append(_text(place(length, 10.0**low)[0], HEIGHT - BOTTOM + 18, str(length), "middle"))
    ends = sorted((place(lengths[-1], row[-1])[1], name) for name, row in rates.items() if row[-1] > 0)
    label_y = -math.inf
    heights = {}
    for y, name in ends:
        heights[name] = label_y = max(y + 4, label_y + LABEL_GAP)
    for i, (name, row) in enumerate(rates.items()):
        points = [place(n, x) for n, x in zip(lengths, row, strict=True) if x > 0]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        colour, dash = COLOURS[i % len(COLOURS)], f"{8 - i} {i}" if i else "none"
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
        )
        if name in heights:
            parts.append(_text(WIDTH - RIGHT + 8, heights[name], name, colour=colour))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" role="img"><title>Steps a second with the gradient, by length</title>'
        + "".join(parts)
        + "</svg>\n"
    )


def _text(x: float, y: float, content: str, anchor: str = "start", colour: str = "#808080") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{content}</text>'
