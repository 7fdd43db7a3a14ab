"""The exams of a learning, what a transfer found, methods by their steps, as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from quickstudy.reporting.steps import Method, differences, same_steps
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
    learners = f"{record['num_tasks']} tasks × {record['num_seeds']} learners in each"
    console.print(f"{learners}; steps of one learner", style="dim", highlight=False)


def print_transfer(result: Mapping[str, Any]) -> None:
    """Zero-shot, from scratch, and fine-tuned with each penalty."""
    console = Console(soft_wrap=True, markup=False)
    table = new_table("in new tasks", "steps", "return", "95% interval", "gain", "less scratch", "kept")
    scratch = result["scratch"]
    table.add_row("zero-shot", "0", *_estimate(result["zero_shot"]), "", "", "")
    for name, method in result["fine_tuned"].items():
        table.add_row(
            f"fine-tuned, {name}",
            f"{method['steps']:,}",
            *_estimate(method["final"]),
            figure_text(method["gain"]["mean"], ".3g"),
            figure_text(method["less_scratch"]["mean"], ".3g"),
            f"{method['num_kept']}/{result['num_new']}",
        )
    table.add_row("from scratch", f"{scratch['steps']:,}", *_estimate(scratch["final"]), "", "", "")
    console.print(table)
    for name, method in result["fine_tuned"].items():
        reached = method["steps_to_scratch"]
        if reached is not None:
            share = reached / scratch["steps"]
            console.print(f"{name}: as good as from scratch at {reached:,} steps, {share:.1%}", highlight=False)
    console.print(f"a random agent earns {figure_text(result['random'])}", highlight=False)
    said = "kept: fine-tuned policies that are better than zero-shot beyond doubt"
    console.print(f"{said}; {result['num_new']} new tasks; {result['interval']}", style="dim", highlight=False)


def print_steps(found: list[Method]) -> None:
    """Methods on the same new tasks, at the same number of environment steps."""
    console, equal = Console(soft_wrap=True, markup=False), same_steps(found)
    table = new_table("method", "start", f"at {equal:,} steps", "95% interval", "end", "steps")
    for column in table.columns:
        # A long name may go on below; a number may not.
        column.no_wrap = column is not table.columns[0]
    for method in found:
        start, there, end = method.points[0], method.within(equal), method.points[-1]
        between = f"{figure_text(there[2])} … {figure_text(there[3])}"
        table.add_row(
            method.name,
            figure_text(start[1]),
            figure_text(there[1]),
            between,
            figure_text(end[1]),
            f"{end[0]:,}",
        )
    console.print(table)
    if apart := differences(found):
        console.print(f"Not comparable: {'; '.join(apart)}", highlight=False)
    tasks = found[0].tasks
    console.print(f"{tasks['num_tasks']} new tasks, seed {tasks['seed']}", style="dim", highlight=False)


def _estimate(estimate: Mapping[str, Any]) -> tuple[str, str]:
    between = (
        "–" if estimate["low"] is None else f"{figure_text(estimate['low'])} … {figure_text(estimate['high'])}"
    )
    return figure_text(estimate["mean"]), between
