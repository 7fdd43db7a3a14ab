"""The report and the comparison: well-formed, self-contained, honest, and unbroken by bad data."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import math
import re
import shlex
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quickstudy.errors import InputError
from quickstudy.reporting import RunSummary, compare_page, load_summary, report_page
from quickstudy.reporting.command import repeat_command
from quickstudy.reporting.trials import read_trial, trial_figure
from tests import reporting_examples as examples

RUNS = examples.every_run()
VOID = {"meta", "link", "br", "img", "source"}


def compared(*runs: RunSummary) -> str:
    return compare_page(list(runs))


PAGES = {name: report_page(run) for name, run in RUNS.items()} | {
    "compare": compared(RUNS["realistic"], RUNS["failed"], RUNS["not_evaluated"]),
    "compare_everything": compared(*RUNS.values()),
    "compare_many": compared(*[RUNS["realistic"]] * 30),
}


class Outline(HTMLParser):
    """The elements of a page, with every tag's end checked, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.lines: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and not {"style", "title", "desc"} & set(self.open):
            self.lines.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(self.lines)


def svgs(page: str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_well_formed(name: str) -> None:
    outline = Outline(PAGES[name])
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.tags.count("h1") == 1
    for drawing in svgs(PAGES[name]):
        ElementTree.fromstring(drawing)


@pytest.mark.parametrize("name", PAGES)
def test_page_refers_to_nothing_outside_itself(name: str) -> None:
    page = PAGES[name]
    for address in ("http://", "https://", "url(", "@import", "<script", "<iframe", "javascript:"):
        assert address not in page
    outline = Outline(page)
    sources = [value or "" for attribute, value in outline.attributes if "src" in attribute]
    assert len(sources) == 2 * page.count("<picture>")
    for source in sources:
        assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", source)
    assert [value for attribute, value in outline.attributes if attribute == "href"] == ["data:,"]
    assert not [attribute for attribute, _ in outline.attributes if attribute.startswith("on")]


@pytest.mark.parametrize("name", PAGES)
def test_no_broken_number_reaches_a_drawing(name: str) -> None:
    for drawing in svgs(PAGES[name]):
        for node in ElementTree.fromstring(drawing).iter():
            for attribute in (
                "x",
                "y",
                "x1",
                "x2",
                "y1",
                "y2",
                "cx",
                "cy",
                "r",
                "points",
                "d",
                "viewBox",
                "width",
            ):
                assert not re.search("nan|inf|None", node.get(attribute, ""))
    assert not re.search(r"\b(nan|inf|None)\b", " ".join(Outline(PAGES[name]).lines[:60]))


@pytest.mark.parametrize("name", PAGES)
def test_every_drawing_has_a_name_and_every_figure_a_caption(name: str) -> None:
    for drawing in map(ElementTree.fromstring, svgs(PAGES[name])):
        described = (
            drawing.get("role") == "img" and drawing.get("aria-label") and drawing.find("desc") is not None
        )
        assert described or drawing.get("aria-hidden") == "true"
    outline = Outline(PAGES[name])
    assert outline.tags.count("figure") == outline.tags.count("figcaption")


@pytest.mark.parametrize(
    "name", ["realistic", "failed", "broken_numbers", "hostile", "continuous", "long_trials"]
)
def test_report_has_every_figure(name: str) -> None:
    assert {"adaptation", "totals", "learning", "diagnostics", "trials", "trial-1"} <= set(
        Outline(PAGES[name]).ids
    )


def test_report_has_every_figure_that_its_run_can_have() -> None:
    assert {"learning", "diagnostics"} <= set(Outline(PAGES["not_evaluated"]).ids)
    assert not {"adaptation", "totals", "trials"} & set(Outline(PAGES["not_evaluated"]).ids)
    assert {"adaptation", "totals", "learning"} <= set(Outline(PAGES["single_episode"]).ids)
    assert {"adaptation", "totals", "learning"} <= set(Outline(PAGES["compare"]).ids)


def test_learning_nothing_is_the_first_line() -> None:
    lines = Outline(PAGES["failed"]).lines
    assert lines[0] == "Learned nothing."
    assert lines[1] == examples.FAILURE.removeprefix("Learned nothing: ")
    assert "<title>Learned nothing: rl2 on bandit</title>" in PAGES["failed"]


def test_a_verdict_of_another_form_is_still_told() -> None:
    stored = examples.evaluation() | {"verdict": {"learned": False, "text": "No better than chance."}}
    lines = Outline(report_page(examples.run(evaluation=stored))).lines
    assert lines[:2] == ["Learned nothing.", "No better than chance."]


def test_learning_is_the_line_below_the_title() -> None:
    lines = Outline(PAGES["realistic"]).lines
    assert lines[:2] == ["rl2 on bandit", "Learned to learn."]
    assert lines[2].startswith("6.617 [6.572, 6.662] over the trial")


def test_headline_figures_have_their_intervals() -> None:
    text = Outline(PAGES["realistic"]).text
    assert "Total return of a trial 6.62 95% [6.57, 6.66]" in text
    assert "Gain, last minus first episode +0.224 95% [0.211, 0.236]" in text
    assert "Distance to the optimum 0.6% 95% [0.0, 1.3]" in text
    assert "Environment steps 4.1M at 93k steps/s" in text
    assert "which includes 0" in Outline(PAGES["failed"]).text
    assert "one episode: nothing to compare" in Outline(PAGES["single_episode"]).text
    assert "Success at any time 83.0% 95% [82.0, 84.0]" in Outline(PAGES["single_episode"]).text


def test_what_is_missing_before_an_evaluation_is_said() -> None:
    text = Outline(PAGES["not_evaluated"]).text
    assert "Not evaluated yet." in text
    assert "quickstudy evaluate DIR --save" in text


def test_texts_from_data_are_escaped() -> None:
    page = PAGES["hostile"]
    assert "<b>" not in page
    assert "\x00" not in page
    assert page.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") > 10


def test_report_says_how_to_repeat_the_run() -> None:
    text = Outline(PAGES["realistic"]).text
    for told in ("quickstudy train rl2 bandit", "outer.learning_rate", "0.003", "versions.jax", "0.10.2"):
        assert told in text
    assert "percentile bootstrap over tasks, 1000 resamples" in text


def test_long_trials_are_cut_and_it_is_said() -> None:
    page = PAGES["long_trials"]
    assert "The first 200 of 1,000 steps" in Outline(page).text
    first = next(drawing for drawing in svgs(page) if "Trial 1, step by step" in drawing)
    assert first.count("<circle") == 200


def test_trial_marks_follow_actions_and_rewards() -> None:
    steps = [(0, 1, 1.0), (0, 0, 0.0), (1, 1, -2.0), (1, 1, 4.0)]
    stored = [{"episode": e, "action": a, "reward": r} for e, a, r in steps]
    trial = read_trial({"task": "two arms", "labels": ["p = 0.1", "p = 0.9"], "steps": stored})
    assert trial is not None
    assert trial.boundaries == [2]
    assert trial.best == 1
    page = trial_figure(trial, 1)
    marks = ElementTree.fromstring(svgs(page)[0]).findall("circle")
    assert [mark.get("class") for mark in marks] == ["reward", "no-reward", "reward"]
    assert float(marks[2].get("r", "0")) > float(marks[0].get("r", "0"))
    assert marks[0].get("cy") == marks[2].get("cy") != marks[1].get("cy")
    assert page.count('class="loss"') == 1
    assert "best action in 2 of 2 steps" in page


def test_continuous_and_many_actions_become_a_line() -> None:
    reward_lines = [drawing for drawing in svgs(PAGES["continuous"]) if "reward of each step" in drawing]
    assert len(reward_lines) == 1
    assert reward_lines[0].count('class="boundary"') == 1
    assert "Trial 3, reward of each step" in PAGES["long_trials"]


def test_first_and_last_episode_stand_side_by_side() -> None:
    page = PAGES["continuous"]
    outline = Outline(page)
    text, attributes = outline.text, dict(outline.attributes)
    assert text.index("First and last episode") < text.index("Trials, step by step")
    assert "Episode 1: return −40.4 Episode 3: return −4 goal at (0.31, −0.44) . The first" in text
    assert "12 and 8 steps. One picture a step." in text
    assert attributes["alt"] == (
        "The agent in the first held-out trial, goal at (0.31, −0.44). "
        "Left, episode 1: return −40.4 in 12 steps. Right, episode 3: return −4 in 8 steps."
    )
    assert "prefers-reduced-motion: reduce" in str(attributes["media"])
    moving, still = (base64.b64decode(str(attributes[name]).split(",")[1]) for name in ("src", "srcset"))
    assert moving == RUNS["continuous"].animation
    assert Image.open(io.BytesIO(still)).size == (248, 248)


def test_without_an_animation_there_is_no_section_and_a_damaged_one_is_told() -> None:
    assert "First and last episode" not in PAGES["realistic"]
    outline = Outline(report_page(examples.run(animation=b"no picture")))
    assert "img" not in outline.tags
    assert "episodes.png: cannot be read as an animation" in outline.text
    assert "`quickstudy evaluate DIR --save` draws it again" in outline.text
    alone = Outline(report_page(examples.run(animation=examples.animation(returns=(2.0,)))))
    assert "The only episode Episode 1: return 2" in alone.text
    assert "First and last episode" not in alone.text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s, e: (s["env"].update(num_arms=10), None), "environment.num_arms: A 5, B 10"),
        (lambda s, e: (e["protocol"]["trial"].update(num_episodes=20), None), "trial.num_episodes: A 10, B 20"),
        (lambda s, e: (e.update(num_tasks=1000), None), "evaluation tasks: A 10000, B 1000"),
        (lambda s, e: (e.update(seed=7), None), "evaluation seed: A 0, B 7"),
        (lambda s, e: (s["fingerprint"].update(digest="other"), None), "environment fingerprint: A 5c1b"),
    ],
)
def test_incomparable_runs_are_the_first_line(change, named: str) -> None:
    settings, stored = examples.experiment(), examples.evaluation()
    change(settings, stored)
    other = examples.run(experiment=settings, evaluation=stored)
    outline = Outline(compared(RUNS["realistic"], other))
    assert outline.lines[0] == "Not comparable."
    assert named in outline.text
    assert "has the highest total" not in outline.text


def test_comparable_runs_have_no_warning() -> None:
    outline = Outline(PAGES["compare"])
    assert "Not comparable" not in outline.text
    assert outline.lines[1].startswith("A (rl2) has the highest total return of a trial: 6.62 [6.57, 6.66].")
    assert "bayes-optimal" in outline.text
    trained_longer = examples.experiment()
    trained_longer["trial"]["num_episodes"] = 20
    text = Outline(compared(RUNS["realistic"], examples.run(experiment=trained_longer))).text
    assert "Not comparable: training trial.num_episodes: A 10, B 20." in text
    assert "has the highest total" in text


def test_overlapping_intervals_are_said() -> None:
    near = examples.evaluation() | {"total": examples.estimate(6.6, 0.045)}
    assert "Its interval overlaps that of B." in compared(RUNS["realistic"], examples.run(evaluation=near))
    assert "overlaps" not in compared(RUNS["realistic"], RUNS["failed"])


def test_load_summary_reads_a_run_directory(tmp_path: Path) -> None:
    (tmp_path / "experiment.json").write_text(json.dumps(examples.experiment()))
    bare = load_summary(tmp_path)
    assert (bare.evaluation, bare.metrics, bare.name) == (None, {}, tmp_path.name)
    (tmp_path / "evaluation.json").write_text(json.dumps(examples.evaluation()))
    # The last row was cut off: its numbers may be cut off too.
    (tmp_path / "metrics.csv").write_text("update,return,eval_return\r\n1,5.0,\r\n2,nan,5.5\r\n3,6.0")
    summary = load_summary(tmp_path)
    np.testing.assert_equal(summary.metrics["update"], [1, 2])
    np.testing.assert_equal(summary.metrics["return"], [5.0, math.nan])
    np.testing.assert_equal(summary.metrics["eval_return"], [math.nan, 5.5])
    assert (summary.agent, summary.env, summary.outer, summary.learned) == ("rl2", "bandit", "ppo", True)
    assert summary.animation is None
    Outline(report_page(summary))
    (tmp_path / "episodes.png").write_bytes(examples.animation())
    assert "<picture>" in report_page(load_summary(tmp_path))


def test_load_summary_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        load_summary(tmp_path)
    (tmp_path / "experiment.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        load_summary(tmp_path)
    (tmp_path / "experiment.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object"):
        load_summary(tmp_path)


def test_repeat_command_builds_the_same_experiment() -> None:
    from quickstudy.arguments import option, parse
    from quickstudy.cli import TrainOptions
    from quickstudy.experiment import to_dict
    from quickstudy.presets import preset

    tuned = preset("rl2", "bandit", None)
    outer_loop = dataclasses.replace(tuned.outer, clip=0.17, normalise_advantages=False)
    experiment = dataclasses.replace(tuned, seed=5, outer=outer_loop)
    command = shlex.split(repeat_command(to_dict(experiment)).replace("\\\n", ""))
    assert command[:4] == ["quickstudy", "train", "rl2", "bandit"]
    outer, arguments = option(command[4:], "--outer")
    assert parse(TrainOptions(preset("rl2", "bandit", outer)), arguments, "test").experiment == experiment


def test_repeat_command_needs_all_three_names() -> None:
    assert repeat_command({}) == ""
    assert repeat_command(examples.experiment() | {"outer": None}) == ""
