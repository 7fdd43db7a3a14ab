"""A reproduced table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from quickstudy.reporting.estimates import finite, number
from quickstudy.reproduction.rows import METHODS, SUMMARY, method_rows, summary_row, trained_by, verdict
from quickstudy.reproduction.signature import EFFECTS, KINDS

WIDTH = 120
"""Of the terminal, at least: the last table is wider than 80 letters, and broken it says more than cut off."""


def print_result(result: Mapping[str, Any]) -> None:
    """Every row of every cell, then a line for each cell, then what came out."""
    console = Console(soft_wrap=True, markup=False)
    console.width = max(console.width, WIDTH)
    console.print(f"{result['title']}: {result['source']}", style="bold", highlight=False)
    console.print(f"{result['setting']}.", style="dim", highlight=False)
    for entry in result["cells"]:
        console.print(f"\n{entry['cell']}: {entry['setting']}", style="bold", highlight=False)
        console.print(_table(METHODS, method_rows(entry)))
        console.print(trained_by(entry), highlight=False)
        for who, told in entry.get("signatures", {}).items():
            console.print(f"{who}: {_signature(told)}", highlight=False)
    console.print()
    console.print(_table(SUMMARY, [summary_row(entry) for entry in result["cells"]]))
    console.print(verdict(result), highlight=False)


def _signature(told: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{number(finite(told[name]['mean']), 2)} {name}" for name in KINDS)
    effects = ", ".join(f"{name} {number(finite(told[name]['mean']), 2, signed=True)}" for name in EFFECTS)
    return f"stays after {shares}; {effects}"


def _table(head: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(box=None, header_style="dim")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        style = "bold" if row[0].startswith("ours") else None
        table.add_row(*row, style=style)
    return table
