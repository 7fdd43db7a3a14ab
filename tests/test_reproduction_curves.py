"""Published adaptation curves beside ours: what is trained, measured, kept and shown."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import envs, references
from quickstudy.cli import main
from quickstudy.envs.point_navigation import PointNavigation
from quickstudy.envs.told import Told
from quickstudy.errors import InputError
from quickstudy.evaluation import held_out, measure
from quickstudy.experiment import to_record
from quickstudy.files import read_json, write_json
from quickstudy.keys import TEST, branch
from quickstudy.reproduction import STUDIES, page, reproduce
from quickstudy.reproduction.curve_rows import head, table_rows, trained_by, training_rows, verdict
from quickstudy.reproduction.gathering import gathered
from quickstudy.reproduction.published_curves import CURVE_STUDIES, NAVIGATION, CurveStudy, curve_cells
from quickstudy.reproduction.recipes import RECIPES, Recipe, recipe
from quickstudy.session import load
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

CURVES = {study.name: study for study in CURVE_STUDIES}
METHODS = ["maml", "pretrained", "scratch", "goal-known"]
ENV = PointNavigation(max_steps=5)


def study_of(name, env, told, exact=None):
    return CurveStudy(
        name=name,
        title="A tiny curve",
        source="Nobody 1900",
        setting="five steps",
        env="point-navigation",
        cells=curve_cells(env, told, 2, (-3.0, -2.0, -1.5, -1.0), 0.5, -2.5, -0.5, exact),
        num_test_tasks=6,
        num_seeds=2,
    )


TINY = study_of("tiny-curve", ENV, Told())
EXACT = study_of("exact-curve", ENV, ENV, exact=-0.25)
SMALL = Recipe(
    agent={"hidden_sizes": (4,), "inner_rate": 0.5, "later_inner_rate": 0.25},
    fields={
        "num_tasks": 2, "num_updates": 2, "log_every": 1, "evaluate_every": 1, "num_validation_tasks": 2,
        "num_test_tasks": 2,
    },
    names=("maml", None),
)  # fmt: skip
UNTRAINED = dataclasses.replace(SMALL, fields={**SMALL.fields, "num_updates": 0})


@pytest.fixture(scope="module", autouse=True)
def tiny_studies():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(envs.REGISTRY, "told", "quickstudy.envs.told:Told")
        for study in (TINY, EXACT):
            patch.setitem(STUDIES, study.name, study)
            for name in METHODS:
                patch.setitem(RECIPES, (study.name, name), SMALL if name == "maml" else UNTRAINED)
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two methods with two seeds each, and what was said on the way."""
    directory, said = tmp_path_factory.mktemp("reproduction") / "tiny", []
    result = reproduce(TINY, directory, cells=["maml", "scratch"], progress=False, say=said.append)
    return directory, result, said


@pytest.fixture
def copy(done, tmp_path):
    return shutil.copytree(done[0], tmp_path / "tiny")


def entries(result):
    return {entry["cell"]: entry for entry in result["cells"]}


def test_numbers_as_published():
    def told(name, cell):
        method = CURVES[name].cell(cell)
        return method.published, method.margin

    nothing = (None, None, None)
    assert told("maml-navigation", "maml") == ((-40.4, -11.7, -3.33, -3.23), 0.29)
    assert told("maml-navigation", "pretrained") == ((*nothing, -8.5), None)
    assert told("maml-navigation", "goal-known") == ((-2.29, *nothing), None)
    assert told("maml-cheetah-direction", "maml") == ((-50.7, 293.2, 313.5, 315.7), 7)
    assert told("maml-cheetah-velocity", "maml") == ((-129.5, -78.6, -66.6, -60.8), 4.4)
    assert told("maml-cheetah-velocity", "pretrained")[0][-1] == -133.6
    assert told("maml-cheetah-velocity", "goal-known")[0][0] == -54.5
    assert told("maml-ant-direction", "maml") == ((8.7, 499.2, 500.7, 499.1), None)
    assert told("maml-ant-direction", "scratch") == ((*nothing, None), None)


def test_the_exact_line_is_what_knowing_the_goal_is_worth():
    cell = CURVES["maml-navigation"].cell("goal-known")
    assert cell.exact == NAVIGATION
    value = references.task_known_value(cell.env)
    assert value is not None
    tasks = jax.vmap(cell.env.sample_task)(jax.random.split(jax.random.key(0), 20_000))
    values = np.asarray(jax.jit(jax.vmap(value))(tasks), np.float64)
    assert abs(values.mean() - NAVIGATION) < 4 * values.std() / len(values) ** 0.5


@pytest.mark.parametrize("name", CURVES)
def test_every_method_has_a_recipe(name):
    study = CURVES[name]
    streams = 40 if name == "maml-ant-direction" else 20
    methods = [*METHODS, "every-step"] if name == "maml-navigation" else METHODS
    assert [cell.name for cell in study.cells] == methods
    rates = (0.5, 0.25) if name == "maml-navigation" else (0.1, 0.05)
    for cell in study.cells:
        if not cell.is_trained:
            assert (name, cell.name) == ("maml-navigation", "goal-known")
            continue
        experiment = recipe(name, cell.name)
        assert (experiment.env, experiment.trial) == (cell.env, cell.trial)
        if cell.name == "every-step":
            assert (experiment.outer.phases, experiment.trial) == ("adapted", cell.measured)
            continue
        assert (experiment.agent.inner_rate, experiment.agent.later_inner_rate) == rates
        assert type(experiment.outer).__name__ == ("TRPO" if name == "maml-navigation" else "PPO")
        assert (experiment.num_updates == 0) == (cell.name == "scratch")
        assert experiment.num_tasks == (20 if name == "maml-navigation" else 10)
    assert study.cell("maml").trial == TrialShape(1, streams, 1)
    assert study.cell("pretrained").trial == TrialShape(0, streams, 1)
    assert study.cell("maml").measured == study.cell("pretrained").measured == TrialShape(3, streams, 1)
    assert study.cell("goal-known").measured == TrialShape(0, streams, 1)


def test_what_is_told_is_the_task():
    env, family = Told(), PointNavigation()
    k_task, k_reset, k_step = jax.random.split(jax.random.key(0), 3)
    task, action = env.sample_task(k_task), jnp.array([0.05, -0.2])
    state, observation = env.reset(task, k_reset)
    np.testing.assert_array_equal(observation, [0, 0, *task])
    one, other = env.step(task, state, action, k_step), family.step(task, state, action, k_step)
    np.testing.assert_array_equal(one[1].observation, [*other[1].observation, *task])
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1].reward, other[1].reward)
    assert env.observation_space.shape == (4,)
    assert (env.action_space, env.max_steps) == (family.action_space, family.max_steps)


@pytest.mark.parametrize(
    ("family", "said"),
    [
        ("point-navigatoin", "unknown name 'point-navigatoin'; did you mean 'point-navigation'?"),
        ("told", "unknown name 'told'"),
        ("my.module:Env", "unknown name"),
        ("dark-room", "a family that has no split of its own"),
        ("bandit", "a family whose observations are vectors of floats"),
    ],
)
def test_a_family_that_cannot_be_told(family, said):
    with pytest.raises(InputError, match=r"^Told\.family: ") as error:
        _ = Told(family).observation_space
    assert said in str(error.value)


def test_result_and_files(done):
    directory, result, said = done
    assert json.loads((directory / "reproduction.json").read_text()) == result
    assert [line.partition(":")[0] for line in said] == [
        f"tiny-curve {cell}, seed {seed}, run {run} of 4"
        for run, (cell, seed) in enumerate([(c, s) for c in ("maml", "scratch") for s in (0, 1)], 1)
    ]
    assert not any("kept" in line for line in said)
    assert list(entries(result)) == METHODS
    maml, pretrained, scratch, known = result["cells"]
    assert maml["published"] == [-3.0, -2.0, -1.5, -1.0]
    assert maml["measured_trial"] == {"num_adapts": 3, "num_streams": 2, "num_episodes": 1}
    assert pretrained["ours"] is known["ours"] is known["experiment"] is None
    assert [run["env_steps"] for run in maml["runs"]] == [2 * 2 * 2 * 2 * 5] * 2
    assert [(run["env_steps"], run["seconds"], run["checkpoint"]) for run in scratch["runs"]] == [(0, 0, 0)] * 2
    assert result["protocol"]["command"] == (
        "quickstudy reproduce tiny-curve --cells maml scratch --seeds 2 --num-test-tasks 6"
    )


def test_the_curve_is_over_seeds_and_the_best_seed_ends_highest(done):
    for entry in (entries(done[1])[name] for name in ("maml", "scratch")):
        means = np.array([[point["mean"] for point in run["curve"]] for run in entry["runs"]])
        assert means.shape == (2, 4)
        np.testing.assert_allclose([point["mean"] for point in entry["ours"]["curve"]], means.mean(axis=0))
        for point in entry["ours"]["curve"]:
            assert point["low"] < point["mean"] < point["high"]
        best = entry["ours"]["best"]
        assert best["seed"] == int(means[:, -1].argmax())
        np.testing.assert_allclose(best["curve"], means[best["seed"]])


def test_a_point_is_the_return_of_that_phase(done):
    directory = done[0] / "maml" / "seed1"
    trained = load(directory)
    experiment = trained.experiment
    shape = (experiment.learner, held_out(experiment.env), TrialShape(3, 2, 1), trained.meta_params)
    returns = measure(*shape, 6, branch(1, TEST)).episodes
    measured = read_json(directory / "measured.json")
    np.testing.assert_allclose([point["mean"] for point in measured["curve"]], returns.mean(axis=0))
    assert measured["trial"] == {"num_adapts": 3, "num_streams": 2, "num_episodes": 1}
    assert all(point["low"] < point["mean"] < point["high"] for point in measured["curve"])


def test_table(done):
    result = done[1]
    assert head(result) == ["method", "", "0", "1", "2", "3"]
    rows = {(row[0], row[1]): row[2:] for row in table_rows(result)}
    assert rows["maml", "published"] == ["−3", "−2", "−1.5", "−1 ± 0.5"]
    assert rows["pretrained", "published"] == ["–", "–", "–", "−2.5"]
    assert rows["goal-known", "published"] == ["−0.5", "–", "–", "–"]
    assert ("scratch", "published") not in rows
    assert ("pretrained", "ours, 2 seeds") not in rows
    assert all("[" in cell for cell in rows["scratch", "ours, 2 seeds"])
    assert trained_by(entries(result)["scratch"]) == "scratch, a network that was not trained"
    assert "maml by trpo, 2 updates of 2 tasks, 80 steps" in trained_by(entries(result)["maml"])
    marked = [row[0] for row in training_rows(entries(result)["maml"])]
    assert sum(words.endswith(", the best") for words in marked) == 1


@pytest.mark.parametrize(
    ("low", "mean", "high", "side"),
    [(-0.9, -0.8, -0.7, "above"), (-1.2, -0.8, -0.7, "level with"), (-1.3, -1.2, -1.1, "below")],
)
def test_the_verdict_follows_the_interval(done, low, mean, high, side):
    maml = entries(done[1])["maml"]
    last = {**maml["ours"]["curve"][-1], "low": low, "mean": mean, "high": high}
    ours = {**maml["ours"], "curve": [*maml["ours"]["curve"][:-1], last]}
    said = verdict({"cells": [{**maml, "ours": ours}]})
    assert said.startswith("Ours beside the published means: maml after 3 steps ")
    assert said.endswith(f", {side} −1.")


def test_what_is_exact_is_not_trained(tmp_path):
    result = reproduce(EXACT, tmp_path / "exact", cells=["goal-known"], progress=False)
    assert sorted(path.name for path in (tmp_path / "exact").iterdir()) == [
        "reproduction.html",
        "reproduction.json",
    ]
    assert entries(result)["goal-known"]["exact"] == -0.25
    rows = {(row[0], row[1]): row[2:] for row in table_rows(result)}
    assert rows["goal-known", "exact"] == ["−0.25", "–", "–", "–"]
    assert verdict(result) == "Nothing is measured yet that was published."
    assert trained_by(entries(result)["goal-known"]) == "goal-known: exact"


def test_who_is_told_the_goal_takes_no_step(copy):
    result = reproduce(TINY, copy, cells=["goal-known"], seeds=1, progress=False)
    known, maml = entries(result)["goal-known"], entries(result)["maml"]
    assert known["experiment"]["env"] == {"type": "told", "family": "point-navigation"}
    assert len(known["ours"]["curve"]) == 1
    assert "goal-known −" in verdict(result)
    # Other methods of the directory are shown, too.
    assert len(maml["runs"]) == 2


def again(directory, **changes):
    said = []
    result = reproduce(TINY, directory, cells=["maml", "scratch"], progress=False, say=said.append, **changes)
    return result, said


def test_what_is_finished_is_kept(copy):
    before = {path: path.stat().st_mtime_ns for path in copy.glob("*/seed*/**/*") if path.is_file()}
    result, said = again(copy)
    assert [line.rpartition(": ")[2] for line in said] == ["kept"] * 4
    assert {path for path, time in before.items() if path.stat().st_mtime_ns != time} == set()
    assert entries(result)["maml"]["ours"]["num_seeds"] == 2


def test_what_was_begun_is_gone_on_with(copy, done):
    run = copy / "maml" / "seed1"
    _, whole = final_arrays(run)
    shutil.rmtree(run / "checkpoints" / "2")
    for path in (run / "evaluation.json", run / "measured.json", copy / "scratch" / "seed0" / "measured.json"):
        path.unlink()
    result, said = again(copy)
    assert ["kept" in line for line in said] == [True, False, True, True]
    assert_same_arrays(whole, final_arrays(run)[1])
    curves = [[run["curve"] for run in entry["runs"]] for entry in result["cells"]]
    assert curves == [[run["curve"] for run in entry["runs"]] for entry in done[1]["cells"]]


@pytest.mark.parametrize("changes", [{"num_tasks": 4}, {"trial": {"num_adapts": 1}}, {"checkpoint": 1}])
def test_what_was_measured_otherwise_is_measured_anew(copy, changes):
    path = copy / "maml" / "seed0" / "measured.json"
    before = read_json(path)
    write_json(path, {**before, **changes, "curve": []})
    again(copy)
    assert read_json(path) == before


def test_command(done, capsys):
    arguments = f"reproduce tiny-curve --cells maml scratch --out {done[0]}".split()
    assert main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == done[1]
    assert main(arguments) == 0
    told = capsys.readouterr()
    for words in ("ours, 2 seeds", "ours, best seed", "−1 ± 0.5", "maml by trpo", "maml after 3 steps"):
        assert words in told.out
    assert "run 4 of 4: kept" in told.err
    assert main(["reproduce", "tiny-curve", "--cells", "mamal"]) == 2
    assert "cells: unknown name 'mamal'; did you mean 'maml'?" in capsys.readouterr().err


def estimate(mean, half):
    return {"mean": mean, "low": mean - half, "high": mean + half, "standard_error": half / 2}


@functools.cache
def long_ago(name, seeds):
    """What a long reproduction leaves behind, without the hours: (cell, seed, curve) of each training."""
    study = CURVES[name]
    published = np.array(study.cell("maml").published, float)
    told = {
        "maml": published * 1.2,
        "pretrained": published.min() * np.array([1.0, 0.9, 0.8, 0.7]),
        "scratch": published.min() * np.array([1.5, 1.4, 1.3, 1.2]),
        "goal-known": np.array([published.max() * 0.9]),
        "every-step": published * 0.8,
    }
    trained = [cell.name for cell in study.cells if cell.is_trained]
    return [(cell, seed, told[cell] * (1 - 0.1 * seed)) for cell in trained for seed in range(seeds)]


def remembered(name, directory, seeds):
    for cell, seed, curve in long_ago(name, seeds):
        run = directory / cell / f"seed{seed}"
        run.mkdir(parents=True)
        experiment = dataclasses.replace(recipe(name, cell), seed=seed)
        if experiment.num_updates:
            (run / "metrics.csv").write_text("update,env_steps,seconds\n300,96000000,7000.0\n")
        write_json(run / "experiment.json", to_record(experiment))
        points = [estimate(float(value), 0.1 * abs(float(value))) for value in curve]
        write_json(run / "measured.json", {"checkpoint": 300, "num_tasks": 40, "curve": points})
    return gathered(CURVES[name], directory, {"maml": seeds}, 40)


def test_page(done, tmp_path):
    text = page(done[1])
    assert text == (done[0] / "reproduction.html").read_text()
    for words in (
        "A tiny curve, reproduced",
        "Nobody 1900",
        "maml theirs",
        "known theirs",
        "seed",
        "pre. theirs",
    ):
        assert words in text
    assert "<script" not in text
    assert text.count("<svg") == 1
    alone = remembered("maml-navigation", tmp_path, 1)
    assert entries(alone)["maml"]["ours"]["curve"][0]["low"] is None
    assert "of a single seed over tasks" in page(alone)
    assert 'class="band' in page(alone)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on PATH")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_pages_fit_and_are_drawn(done, tmp_path, scheme):
    pages = {"tiny": page(done[1])}
    for name in ("maml-navigation", "maml-cheetah-velocity", "maml-ant-direction"):
        pages[name] = page(remembered(name, tmp_path / name, 3))
    widths = (DESKTOP, TABLET, SMALL_PHONE)
    frames = "".join(frame(name, text, width) for name, text in pages.items() for width in widths)
    for found in told_by(tmp_path, MEASURE, frames, scheme):
        where = f"{found['page']} at {found['width']} px, {scheme}"
        assert found["overflow"] <= 0, where
        assert found["cut"] == [], where
        assert found["undrawn"] == [], where
        assert found["smallest"] >= LEAST_TEXT, where
        assert (found["charts"], found["colourless"]) == (1, 0), where
