"""Runs as methods: which are seeds of one, what is said over seeds, what the page and the terminal show."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quickstudy.cli import main
from quickstudy.greedy import Greedy
from quickstudy.maths.statistics import mean_interval
from quickstudy.registry import name_of
from quickstudy.reporting import RunSummary, compare_page
from quickstudy.reporting.comparison import look
from quickstudy.reporting.method_words import interval_meaning, repetitions, unequal_steps
from quickstudy.reporting.methods import Method, over_seeds, seed_methods
from quickstudy.tables import print_comparison
from tests import reporting_examples as examples
from tests.test_report_browser import (
    CHROMIUM,
    DESKTOP,
    LEAST_TEXT,
    MEASURE,
    SCHEMES,
    SMALL_PHONE,
    frame,
    told_by,
)
from tests.test_reporting import Outline, svgs

GREEDY = {"type": name_of("agent", Greedy), "agent": {"type": "rl2"}}


def seeded(seed: int | None, first: float = 1.0, last: float = 2.0, **changes: Any) -> RunSummary:
    """A run of four episodes; dotted names of settings, with double underscores, change its experiment."""
    stored = examples.evaluation(4) | {"episodes": examples.curve(first, last, 1.0, 4), "references": {}}
    stored["total"] = examples.estimate(sum(episode["mean"] for episode in stored["episodes"]), 0.1)
    settings: dict[str, Any] = examples.experiment() | {"seed": seed}
    for name, value in changes.items():
        part, _, field = name.partition("__")
        settings[part] = settings[part] | {field: value} if field else value
    columns = {name: column[:12] for name, column in examples.metrics(50).items()}
    return examples.run(name=f"seed{seed}", experiment=settings, evaluation=stored, metrics=columns)


def several(num_seeds: int, mean: float, spread: float = 0.1, **changes: Any) -> list[RunSummary]:
    random = np.random.default_rng(round(100 * mean))
    lasts = mean + spread * random.normal(size=num_seeds)
    return [seeded(seed, 0.5, last, **changes) for seed, last in enumerate(lasts)]


def unevaluated(seed: int, **changes: Any) -> RunSummary:
    run = seeded(seed, **changes)
    return examples.run(experiment=run.experiment, evaluation=None, metrics=run.metrics)


def trained_for(seed: int, share: float, last: float = 2.0, **changes: Any) -> RunSummary:
    """A run with another number of environment steps in each update."""
    run = seeded(seed, 0.5, last, **changes)
    run.metrics["env_steps"][:] = [share * steps for steps in run.metrics["env_steps"]]
    return run


def twelve_methods(num_seeds: int = 3) -> list[RunSummary]:
    agents, outers = ("maml", "anil", "rl2", "varibad"), ("trpo", "ppo", "evolution")
    runs = []
    for index, (agent, outer) in enumerate(itertools.product(agents, outers)):
        changes = {"agent__type": agent, "outer__type": outer}
        runs += several(num_seeds, 1.0 + 0.07 * index, 0.03, **changes)
    return runs


TWELVE = compare_page(twelve_methods())
CURVES = ("Return of each episode of a trial", "Return over environment steps")


def keyed(runs: list[RunSummary]) -> dict[str, Method]:
    return {method.key: method for method in seed_methods(runs)}


def test_only_seeds_of_one_experiment_are_one_method() -> None:
    other_machine = seeded(2, machine={"device": "gpu"}, fingerprint={"digest": "other"}, versions={})
    others = [seeded(3, outer__clip=0.3), seeded(4, num_tasks=2)]
    methods = seed_methods([seeded(0), seeded(1), other_machine, *others])
    assert sorted(len(method.runs) for method in methods) == [1, 1, 3]


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [seeded(0)],
        [seeded(0), seeded(1, agent__hidden_size=32)],
        # The same seed again is no second seed, and without a name it is none either.
        [seeded(0), seeded(0)],
        [seeded(None), seeded(None)],
    ],
)
def test_without_a_second_seed_there_are_no_methods(runs: list[RunSummary]) -> None:
    assert seed_methods(runs) == []


def test_a_seed_counts_once() -> None:
    first = seeded(1)
    repeated = examples.run(name="again", experiment=first.experiment, evaluation=seeded(1, 0, 9).evaluation)
    (method,) = seed_methods([seeded(0), seeded(1), repeated])
    assert [run.name for run in method.runs] == ["seed0", "seed1"]
    assert method.total.mean == pytest.approx(seeded(1).estimate("total").mean)
    assert "not counted again: again (seed 1 of A)." in repetitions([method])
    page = Outline(compare_page([seeded(0), seeded(1), repeated])).text
    assert "again (seed 1 of A)" in page
    assert "A3" in page


def test_over_seeds_by_hand() -> None:
    assert over_seeds([4.0])[0] == 4.0
    assert not over_seeds([4.0]).bounded
    assert over_seeds([4.0, 1.0]) == (2.5, 1.0, 4.0)
    # Of all 27 resamples of three, the lowest is three times the lowest seed, and 1 of 27 is more than 2.5%.
    assert over_seeds([4.0, 1.0, 1.0]) == pytest.approx((2.0, 1.0, 4.0))
    five = [1.0, 2.0, 4.0, 4.5, 7.0]
    assert over_seeds([*five, math.nan]) == pytest.approx(tuple(map(float, mean_interval(np.array(five)))))
    assert not over_seeds([math.nan]).known


def test_a_methods_numbers_are_means_over_its_seeds() -> None:
    runs = [seeded(0, 1, 2), seeded(1, 2, 4), seeded(2, 0, 3)]
    (method,) = seed_methods([*runs, unevaluated(3)])
    assert method.total == over_seeds([run.estimate("total").mean for run in runs])
    assert [episode.mean for episode in (method.episodes[0], method.episodes[-1])] == pytest.approx(
        [np.mean([run.episodes[index].mean for run in runs]) for index in (0, -1)]
    )
    assert method.seconds == pytest.approx(8 + 12 * 0.11)
    assert (len(method.runs), len(method.evaluated)) == (4, 3)


def test_learning_is_averaged_where_all_seeds_were_measured() -> None:
    runs = [seeded(0), seeded(1), seeded(2)]
    for run, level in zip(runs, (1.0, 2.0, 6.0), strict=True):
        run.metrics["eval_return"][:] = [level] * 6 + [math.nan] * 5 + [level]
    # The last seed was stopped early.
    runs[2].metrics.update({name: column[:4] for name, column in runs[2].metrics.items()})
    (method,) = seed_methods(runs)
    steps, estimates = method.learning
    assert steps == runs[0].metrics["env_steps"][:4]
    assert [estimate.mean for estimate in estimates] == pytest.approx([3.0] * 4)
    assert method.env_steps == (4 * 10240, 12 * 10240)
    for run in runs:
        run.metrics["eval_return"][:] = [math.nan] * len(run.metrics["update"])
        run.metrics["return"][:] = [5.0] * len(run.metrics["update"])
    assert [estimate.mean for estimate in method.learning[1]] == [5.0] * 4


def test_the_best_is_first_and_the_unknown_last() -> None:
    better, worse = several(2, 3.0, agent__core="lstm"), several(3, 1.0)
    methods = seed_methods([unevaluated(0, num_tasks=7), *worse, *better])
    assert [method.key for method in methods] == ["A", "B", "C"]
    assert [len(method.evaluated) for method in methods] == [2, 3, 0]


def test_names_tell_methods_apart_with_few_settings() -> None:
    plain = {"agent__type": "maml", "outer__type": "ppo", "agent__estimator": "dice", "outer__clip": 0.2}
    runs = [
        *several(2, 5.0, **plain),
        # A published method has its own name.
        *several(2, 4.0, **{**plain, "agent__estimator": "lvc"}),
        # Three settings differ, and one of them is enough.
        *several(2, 3.5, **{**plain, "agent__estimator": "reinforce", "outer__clip": 0.3, "num_tasks": 8}),
        *several(2, 3.0, agent__type="maml", outer__type="trpo"),
        *several(2, 2.0, env__num_arms=10, outer__learning_rate=0.1),
        *several(2, 1.0, env__num_arms=10, agent__learning_rate=0.2),
        *several(2, 0.5, outer={"type": "sac"}, agent={"type": "maml", "core": {"type": "gru"}}),
        *several(2, 0.4, outer={"type": "sac"}, agent={"type": "maml", "core": {"type": "lstm"}}),
    ]
    assert [method.name for method in seed_methods(runs)] == [
        "maml, ppo, estimator dice",
        "promp, ppo",
        "maml, ppo, estimator reinforce",
        "maml, trpo",
        "rl2, ppo, learning_rate 0.1",
        "rl2, ppo, learning_rate 0.003",
        "maml, sac, core gru",
        "maml, sac, core lstm",
    ]


def test_intervals_are_told_for_what_they_are() -> None:
    three, two, one = several(3, 3.0), several(2, 2.0, num_tasks=2), [seeded(0, 0, 1, num_tasks=3)]
    methods = seed_methods([*three, *two, *one])
    assert interval_meaning(methods) == (
        "Intervals: 95%, bootstrap over seeds. Only three seeds (A): too narrow, about lowest … highest. "
        "Only two seeds (B): lowest … highest, no interval. Only one seed (C): no interval."
    )
    text = Outline(compare_page([*three, *two, *one])).text
    assert interval_meaning(methods) in text
    assert interval_meaning(seed_methods(several(5, 1.0))) == "Intervals: 95%, bootstrap over seeds."
    assert ", two seeds" in text
    assert "one seed" in text
    assert "A (rl2, ppo, num_tasks 1024) has the highest total return of a trial:" in text
    assert "over 3 seeds." in text
    alone = Outline(compare_page([*several(2, 3.0), *several(3, 1.0, num_tasks=2)])).text
    assert "over fewer than 3 seeds" in alone


def test_unequal_environment_steps_are_named() -> None:
    equal = [*several(2, 3.0), *several(2, 2.0, num_tasks=2), trained_for(0, 1.009, num_tasks=3)]
    assert unequal_steps(seed_methods(equal)) == ""
    longer = [*several(2, 3.0), *several(2, 2.0, num_tasks=2), trained_for(0, 2, num_tasks=3)]
    keys = {len(method.runs): key for key, method in keyed(longer).items()}
    said = f"Not at equal environment steps: {keys[1]} 246k, the others 123k."
    assert unequal_steps(seed_methods(longer)) == said
    assert said in Outline(compare_page(longer)).text
    two = seed_methods([*several(2, 3.0), trained_for(0, 2, last=0, num_tasks=3)])
    assert unequal_steps(two) == "Not at equal environment steps: A 123k, B 246k."
    stopped = seed_methods([*several(2, 3.0), *several(2, 1.0, num_tasks=2), trained_for(2, 0.5, last=3)])
    assert unequal_steps(stopped) == "Not at equal environment steps: A 61.4k … 123k, B 123k."
    untrained = several(2, 3.0)
    for run in untrained:
        run.metrics.clear()
    assert unequal_steps(seed_methods([*untrained, *several(2, 1.0, num_tasks=2)])) == ""


def test_greedy_evaluations_are_another_method_under_other_conditions() -> None:
    drawn, greedy = several(3, 2.0), several(3, 1.0)
    for run in greedy:
        assert run.evaluation is not None
        run.evaluation["protocol"]["agent"] = GREEDY
    outline = Outline(compare_page([*drawn, *greedy]))
    assert outline.lines[0] == "Not comparable."
    assert "evaluation actions: A drawn, B greedy" in outline.text
    assert [method.name for method in seed_methods([*drawn, *greedy])] == [
        "rl2, ppo, actions drawn",
        "rl2, ppo, actions greedy",
    ]
    single = Outline(compare_page([drawn[0], greedy[0]])).text
    assert "evaluation actions: A drawn, B greedy" in single
    assert "has the highest total" not in single


def test_conditions_are_told_once_a_method() -> None:
    runs = [*several(3, 2.0), *several(3, 1.0, num_tasks=2)]
    for run in runs[3:]:
        assert run.evaluation is not None
        run.evaluation["num_tasks"] = 500
    assert "evaluation tasks: A 10000, B 500" in Outline(compare_page(runs)).lines


def test_twelve_methods_have_a_table_three_figures_and_looks_of_their_own() -> None:
    outline = Outline(TWELVE)
    assert set(outline.ids) == {"methods-adaptation", "methods-totals", "methods-learning"}
    assert "36 runs are too many to draw one by one" in outline.text
    assert "All 36 runs" in outline.text
    adaptation, learning = (next(x for x in svgs(TWELVE) if f"{name}, 12 methods" in x) for name in CURVES)
    for drawing in (adaptation, learning):
        looks = re.findall(r'<polyline points="[^"]*" class="curve ([^"]*)"', drawing)
        assert set(looks) == {look(index) for index in range(12)}
        assert len(looks) == 12
    assert adaptation.count("<polygon") == 12
    assert outline.text.index("A varibad, evolution") < outline.text.index("L maml, trpo")


def test_few_runs_are_drawn_below_their_methods() -> None:
    outline = Outline(compare_page([*several(2, 2.0), *several(3, 1.0, num_tasks=2)]))
    assert set(outline.ids) >= {"methods-adaptation", "adaptation", "totals", "learning"}
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.text.index("Methods") < outline.text.index("Single runs") < outline.text.index("A2 rl2")
    assert "Settings in which methods of one agent and outer loop differ" in outline.text
    assert "num_tasks 1024 2" in outline.text


def test_bad_numbers_break_nothing() -> None:
    seeds = [{**run.experiment, "seed": seed} for run in examples.every_run().values() for seed in (1, 2)]
    runs = [run for run in examples.every_run().values() for _ in (1, 2)]
    pairs = [
        RunSummary(run.name, settings, run.evaluation, run.metrics, run.command)
        for run, settings in zip(runs, seeds, strict=True)
    ]
    text = Outline(compare_page(pairs)).text
    assert "methods compared" in text
    assert "nan" not in text.lower().split()


def test_terminal_has_one_row_a_method(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison([*several(3, 2.0), *several(2, 1.0, outer__type="trpo"), unevaluated(9, num_tasks=2)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:] if re.match(" [A-Z] ", line)] == ["A", "B", "C"]
    assert next(line for line in lines if line.startswith(" B")).split()[:4] == ["B", "rl2,", "trpo", "2"]
    assert any("Only two seeds (B): lowest … highest, no interval." in line for line in lines)
    assert not any("Not comparable" in line for line in lines)
    print_comparison([*several(3, 2.0), seeded(0, 0, 1, env={"type": "bandit", "num_arms": 2})])
    assert "Not comparable: environment.num_arms: A 5, B 2" in capsys.readouterr().out


def test_single_seeds_are_told_run_by_run(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison([seeded(0), seeded(0, num_tasks=2)])
    out = capsys.readouterr().out
    assert out.count("seed0") == 2
    assert "over seeds" not in out


def test_compare_groups_run_directories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, run in enumerate(several(3, 2.0)):
        directory = tmp_path / f"seed{seed}"
        directory.mkdir()
        (directory / "experiment.json").write_text(json.dumps(run.experiment))
        (directory / "evaluation.json").write_text(json.dumps(run.evaluation))
    page = tmp_path / "comparison.html"
    assert main(["compare", *(str(tmp_path / f"seed{seed}") for seed in range(3)), "--out", str(page)]) == 0
    assert "A rl2, ppo" in capsys.readouterr().out
    text = Outline(page.read_text(encoding="utf-8")).text
    assert "Seeds of one method: rl2, ppo A (rl2, ppo), total return of a trial:" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_twelve_methods_fit_and_are_drawn(tmp_path: Path, scheme: str) -> None:
    frames = "".join(frame("twelve", TWELVE, width) for width in (DESKTOP, SMALL_PHONE))
    for found in told_by(tmp_path, MEASURE, frames, scheme):
        assert found["overflow"] <= 0
        assert (found["cut"], found["undrawn"], found["colourless"], found["charts"]) == ([], [], 0, 3)
        assert found["smallest"] >= LEAST_TEXT
