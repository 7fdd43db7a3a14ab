"""Short trials first: when a stage ends, what is counted, and that a resumed training goes on in its stage."""

import csv
import shutil

import pytest

from quickstudy.cli import main
from quickstudy.curriculum import Curriculum, Goal
from quickstudy.errors import InputError
from quickstudy.outer.ppo import PPO
from quickstudy.train import resume, train
from quickstudy.types import TrialShape
from tests.runs import assert_same_arrays, final_arrays, tiny

GOAL = Goal(random=1.0, reference=2.0, exact=True)


def staged(**changes):
    """Trials of one, two, then three pulls; the stages end at their latest, after 5 and 10 of 20 updates."""
    return tiny(curriculum=Curriculum(lengths=(1, 2), close=1.0, latest=0.5), **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "staged"
    return directory, train(staged(), directory, progress=False).evaluation


def test_a_stage_is_mastered_close_to_the_reference():
    curriculum = Curriculum(lengths=(1, 2), close=0.9)
    assert not curriculum.is_mastered(1.89, GOAL)
    assert curriculum.is_mastered(1.91, GOAL)
    assert not curriculum.is_mastered(99.0, GOAL._replace(reference=None))


def test_early_stages_share_their_part_of_the_updates():
    assert Curriculum(lengths=(1, 2), latest=0.5).most_updates(100, 2) == 25
    # What is left out because it is no shorter has no share: (1, 3) of trials of three.
    assert tiny(curriculum=Curriculum(lengths=(1, 3), latest=0.5)).updates_of_early_stage == 10
    assert tiny().updates_of_early_stage is None


def test_lengths_that_are_not_shorter_are_left_out():
    experiment = tiny(curriculum=Curriculum(lengths=(1, 3, 10)))
    assert experiment.stages == (TrialShape(num_episodes=1), TrialShape(num_episodes=3))
    assert tiny().stages == (TrialShape(num_episodes=3),)


def test_steps_are_counted_by_the_trials_of_each_stage(finished):
    with (finished[0] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial_episodes"]) for row in rows] == [1, 2, 3, 3]
    assert [int(row["env_steps"]) for row in rows] == [32 * 5 * n for n in (1, 1 + 2, 1 + 2 + 3, 1 + 2 + 3 + 3)]


def test_resumed_at_a_change_of_stage_equals_uninterrupted(finished, tmp_path):
    half = tmp_path / "half"
    train(staged(), half, progress=False)
    for step in (15, 20):
        shutil.rmtree(half / "checkpoints" / str(step))
    resumed = resume(half, progress=False)
    assert resumed.evaluation == finished[1]
    assert_same_arrays(final_arrays(half)[1], final_arrays(finished[0])[1])


def test_a_stage_ends_between_two_evaluations(finished, tmp_path):
    """One evaluation in ten updates: trials have their full length from update 10 on all the same."""
    seldom, run = staged(evaluate_every=10, log_every=20), tmp_path / "seldom"
    ended = train(seldom, run, progress=False)
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["update"]), int(row["trial_episodes"])) for row in rows] == [(5, 1), (10, 2), (20, 3)]
    assert_same_arrays(final_arrays(run)[1], final_arrays(finished[0])[1])
    # Resumed in the second stage: the checkpoint of update 10 is of its end.
    shutil.rmtree(run / "checkpoints" / "20")
    assert resume(run, progress=False).evaluation == ended.evaluation


def test_too_few_updates_for_the_early_stages_are_refused():
    with pytest.raises(InputError, match="num_updates: got 3; expected at least 4, for the 2 early stages"):
        staged(num_updates=3)
    staged(num_updates=0)
    staged(num_updates=4)


@pytest.mark.slow
def test_a_mastered_stage_ends_early(tmp_path):
    """Half of the way from random (1) to the optimum (13/12) with two pulls is gone before the end."""
    experiment = tiny(
        curriculum=Curriculum(lengths=(2,), close=0.5, latest=1.0),
        outer=PPO(num_minibatches=2, learning_rate=1e-2),
        num_tasks=256,
        num_updates=200,
        evaluate_every=20,
        num_validation_tasks=4000,
    )
    train(experiment, tmp_path / "run", progress=False)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["eval_return"]]
    early = [row for row in rows if row["trial_episodes"] == "2"]
    # The stage lasts until the first validation that is good enough, and that is its last.
    # Its threshold is 25/24, give or take what a random agent's mean of 4000 tasks, s.e. .006, is off.
    returns = [float(row["eval_return"]) for row in early]
    assert 0 < len(early) < len(rows)
    assert returns[-1] >= 25 / 24 - 0.02
    assert all(value < 25 / 24 + 0.02 for value in returns[:-1])


@pytest.mark.parametrize("lengths", [(3, 2), (0, 1), (2, 2)])
def test_lengths_must_grow(lengths):
    with pytest.raises(InputError, match=r"lengths: got .* expected growing numbers of episodes from 1"):
        Curriculum(lengths=lengths)


def test_the_command_line_takes_one(tmp_path, capsys):
    arguments = f"train rl2 bandit --curriculum.lengths 4 2 --out {tmp_path / 'x'}".split()
    assert main(arguments) == 2
    assert "lengths: got (4, 2); expected growing numbers of episodes from 1" in capsys.readouterr().err
