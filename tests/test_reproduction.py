"""Published tables beside ours: what is trained, kept, refused, measured and shown."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from quickstudy import references
from quickstudy.cli import main
from quickstudy.envs.two_step import TwoStep
from quickstudy.errors import InputError
from quickstudy.experiment import from_record, to_record
from quickstudy.files import read_json, write_json
from quickstudy.reproduction import STUDIES, page, reproduce
from quickstudy.reproduction.gathering import gathered
from quickstudy.reproduction.measuring import measured, reference_agents
from quickstudy.reproduction.published import TABLES, Cell, Limit, Study
from quickstudy.reproduction.recipes import RECIPES, Recipe, recipe
from quickstudy.reproduction.rows import held_out_words, method_rows, trained_by, verdict
from quickstudy.reproduction.run import chosen_cells
from quickstudy.run import Run
from quickstudy.types import TrialShape
from tests.runs import assert_same_arrays, final_arrays
from tests.test_report_browser import (
    CHROMIUM,
    DESKTOP,
    LEAST_TEXT,
    MEASURE,
    SCHEMES,
    SMALL_PHONE,
    TABLET,
    frame,
    told_by,
)

ENV, TRIAL = TwoStep(num_choices=4), TrialShape(num_episodes=1)
TINY = Study(
    name="tiny",
    title="A tiny table",
    source="Nobody 1900",
    setting="four choices",
    env="two-step",
    cells=(
        Cell("c4", "4 choices", ENV, TRIAL, {"random": 2.0, "snail": 2.5}, Limit(3.0, 3.0), {"snail": 0.1}),
        Cell("c5", "5 choices", TwoStep(num_choices=5), TRIAL, {}, Limit(3.0)),
    ),
    num_test_tasks=64,
    num_reference_tasks=32,
    num_seeds=2,
    also="signature",
    num_different=2,
)
SMALL = Recipe(
    agent={"hidden_size": 8},
    fields={
        "num_tasks": 32, "num_updates": 10, "log_every": 5, "evaluate_every": 5, "num_validation_tasks": 32,
        "num_test_tasks": 32,
    },
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def tiny_study():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STUDIES, "tiny", TINY)
        patch.setitem(RECIPES, ("tiny", "c4"), SMALL)
        patch.setitem(RECIPES, ("tiny", "c5"), SMALL)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A reproduction of one cell with two seeds, and what was said on the way."""
    directory, said = tmp_path_factory.mktemp("reproduction") / "tiny", []
    result = reproduce(TINY, directory, cells=["c4"], progress=False, say=said.append)
    return directory, result, said


@pytest.fixture
def copy(done, tmp_path):
    return shutil.copytree(done[0], tmp_path / "tiny")


def again(directory, **changes):
    said = []
    result = reproduce(TINY, directory, cells=["c4"], progress=False, say=said.append, **changes)
    return result, said


def test_numbers_as_published():
    bandits, mdps = TABLES["rl2-bandits"], TABLES["rl2-mdps"]
    assert bandits.cell("n10-k5").rows["rl2"] == 6.7
    assert bandits.cell("n10-k50").rows["optimistic-thompson"] == 5.5
    assert bandits.cell("n100-k10").rows["gittins"] == 82.8
    assert bandits.cell("n100-k50").limit == Limit(85.54, 86.18)
    assert bandits.cell("n500-k5").rows["snail"] == 408.1
    assert bandits.cell("n500-k5").margins["snail"] == 4.9
    assert "maml" not in bandits.cell("n500-k10").rows
    assert bandits.cell("n500-k50").rows["ucb1"] == 457.6
    assert mdps.cell("n10").rows["beb"] == 150.2
    assert mdps.cell("n25").rows["epsilon-greedy-planner"] == 377.3
    assert mdps.cell("n75").rows["rl2"] == 1428.8
    assert mdps.cell("n100").limit == Limit(2049.8, margin=2.2)
    assert TABLES["varibad-grid"].published_optimal == {"varibad": (4, 20), "rl2": (0, 20)}


@pytest.mark.parametrize("study", TABLES)
def test_every_cell_has_a_recipe_and_its_exact_limit(study):
    for cell in TABLES[study].cells:
        experiment = recipe(study, cell.name)
        assert (experiment.env, experiment.trial) == (cell.env, cell.trial)
        assert len(experiment.stages) == 1 + len(experiment.curriculum.lengths)
        if cell.limit.exact:
            best = references.optimum(cell.env, cell.trial)
            assert best is not None
            assert best.sum() == pytest.approx(cell.limit.low, abs=6e-4)


def estimate(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half}


@pytest.fixture
def bandits(tmp_path):
    """What two cells of a long reproduction leave behind, without the hours."""
    for name, best in (("n10-k5", 6.65), ("n100-k50", 85.3)):
        cell = TABLES["rl2-bandits"].cell(name)
        measured = {learner: estimate(mean, 0.02) for learner, mean in cell.rows.items() if learner != "maml"}
        for seed in range(5):
            run = tmp_path / name / f"seed{seed}"
            run.mkdir(parents=True)
            (run / "metrics.csv").write_text("update,env_steps,seconds\n1000,102400000,700.0\n")
            write_json(run / "experiment.json", to_record(recipe("rl2-bandits", name)))
            total = estimate(best * (1 - 0.002 * seed), 0.02)
            write_json(run / "measured.json", {"checkpoint": 1000, "num_tasks": 1000, "total": total})
        write_json(tmp_path / name / "references.json", {"num_tasks": 500, "rows": measured})
    return gathered(TABLES["rl2-bandits"], tmp_path, {"n10-k5": 3}, 1000)


def test_other_cells_of_the_directory_are_shown_too(bandits):
    assert [(entry["cell"], len(entry["runs"])) for entry in bandits["cells"]] == [
        ("n10-k5", 3),
        ("n100-k50", 5),
    ]
    ours = bandits["cells"][1]["ours"]
    assert ours["mean"] == pytest.approx(85.3 * 0.996)
    assert ours["low"] < ours["iqm"] < ours["high"] < ours["best"] == pytest.approx(85.3)
    assert bandits["cells"][1]["gap_percent"]["mean"] == pytest.approx(100 * (1 - 85.3 * 0.996 / 85.54))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_fit_and_are_drawn(done, bandits, tmp_path, scheme):
    pages = {"tiny": page(done[1]), "bandits": page(bandits)}
    widths = (DESKTOP, TABLET, SMALL_PHONE)
    frames = "".join(frame(name, text, width) for name, text in pages.items() for width in widths)
    for found in told_by(tmp_path, MEASURE, frames, scheme):
        where = f"{found['page']} at {found['width']} px, {scheme}"
        assert found["overflow"] <= 0, where
        assert found["cut"] == [], where
        assert found["undrawn"] == [], where
        assert found["smallest"] >= LEAST_TEXT, where
        assert found["charts"] == (4 if found["page"] == "tiny" else 2), where


def test_a_study_names_further_learners():
    study = TABLES["rl2-mdps"]
    agents = reference_agents(study, study.cell("n10"))
    assert {"random", "bayes-planner", "opsrl"} < set(agents)
    assert agents["psrl"].prior_mean is None
    assert agents["psrl, prior mean 0"].prior_mean == 0.0


def test_result_and_files(done):
    directory, result, said = done
    assert said == [
        "tiny c4, seed 0, run 1 of 2",
        said[1],
        "tiny c4, the classical learners",
    ]
    assert re.fullmatch(r"tiny c4, seed 1, run 2 of 2: about .* left", said[1])
    assert json.loads((directory / "reproduction.json").read_text()) == result
    (entry,) = result["cells"]
    assert [run["seed"] for run in entry["runs"]] == [0, 1]
    totals = [run["total"]["mean"] for run in entry["runs"]]
    ours = entry["ours"]
    assert ours["mean"] == pytest.approx(np.mean(totals))
    assert ours["best"] == max(totals)
    assert ours["low"] <= ours["mean"] <= ours["high"]
    # The stated limit is rounded; the computed one is not.
    best = references.optimum(ENV, TRIAL)
    assert best is not None
    assert entry["limit"]["low"] == pytest.approx(best.sum())
    assert entry["references"]["num_tasks"] == 32
    assert set(entry["references"]["rows"]) == {"random"}
    assert entry["experiment"]["num_updates"] == 10
    assert [run["evaluation_seed"] for run in entry["runs"]] == [0, 1]
    assert {"command", "versions", "machine", "interval"} <= set(result["protocol"])
    assert result["protocol"]["command"] == "quickstudy reproduce tiny --cells c4 --seeds 2 --num-test-tasks 64"
    for seed in (0, 1):
        assert (directory / "c4" / f"seed{seed}" / "report.html").is_file()


def test_a_start_by_imitation_is_said():
    experiment = {
        "agent": {"type": "rl2", "core": "gru"},
        "outer": {"type": "ppo"},
        "imitation": {"teacher": None},
    }
    entry = {"cell": "n10", "experiment": experiment}
    assert trained_by(entry) == "n10, ours: rl2 with the core gru, by ppo"
    experiment["imitation"] = {"teacher": "gittins", "share": 0.9}
    assert trained_by(entry).endswith(", which imitated gittins for the first 90% of the updates")
    experiment["imitation"] = {"teacher": "gittins", "share": 1.0}
    assert trained_by(entry) == (
        "n10, ours: rl2 with the core gru, which imitated gittins for all the updates, without reinforcement"
    )


def test_page(done):
    _, result, _ = done
    text = page(result)
    assert text == (done[0] / "reproduction.html").read_text()
    for words in ("A tiny table, reproduced", "Nobody 1900", "snail", "2.5 ± 0.1", "seed 1", "rewarded, rare"):
        assert words in text
    assert "<script" not in text
    assert not re.search(r"""(?:src|href)=["'](?!data:)""", text)
    assert text.count("<svg") >= 1 + 3


def test_rows_and_verdict(done):
    entry = done[1]["cells"][0]
    rows = {row[0]: row[1:] for row in method_rows(entry)}
    assert rows["snail"] == ["2.5 ± 0.1", ""]
    assert rows["random"][0] == "2.0"
    assert "exact" in rows["limit"][1]
    assert "ours, best of 2 seeds" in rows
    said = verdict(done[1])
    assert "in 1 cell" in said
    assert "gap" in said


def side(entry, mean, low=None, high=None, **changes):
    """Of the best published row, by the verdict."""
    entry = {**entry, "ours": {**entry["ours"], "low": low, "mean": mean, "high": high}, **changes}
    told = re.search(r"in 1 cell: (above|level with|below) it in 1\.", verdict({"cells": [entry]}))
    assert told
    return told[1]


def limit(low, high):
    return {"limit": {"low": low, "high": high, "exact": low == high, "standard_error": 0.0}}


@pytest.mark.parametrize(
    ("low", "mean", "high", "expected"),
    [(2.61, 2.7, 2.8, "above"), (2.59, 2.7, 2.8, "level with"), (2.3, 2.35, 2.41, "level with"),
     (1, 2, 2.39, "below"), (None, 2.61, None, "above"), (None, 2.5, None, "level with"),
     (None, 2.39, None, "below")],
)  # fmt: skip
def test_the_verdict_follows_both_intervals(done, low, mean, high, expected):
    # Published: 2.5 ± 0.1.
    assert side(done[1]["cells"][0], mean, low, high, **limit(3.0, 3.0)) == expected


def test_without_a_margin_a_published_mean_is_as_it_was_rounded(done):
    rows = {"published": {"random": 2.0, "snail": 2.5}, "published_margins": {}, **limit(3.0, None)}
    found = [side(done[1]["cells"][0], mean, **rows) for mean in (2.44, 2.46, 2.54, 2.56)]
    assert found == ["below", "level with", "level with", "above"]


def test_of_equal_rows_each_has_its_own_margin(done):
    rows = {
        "published": {"ucb1": 2.5, "snail": 2.5, "low": 2.4},
        "published_margins": {"snail": 0.1, "low": 1.0},
    }
    found = [side(done[1]["cells"][0], mean, **rows, **limit(3.0, None)) for mean in (2.44, 2.46, 2.59, 2.61)]
    assert found == ["below", "level with", "level with", "above"]


def test_what_was_published_above_the_limit_counts_as_the_limit(done):
    rows = {"published": {"rl2": 6.7, "snail": 6.6}, "published_margins": {"snail": 0.1}}
    assert side(done[1]["cells"][0], 6.644, 6.640, 6.649, **rows, **limit(6.66, 6.66)) == "level with"
    assert side(done[1]["cells"][0], 6.644, 6.640, 6.649, **rows, **limit(6.66, None)) == "below"
    assert side(done[1]["cells"][0], 6.60, 6.59, 6.605, **rows, **limit(6.66, 6.66)) == "below"


def test_of_few_tasks_held_out_means_fresh_draws(done):
    assert held_out_words({"num_different_tasks": None}) == "held-out tasks"
    told = {name: study.num_different for name, study in STUDIES.items() if study.num_different}
    directions = {"maml-cheetah-direction": 2, "maml-ant-direction": 2}
    assert told == {"varibad-grid": 21, "two-step": 2, **directions, "tiny": 2}
    assert "64 held-out tasks, which are fresh draws of the same 2" in page(done[1])


def test_what_is_finished_is_kept(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.glob("c4/**/*") if path.is_file()}
    result, said = again(copy)
    assert said[:2] == ["tiny c4, seed 0, run 1 of 2: kept", "tiny c4, seed 1, run 2 of 2: kept"]
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed == set()
    assert result["cells"][0]["ours"]["num_seeds"] == 2


def test_what_was_begun_is_gone_on_with(copy):
    run = copy / "c4" / "seed1"
    _, whole = final_arrays(run)
    shutil.rmtree(run / "checkpoints" / "10")
    for name in ("evaluation.json", "measured.json", "report.html"):
        (run / name).unlink()
    shutil.rmtree(copy / "c4" / "seed0")
    (copy / "c4" / "seed0").mkdir()
    # All that a kill in its first moment leaves behind.
    (copy / "c4" / "seed0" / "experiment.json.part").write_text("{")
    result, said = again(copy)
    assert not any("kept" in line for line in said)
    update, arrays = final_arrays(run)
    assert update == 10
    assert_same_arrays(whole, arrays)
    assert result["cells"][0]["ours"]["num_seeds"] == 2


def test_a_damaged_last_checkpoint_is_trained_anew(copy):
    run = copy / "c4" / "seed1"
    _, whole = final_arrays(run)
    before = read_json(run / "measured.json")
    (run / "measured.json").unlink()
    state = run / "checkpoints" / "10" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    # Measured it is not, neither is an older one in its place.
    with pytest.raises(InputError, match=r"checkpoint 10 in .* is damaged"):
        measured(Run.open(run), TINY, TINY.cell("c4"), 64, lambda text: None)
    assert not (run / "measured.json").exists()
    with pytest.warns(UserWarning, match="checkpoint 10 in .* is damaged .* trying the one before"):
        _, said = again(copy)
    assert said[0].endswith("run 1 of 2: kept")
    assert not said[1].endswith("kept")
    update, arrays = final_arrays(run)
    assert update == 10
    assert_same_arrays(whole, arrays)
    assert read_json(run / "measured.json") == before
    assert before["checkpoint"] == 10


def test_an_interrupt_leaves_what_is_measured(tmp_path):
    def stop(text):
        if "run 2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(TINY, tmp_path / "out", cells=["c4"], progress=False, say=stop)
    (entry,) = read_json(tmp_path / "out" / "reproduction.json")["cells"]
    assert [run["seed"] for run in entry["runs"]] == [0]
    assert entry["ours"]["low"] is None
    assert "1 seed" in page(read_json(tmp_path / "out" / "reproduction.json"))


def test_another_experiment_is_refused(copy):
    def other(study, cell):
        return dataclasses.replace(recipe(study, cell), num_updates=20)

    with pytest.raises(InputError, match=r"holds another experiment \(num_updates 10, not 20\); expected"):
        again(copy, recipe=other)
    held = read_json(copy / "c4" / "seed0" / "experiment.json")
    (copy / "c4" / "seed0" / "experiment.json").write_text(json.dumps({**held, "depth": 3}))
    with pytest.raises(InputError, match=r"holds another experiment .*'depth'"):
        again(copy)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("reproduce tni", "study: unknown name 'tni'; did you mean 'tiny'?"),
        ("reproduce tiny c4", "arguments: got tiny c4; expected quickstudy reproduce STUDY"),
        ("reproduce tiny --cells c6", "cells: unknown name 'c6'; did you mean"),
        ("reproduce tiny --cells", "cells: got none; expected names of cells, or no --cells for all of them"),
        ("reproduce tiny --cells --seeds 1", "cells: got none; expected names of cells, or no --cells"),
        ("reproduce tiny --seeds 0", "seeds: got 0; expected between 1 and 1,000"),
        ("reproduce tiny --num-test-tasks 1", "num_test_tasks: got 1; expected between 2 and"),
        ("reproduce tiny --seed 3", "option: unknown name '--seed'; did you mean '--seeds'?"),
        ("reproduce two-step --out DONE", "holds the study tiny; expected a directory of its own"),
        ("reproduce tiny --out DONE/reproduction.json", "expected a directory"),
        ("list study", "list: unknown name 'study'; did you mean 'studies'?"),
    ],
)
def test_bad_input_is_one_line(done, capsys, arguments, said):
    assert main(arguments.replace("DONE", str(done[0])).split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert said in err


def test_command(done, capsys):
    arguments = f"reproduce tiny --cells c4 --out {done[0]}".split()
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["study"] == "tiny"
    assert main(arguments) == 0
    told = capsys.readouterr()
    assert "ours, mean of 2 seeds" in told.out
    assert "snail" in told.out
    assert "run 2 of 2: kept" in told.err


def test_evaluating_greedily_is_recorded(done, capsys):
    run = done[0] / "c4" / "seed0"
    assert main(["evaluate", str(run), "--json", "--greedy"]) == 0
    greedy, drawn = json.loads(capsys.readouterr().out), read_json(run / "evaluation.json")
    assert (greedy["agent"], greedy["num_tasks"]) == (drawn["agent"], drawn["num_tasks"])
    settings = greedy["protocol"].pop("agent")
    assert settings == {"type": "quickstudy.greedy:Greedy", "agent": drawn["protocol"].pop("agent")}
    assert greedy["protocol"] == drawn["protocol"]
    assert greedy["total"] != drawn["total"]


def test_listing(capsys):
    assert main(["reproduce"]) == 0
    assert "n500-k50" in capsys.readouterr().out
    assert main(["list", "studies", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["studies"]
    assert next(entry for entry in listed if entry["name"] == "tiny")["cells"] == ["c4", "c5"]
    assert [cell.name for cell in chosen_cells(TINY, ["c5", "c4", "c5"])] == ["c4", "c5"]


def test_signatures_of_the_references(done):
    signatures = done[1]["cells"][0]["signatures"]
    assert list(signatures) == ["ours", "two-step-bayes", "model-free"]
    bayes, free = signatures["two-step-bayes"], signatures["model-free"]
    assert bayes["interaction"]["low"] > 0.2
    assert abs(bayes["reward effect"]["mean"]) < 0.05
    assert free["reward effect"]["low"] > 0.1


@pytest.mark.parametrize("study", [name for name in STUDIES if not name.startswith("tiny")])
def test_every_experiment_is_read_back(study):
    for cell in STUDIES[study].cells:
        if cell.is_trained:
            experiment = recipe(study, cell.name)
            assert from_record(to_record(experiment)) == experiment
