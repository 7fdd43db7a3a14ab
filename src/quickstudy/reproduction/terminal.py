"""A reproduced table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from quickstudy.reporting.estimates import finite, number
from quickstudy.reproduction import curve_rows
from quickstudy.reproduction.rows import METHODS, SUMMARY, method_rows, summary_row, trained_by, verdict
from quickstudy.reproduction.signature import EFFECTS, KINDS

WIDTH = 140
"""Of the terminal, at least: tables are wider than 80 letters, and broken they say more than cut off."""


def print_result(result: Mapping[str, Any]) -> None:
    """Every row of every cell, or of every curve; how ours was trained; then what came out."""
    console = Console(soft_wrap=True, markup=False)
    console.width = max(console.width, WIDTH)
    console.print(f"{result['title']}: {result['source']}", style="bold", highlight=False)
    console.print(f"{result['setting']}.", style="dim", highlight=False)
    (_print_curves if result["kind"] == "curves" else _print_cells)(console, result)


def _print_cells(console: Console, result: Mapping[str, Any]) -> None:
    for entry in result["cells"]:
        console.print(f"\n{entry['cell']}: {entry['setting']}", style="bold", highlight=False)
        console.print(_table(METHODS, method_rows(entry)))
        console.print(trained_by(entry), highlight=False)
        for who, told in entry.get("signatures", {}).items():
            console.print(f"{who}: {_signature(told)}", highlight=False)
    console.print()
    console.print(_table(SUMMARY, [summary_row(entry) for entry in result["cells"]]))
    console.print(verdict(result), highlight=False)


def _print_curves(console: Console, result: Mapping[str, Any]) -> None:
    console.print("\nmean return of an episode after so many gradient steps", style="bold", highlight=False)
    console.print(_table(curve_rows.head(result), curve_rows.table_rows(result), len(curve_rows.WORDS)))
    console.print()
    for entry in result["cells"]:
        console.print(curve_rows.trained_by(entry), highlight=False)
    console.print(curve_rows.verdict(result), highlight=False)


def _signature(told: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{number(finite(told[name]['mean']), 2)} {name}" for name in KINDS)
    effects = ", ".join(f"{name} {number(finite(told[name]['mean']), 2, signed=True)}" for name in EFFECTS)
    return f"stays after {shares}; {effects}"


def _table(head: Sequence[str], rows: list[list[str]], texts: int = 1) -> Table:
    """The first `texts` columns are words."""
    table = Table(box=None, header_style="dim")
    for index, name in enumerate(head):
        table.add_column(name, justify="left" if index < texts else "right", no_wrap=True)
    for row in rows:
        style = "bold" if row[texts - 1].startswith("ours") else None
        table.add_row(*row, style=style)
    return table
