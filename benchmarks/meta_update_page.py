"""docs/meta_update.svg: what benchmarks/meta_update.py measured, as four small pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FIGURE = Path(__file__).parent.parent / "docs" / "meta_update.svg"
PANEL, LEFT, TOP, GAP = (220, 150), 56, 34, 84
LOOKS = {False: ("#c2452d", "none", "kept"), True: ("#2f7ed8", "6 4", "computed again")}


def write(rows: list[dict[str, Any]], usual_steps: int, usual_width: int) -> Path:
    by_steps = [row for row in rows if row["width"] == usual_width]
    by_width = sorted((row for row in rows if row["num_adapts"] == usual_steps), key=lambda row: row["width"])
    panels = [
        _panel(0, 0, by_steps, "num_adapts", "megabytes", f"memory, MB · inner steps, width {usual_width}"),
        _panel(1, 0, by_steps, "num_adapts", "seconds", f"seconds · inner steps, width {usual_width}"),
        _panel(0, 1, by_width, "width", "megabytes", "memory, MB · width, one inner step"),
        _panel(1, 1, by_width, "width", "seconds", "seconds · width, one inner step"),
    ]
    width, height = 2 * (PANEL[0] + GAP), 2 * (PANEL[1] + GAP)
    FIGURE.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img"><title>Memory and time of one meta-gradient</title>'
        + "\n".join(panels)
        + "</svg>\n"
    )
    return FIGURE


def _panel(column: int, line: int, rows: list[dict[str, Any]], x: str, y: str, title: str) -> str:
    left, top = LEFT + column * (PANEL[0] + GAP), TOP + line * (PANEL[1] + GAP)
    most_x, most_y = (max(row[name] for row in rows) for name in (x, y))

    def place(row: dict[str, Any]) -> tuple[float, float]:
        return left + PANEL[0] * row[x] / most_x, top + PANEL[1] * (1 - row[y] / most_y)

    parts = [
        _text(left, top - 12, title),
        f'<path d="M{left} {top}V{top + PANEL[1]}H{left + PANEL[0]}" fill="none" stroke="#888"/>',
        _text(left - 6, top + 5, f"{most_y:,.0f}" if most_y >= 10 else f"{most_y:.2f}", "end"),
        _text(left - 6, top + PANEL[1], "0", "end"),
    ]
    parts += [
        _text(place(row)[0], top + PANEL[1] + 16, str(row[x]), "middle") for row in rows if row["rematerialise"]
    ]
    for again, (colour, dash, name) in LOOKS.items():
        points = [place(row) for row in rows if row["rematerialise"] == again]
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b in points)
        parts.append(
            f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"/>'
        )
        parts.append(_text(left + 10, top + 14 + 15 * again, f"inner steps {name}", colour=colour))
    return "".join(parts)


def _text(x: float, y: float, content: str, anchor: str = "start", colour: str = "#808080") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{content}</text>'
