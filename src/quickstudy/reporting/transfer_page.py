"""The report of a transfer as one HTML document that needs nothing outside itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quickstudy.reporting.charts import Axes, Level, Series, line_chart
from quickstudy.reporting.document import document, folded, section
from quickstudy.reporting.estimates import Estimate, number
from quickstudy.reporting.figures import figure
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.tables import settings_table, table


def transfer_page(result: Mapping[str, Any], name: str) -> str:
    """The whole transfer, `result` as `transfer.pipeline` writes it."""
    title = f"From known tasks to new ones: {result['env']}"
    return document(
        title,
        element("h1", title),
        element("p", _verdict(result), class_="verdict"),
        element("p", _told(result, name), class_="trained"),
        section("Learned and forgotten", element("div", _curves(result), _forgetting(result), class_="pair")),
        section("In numbers", _table(result), _coefficients(result)),
        section("Kept or discarded", *(_guard(method, m) for method, m in result["fine_tuned"].items())),
        section("How to repeat it", folded("Protocol", settings_table("Protocol", result["protocol"]))),
    )


def _verdict(result: Mapping[str, Any]) -> str:
    """The best of the fine-tunings beside zero-shot and learning from scratch."""
    name, best = max(result["fine_tuned"].items(), key=lambda pair: pair[1]["final"]["mean"])
    gain = Estimate.read(best["gain"])
    said = f"Fine-tuned ({name}) {Estimate.read(best['final']).full()}, {gain.full()} more than zero-shot"
    reached, scratch = best["steps_to_scratch"], result["scratch"]
    if reached is None:
        apart = Estimate.read(best["less_scratch"]).full()
        return f"{said}, {apart} more than is learned from scratch in {scratch['steps']:,} steps."
    share = reached / scratch["steps"]
    return f"{said}; it earns what is learned from scratch after {share:.1%} of the environment steps."


def _told(result: Mapping[str, Any], name: str) -> str:
    protocol = result["protocol"]
    return (
        f"Run {name}: {protocol['num_known']} known tasks, merged by {protocol['merge']}; {result['num_new']} "
        f"new tasks; teacher {result['teacher']}; seed {protocol['seed']}. Intervals: {result['interval']}."
    )


def _curves(result: Mapping[str, Any]) -> Markup:
    series = [
        _series(f"tuned, {name}", method["curve"], f"c{i + 1} d{i}")
        for i, (name, method) in enumerate(result["fine_tuned"].items())
    ]
    longest = max(method["steps"] for method in result["fine_tuned"].values())
    scratch = result["scratch"]["curve"]
    early = [point for point in scratch if point["steps"] <= 1.5 * longest]
    if len(early) > 1:
        series.append(_series("scratch", early, "c4 d3"))
    final = Level("scratch's end", result["scratch"]["final"]["mean"], "exact")
    drawing = line_chart(
        "Mean return of an exam against the environment steps in a new task",
        "; ".join(f"{s.label}: {s.y[-1]:.4g} after {s.x[-1]:,} steps" for s in series),
        series,
        Axes("environment steps in a new task", "mean return of an episode"),
        [final],
    )
    return figure(
        "curves",
        drawing,
        element("strong", "In the new tasks. "),
        "The first point is zero-shot: the policy of the known tasks as it is. The level is where learning "
        f"from scratch ends after {result['scratch']['steps']:,} steps; a random agent earns "
        f"{number(result['random'])}.",
    )


def _series(label: str, curve: Sequence[Mapping[str, Any]], look: str) -> Series:
    columns = {name: [point[name] for point in curve] for name in ("steps", "mean", "low", "high")}
    bounded = all(x is not None for x in columns["low"])
    bounds = (columns["low"], columns["high"]) if bounded else ((), ())
    return Series(label, columns["steps"], columns["mean"], look, *bounds, dots=True)


def _table(result: Mapping[str, Any]) -> Markup:
    scratch = result["scratch"]
    zero_less = Estimate.read(scratch["zero_shot_less_scratch"]).full()
    rows = [["zero-shot", "0", Estimate.read(result["zero_shot"]).full(), "–", zero_less, "–", "–", "–"]]
    for name, method in result["fine_tuned"].items():
        reached, over = method["steps_to_scratch"], method["gain_over_no_penalty"]
        rows.append(
            [
                f"fine-tuned, {name}",
                f"{method['steps']:,}",
                Estimate.read(method["final"]).full(),
                Estimate.read(method["gain"]).full(),
                Estimate.read(method["less_scratch"]).full(),
                "–" if over is None else Estimate.read(over).full(),
                "–" if reached is None else f"{reached:,}",
                Estimate.read(method["guarded"]).full(),
            ]
        )
    rows.append(["from scratch", f"{scratch['steps']:,}", Estimate.read(scratch["final"]).full(), *"–––––"])
    head = [
        "",
        "steps",
        "return",
        "gain",
        "less from scratch",
        "by the penalty",
        "like from scratch at",
        "with the guard",
    ]
    return table("Returns in the new tasks", head, rows)


def _coefficients(result: Mapping[str, Any]) -> Markup | None:
    rows = [
        [penalty, f"{float(c):g}", number(mean), "chosen" if float(c) == chosen["coefficient"] else ""]
        for penalty, chosen in result["coefficients"].items()
        for c, mean in chosen.get("validation_returns", {}).items()
    ]
    if not rows:
        return None
    return table("Strength of each penalty, by validation tasks alone", ["", "coefficient", "return", ""], rows)


def _guard(name: str, method: Mapping[str, Any]) -> Markup:
    reasons = [element("li", f"task {i}: {reason}") for i, reason in enumerate(method["guard"]["reason"])]
    told = f"Fine-tuned, {name}: {method['num_kept']} of {len(reasons)} kept"
    return folded(told, element("ul", *reasons))


def _forgetting(result: Mapping[str, Any]) -> Markup | None:
    if result["forgetting"] is None:
        return None
    series = []
    for i, (name, found) in enumerate(result["forgetting"].items()):
        known = np.asarray(found["known"]).mean(1)
        series.append(Series(name, list(range(len(known))), known.tolist(), f"c{i + 1} d{i}", dots=True))
    drawing = line_chart(
        "Mean return in the known tasks against the new tasks lived through",
        "; ".join(f"{s.label}: {s.y[0]:.4g} before, {s.y[-1]:.4g} after {len(s.y) - 1}" for s in series),
        series,
        Axes("new tasks lived through", "mean return in the known tasks", whole_x=True),
        [],
    )
    return figure(
        "forgetting",
        drawing,
        element("strong", "Forgetting. "),
        "One policy is fine-tuned in one new task after another; what it still earns in the known ones.",
    )
