"""`quickstudy learn`: exams foretold, a directory that survives, one line for what is wrong."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from quickstudy.agents.ppo import PPO
from quickstudy.arguments import out_directory
from quickstudy.cli import main
from quickstudy.errors import InputError, RunError
from quickstudy.learning import learn, resume_learning
from quickstudy.learning_record import EXAMS, Row, exams_record, read_rows
from quickstudy.learning_settings import LEARNING, Learning, read_learning
from quickstudy.lives import LifeShape
from quickstudy.run import to_arrays
from tests.probes import DiscreteProbe
from tests.runs import assert_same_arrays

TINY = Learning(
    PPO(hidden_sizes=(8,), num_epochs=1, num_minibatches=1, learning_rate=1e-2),
    DiscreteProbe(),
    LifeShape(num_adapts=8, num_streams=4, num_steps=8),
    num_tasks=3,
    num_seeds=2,
    num_exams=4,
    num_episodes=6,
    solved=2.0,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("learning") / "run"
    return directory, learn(TINY, directory, progress=False)


def test_exams_are_where_they_should_be(finished):
    _, learned = finished
    exams = learned.exams["exams"]
    assert [entry["adapts"] for entry in exams] == [0, 2, 4, 6, 8]
    assert [entry["steps"] for entry in exams] == [0, 64, 128, 192, 256]
    assert all(len(entry["returns"]) == 6 for entry in exams)
    assert np.all(np.diff([entry["seconds"] for entry in exams]) > 0)
    assert np.isnan(exams[0]["earned"])
    assert all(0 < entry["earned"] < 4 for entry in exams[1:])
    # The probe's reward is its success, and no episode takes more than four steps.
    for entry in exams:
        assert entry["lowest"] == min(entry["returns"])
        assert entry["solved"] == np.mean(np.asarray(entry["returns"]) >= 2.0)
    # A third of the actions is right.
    assert 0.5 < learned.exams["random"] < 1.5
    assert learned.exams["task_known"] is None


def test_it_is_repeated_bit_for_bit_from_its_directory(finished):
    directory, learned = finished
    again = learn(read_learning(directory, allow_code=True), progress=False)
    assert_same_arrays(to_arrays(learned.lives), to_arrays(again.lives))
    pairs = zip(learned.exams["exams"], again.exams["exams"], strict=True)
    assert all(one["returns"] == other["returns"] for one, other in pairs)


def test_resumed_equals_uninterrupted(finished, tmp_path):
    """What a kill leaves: the checkpoints before it, and exams that no checkpoint knows of."""
    directory, learned = finished
    cut = tmp_path / "cut"
    shutil.copytree(directory, cut)
    for number in (6, 8):
        shutil.rmtree(cut / "checkpoints" / str(number))
    resumed = resume_learning(cut, progress=False, allow_code=True)
    assert_same_arrays(to_arrays(learned.lives), to_arrays(resumed.lives))
    returns = [entry["returns"] for entry in resumed.exams["exams"]]
    assert returns == [entry["returns"] for entry in learned.exams["exams"]]
    assert [row.adapts for row in read_rows(cut)] == [0, 2, 4, 6, 8]
    # Once more changes nothing: there is nothing left to live.
    assert resume_learning(cut, progress=False, allow_code=True).exams["exams"][-1]["adapts"] == 8


def test_intervals_are_over_tasks_or_learners():
    row = Row(adapts=3, seconds=1.0, earned=0.5, returns=[1.0, 3.0, 2.0, 4.0], success=None)
    by_task = exams_record([row], (2, 2), 10, None)
    entry = by_task["exams"][0]
    assert (entry["mean"], entry["steps"], entry["solved"]) == (2.5, 30, None)
    # The means of the two tasks are 2 and 3: no interval can be wider than by their t distribution.
    assert entry["low"] <= 2.0
    assert entry["high"] >= 3.0
    assert "over tasks" in by_task["interval"]
    alone = exams_record([row._replace(returns=[1.0])], (1, 1), 10, 1.0)["exams"][0]
    assert np.isnan(alone["low"])
    assert alone["solved"] == 1.0
    assert "over learners" in exams_record([row], (1, 4), 10, None)["interval"]


def test_a_verdict_needs_an_interval_above_nothing():
    start, end = (Row(0, 0.0, 0.0, returns, None) for returns in ([0.0] * 6, [1.0, 1.1, 0.9, 1.0, 1.2, 0.8]))
    assert exams_record([start, end], (6, 1), 1, None)["verdict"]["learned"]
    verdict = exams_record([end, start], (6, 1), 1, None)["verdict"]
    assert verdict["text"].startswith("Learned nothing that shows")
    assert exams_record([start._replace(returns=[0.0] * 2)] * 2, (2, 1), 1, None)["verdict"]["text"].startswith(
        "Not judged"
    )


COMMAND = """learn ppo cartpole --agent.hidden-sizes 8 --agent.num-epochs 1 --env.max-steps 20
    --life.num-adapts 4 --life.num-streams 2 --life.num-steps 16
    --num-tasks 2 --num-exams 2 --num-episodes 2""".split()


def test_the_command_and_its_directory(tmp_path, capsys):
    out = tmp_path / "run"
    assert main([*COMMAND, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "a random agent earns" in printed
    assert str(out / "report.html") in printed
    page = (out / "report.html").read_text()
    assert "ppo on cartpole, from scratch" in page
    assert "://" not in page
    before = (out / EXAMS).read_text()
    assert main([*COMMAND, "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert (out / EXAMS).read_text() == before
    assert main(["resume", str(out), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["exams"]) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("learn rl2 cartpole", "agent: 'rl2' is meta-trained; use `quickstudy train rl2 ENV`"),
        ("learn ppo bandit-x", "env: unknown name 'bandit-x'"),
        ("learn ppo cartpole --life.num-steps 0", "LifeShape.num_steps: got 0"),
        ("learn ppo cartpole --num-exams 100", "Learning.num_exams: got 100; expected between 1 and"),
        ("learn ppo cartpole --life.num-streem 2", "did you mean '--life.num-streams'?"),
        ("learn ppo tabular-mdp --agent.normalise-observations", "normalise_observations: got True"),
        ("learn trpo cartpole --agent.entropy-coefficient .1", "TRPO.entropy_coefficient: got 0.1; expected 0"),
        ("learn ppo", "expected quickstudy learn AGENT ENV"),
        ("learn ppo cartpole --start x", "start: got 'x'; expected None for ppo"),
        ("learn fine-tune cartpole", "start: got None; expected a directory with a policy of known tasks"),
        ("learn gittins bandit --start x", "start: got 'x'; expected None for gittins"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_directory_says_so(finished, tmp_path):
    directory, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    # Somebody's own code is not imported unasked.
    with pytest.raises(InputError, match="--allow-code"):
        read_learning(copy)
    record = json.loads((copy / LEARNING).read_text())
    record["life"]["num_streams"] = 5
    (copy / LEARNING).write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"checkpoint: array .* expected shape"):
        resume_learning(copy, progress=False, allow_code=True)
    (copy / LEARNING).write_text("{")
    with pytest.raises(InputError, match="cannot be read as JSON"):
        read_learning(copy)


def test_exams_cannot_outnumber_adaptations():
    with pytest.raises(InputError, match=r"Learning\.num_exams"):
        dataclasses.replace(TINY, num_exams=9)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    bad = dataclasses.replace(TINY, agent=dataclasses.replace(TINY.agent, learning_rate=1e38))
    with pytest.raises(RunError, match="weights are not finite"):
        learn(bad, tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_directory_is_named_after_what_learns_where():
    assert out_directory(None, ("learn", "ppo", "/some where/my_env.py:Mine"), 3) == Path(
        "runs/learn-ppo-Mine-seed3"
    )
    assert out_directory("here", ("ppo",), 0) == Path("here")
