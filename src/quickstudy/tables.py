"""Tables on the terminal: one evaluation, several runs, what there is."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.table import Table

from quickstudy.life_presets import LIFE_PRESETS
from quickstudy.presets import PRESETS
from quickstudy.registry import REGISTRIES, resolve, summary
from quickstudy.reporting.conditions import differences
from quickstudy.reporting.estimates import count
from quickstudy.reporting.method_words import (
    interval_meaning,
    repetitions,
    seeds_text,
    steps_text,
    unequal_steps,
)
from quickstudy.reporting.methods import keyed_runs, seed_methods
from quickstudy.variants import VARIANTS


def print_evaluation(evaluation: dict[str, Any]) -> None:
    """The verdict, the adaptation curve and the references beside the agent."""
    console = Console(soft_wrap=True, markup=False)
    console.print(evaluation["verdict"]["text"], highlight=False)
    table = new_table("", "trial", "95% interval", "first episode", "last episode")
    rows = [(evaluation["agent"], {**evaluation["total"], "episodes": evaluation["episodes"]})]
    rows += list(evaluation["references"].items())
    for name, entry in sorted(rows, key=lambda row: _sortable(row[1]["mean"])):
        interval = "exact" if entry.get("exact") else _between(entry)
        curve = entry["episodes"]
        style = "bold" if name == evaluation["agent"] and "standard_error" in entry else None
        table.add_row(
            name, figure_text(entry["mean"]), interval, _episode(curve, 0), _episode(curve, -1), style=style
        )
    console.print(table)
    for name, when in (("success", "at any time"), ("success_at_end", "at the end")):
        if evaluation[name] is not None:
            share = evaluation[name]
            said = f"success {when} {share['mean']:.1%} [{share['low']:.1%}, {share['high']:.1%}]"
            console.print(said, highlight=False)
    console.print(
        f"{evaluation['num_tasks']} held-out tasks, seed {evaluation['seed']}", style="dim", highlight=False
    )


def print_comparison(summaries: list[Any]) -> None:
    """One line a method where one has several seeds, else one line a run."""
    methods = seed_methods(summaries)
    if methods:
        print_methods(methods, differences(keyed_runs(methods)))
    else:
        print_runs(summaries)


def print_runs(summaries: list[Any]) -> None:
    """One line a run."""
    table = new_table("run", "agent", "env", "return of a trial", "95% interval", "gain", "gap to best")
    for run in summaries:
        evaluation = run.evaluation
        if evaluation is None:
            names = (run.experiment.get(kind, {}).get("type", "?") for kind in ("agent", "env"))
            table.add_row(run.name, *names, "not evaluated yet", "", "", "")
            continue
        total, gain, gap = (evaluation.get(name) for name in ("total", "gain", "optimum_gap_percent"))
        table.add_row(
            run.name,
            evaluation["agent"],
            evaluation["env"],
            figure_text(total["mean"]),
            _between(total),
            "" if gain is None else f"{figure_text(gain['mean'], '+.3g')} [{_between(gain, '.2g')}]",
            "" if gap is None else f"{figure_text(gap['mean'], '.2g')}% [{_between(gap, '.2g')}]",
        )
    Console(soft_wrap=True, markup=False).print(table)


def print_methods(methods: list[Any], found: list[str]) -> None:
    """One line a method, then what must be known of them; `found` says why they are not comparable."""
    table = new_table("method", "seeds", "trial", "over seeds", "first", "last", "steps", "seconds")
    for column in table.columns:
        # A long name may go on below; a number may not.
        column.no_wrap = column is not table.columns[0]
    for method in methods:
        total, episodes = method.total, [{"mean": episode.mean} for episode in method.episodes]
        table.add_row(
            f"{method.key} {method.name}",
            seeds_text(method),
            figure_text(total.mean),
            _between(total._asdict()) if total.bounded else "–",
            _episode(episodes, 0),
            _episode(episodes, -1),
            steps_text(method),
            count(method.seconds),
        )
    console = Console(soft_wrap=True, markup=False)
    console.print(table)
    said = "Means over seeds: return of a trial, of its first and its last episode; environment steps; seconds"
    console.print(f"{said} of training.", highlight=False)
    for line in (interval_meaning(methods), repetitions(methods), unequal_steps(methods)):
        if line:
            console.print(line, highlight=False)
    if found:
        console.print(f"Not comparable: {'; '.join(found)}", highlight=False)


def listing(kind: str) -> list[dict[str, str]]:
    """What there is of a kind: name and one sentence."""
    if kind == "presets":
        pairs = [{"name": f"{a} {e}", "summary": preset.summary} for (a, e), preset in PRESETS.items()]
        named = [{"name": f"{name} any family", "summary": v.summary} for name, v in VARIANTS.items()]
        lives = [{"name": f"learn {a} {e}", "summary": made.summary} for (a, e), made in LIFE_PRESETS.items()]
        return [*pairs, *named, *lives]
    singular: Any = kind.removesuffix("s")
    return [
        {"name": name, "summary": summary(resolve(singular, name))} for name in sorted(REGISTRIES[singular])
    ]


def print_listing(listings: dict[str, list[dict[str, str]]]) -> None:
    console = Console(soft_wrap=True, markup=False)
    for kind, entries in listings.items():
        console.print(kind, style="bold")
        width = max((len(entry["name"]) for entry in entries), default=0)
        for entry in entries:
            console.print(f"  {entry['name']:<{width}}  {entry['summary']}", highlight=False)


def new_table(*columns: str) -> Table:
    """Without lines; the first column is words."""
    table = Table(box=None, header_style="dim")
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i == 0)
    return table


def _episode(curve: list[dict[str, float]] | None, index: int) -> str:
    return "" if not curve else figure_text(curve[index]["mean"], ".3g")


def figure_text(value: float | None, form: str = ".4g") -> str:
    """A number, or a dash for one that is not there or not finite."""
    return "–" if value is None or not math.isfinite(value) else format(value, form)


def _between(interval: dict[str, Any], form: str = ".4g") -> str:
    return f"{figure_text(interval['low'], form)} … {figure_text(interval['high'], form)}"


def _sortable(value: float | None) -> float:
    return -math.inf if value is None or math.isnan(value) else value
