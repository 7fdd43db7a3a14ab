"""The exams of a learning as a table on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from quickstudy.tables import figure_text, new_table

# A life of more exams than this is shown by some of them, evenly chosen.
MOST_LINES = 21


def print_exams(record: Mapping[str, Any]) -> None:
    """The verdict, the learning curve, and what it is measured against."""
    console = Console(soft_wrap=True, markup=False)
    console.print(record["verdict"]["text"], highlight=False)
    exams = record["exams"]
    has_success, has_solved = exams[-1]["success"] is not None, exams[-1]["solved"] is not None
    extra = ["success"] * has_success + ["solved"] * has_solved
    table = new_table("steps", "return", "95% interval", "lowest learner", *extra, "seconds")
    every = -(-len(exams) // MOST_LINES)
    for entry in exams[::-every][::-1]:
        shares = [f"{entry['success']['mean']:.0%}"] if has_success else []
        shares += [f"{entry['solved']:.0%}"] if has_solved else []
        bounded = entry["low"] is not None and entry["low"] == entry["low"]
        between = f"{figure_text(entry['low'])} … {figure_text(entry['high'])}" if bounded else "–"
        numbers = (figure_text(entry["mean"]), between, figure_text(entry["lowest"]))
        table.add_row(f"{entry['steps']:,}", *numbers, *shares, f"{entry['seconds']:.1f}")
    console.print(table)
    for name, words in (("random", "a random agent earns"), ("task_known", "with the task known it is worth")):
        if record.get(name) is not None:
            console.print(f"{words} {figure_text(record[name])}", highlight=False)
    learners = f"{record['num_tasks']} tasks, {record['num_seeds']} learners in each"
    console.print(f"{learners}; steps of one learner", style="dim", highlight=False)
