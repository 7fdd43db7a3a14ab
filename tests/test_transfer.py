"""`quickstudy transfer`: stage by stage, resumed anywhere, judged by what new tasks say."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy import keys
from quickstudy.agents.fine_tune import FineTune
from quickstudy.agents.maml import MAML
from quickstudy.agents.ppo import PPO
from quickstudy.agents.rl2 import RL2
from quickstudy.cli import main
from quickstudy.errors import InputError
from quickstudy.experiment import Experiment
from quickstudy.learning import learn, sampled_tasks
from quickstudy.learning_settings import read_learning
from quickstudy.lives import LifeShape
from quickstudy.outer import a2c
from quickstudy.presets import preset
from quickstudy.reporting.steps import differences, methods, same_steps
from quickstudy.rollout import collect, sample_tasks
from quickstudy.start import ARRAYS, RECORD, load_start
from quickstudy.train import _start
from quickstudy.transfer.critic import CriticFit
from quickstudy.transfer.distill import Distillation
from quickstudy.transfer.pipeline import COEFFICIENTS, FORGETTING, RESULT, _template, resume_transfer, transfer
from quickstudy.transfer.settings import Transfer, read_transfer
from quickstudy.transfer.summary import summarised
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates
from tests.probes import ContinuousProbe

SMALL = {"hidden_sizes": (8,), "num_epochs": 1, "num_minibatches": 1, "learning_rate": 1e-2}
SETTINGS = Transfer(
    ContinuousProbe(),
    PPO(**SMALL),
    FineTune(**SMALL, critic_warmup=1),
    LifeShape(num_adapts=6, num_streams=4, num_steps=6),
    LifeShape(num_adapts=2, num_streams=4, num_steps=6),
    num_known=2,
    num_validation=2,
    num_new=3,
    distillation=Distillation(
        num_rounds=2, num_streams=2, num_steps=6, num_kept=2, batch_size=8, num_fisher=16,
        critic=CriticFit(num_rounds=1, num_streams=2, num_steps=6, batch_size=8),
    ),
    penalties=("none", "l2"),
    coefficients=(1.0, 1e6),
    num_exams=2,
    num_episodes=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("transfer") / "run"
    return directory, transfer(SETTINGS, directory, progress=False)


def test_the_stages_leave_what_they_should(finished):
    _, result = finished
    assert result["num_new"] == 3
    none, held = result["fine_tuned"]["none"], result["fine_tuned"]["l2"]
    assert [point["steps"] for point in none["curve"]] == [0, 24, 48]
    # Both begin with the same policy, and it is the zero-shot one.
    assert none["curve"][0] == held["curve"][0]
    assert none["curve"][0]["mean"] == pytest.approx(result["zero_shot"]["mean"])
    assert none["gain"]["mean"] == pytest.approx(none["final"]["mean"] - result["zero_shot"]["mean"])
    assert result["scratch"]["steps"] == 144
    assert len(none["guard"]["reason"]) == 3
    assert set(result["coefficients"]["l2"]["validation_returns"]) == {"1.0", "1000000.0"}
    assert "validation_returns" not in result["coefficients"]["none"]
    assert result["forgetting"] is None
    assert result["protocol"]["num_known"] == 2


def test_a_kill_between_stages_loses_nothing(finished, tmp_path):
    directory, result = finished
    cut = tmp_path / "cut"
    shutil.copytree(directory, cut)
    for name in (RESULT, COEFFICIENTS):
        (cut / name).unlink()
    for name in ("merged", "fine-tuned-none", "fine-tuned-l2", "scratch"):
        shutil.rmtree(cut / name)
    again = resume_transfer(cut, progress=False, allow_code=True)
    assert again is not None
    assert again["zero_shot"] == result["zero_shot"]
    for name, method in result["fine_tuned"].items():
        assert again["fine_tuned"][name]["curve"] == method["curve"]
        assert again["fine_tuned"][name]["guard"] == method["guard"]
    assert again["scratch"] == result["scratch"]


def test_a_stage_alone(tmp_path):
    out = tmp_path / "run"
    assert transfer(SETTINGS, out, until="teach", progress=False) is None
    assert (out / "known" / "exams.json").exists()
    assert not (out / "merged").exists()
    assert resume_transfer(out, until="merge", progress=False, allow_code=True) is None
    assert (out / "merged" / RECORD).exists()
    assert not (out / COEFFICIENTS).exists()
    assert read_transfer(out, allow_code=True) == SETTINGS


def test_tasks_of_the_stages_are_others():
    """Known, validation and new tasks never meet."""
    sets = [np.asarray(sampled_tasks(use, ContinuousProbe(), 0, np.arange(50))[1]) for use in
            ("known", "validation", "new")]  # fmt: skip
    everything = np.concatenate(sets)
    assert len(np.unique(everything, axis=0)) == 150


def test_several_tasks_without_a_teacher(tmp_path):
    settings = dataclasses.replace(SETTINGS, merge="multi-task", penalties=("none",), num_sequence=2)
    result = transfer(settings, tmp_path / "run", progress=False)
    assert result is not None
    assert not (tmp_path / "run" / "known").exists()
    assert len(result["merge"]["rewards"]) == 6
    # Before the first new task and after each of two; two known tasks, and the two.
    forgetting = json.loads((tmp_path / "run" / FORGETTING).read_text())
    assert result["forgetting"] == forgetting
    assert np.shape(forgetting["none"]["known"]) == (3, 2)
    assert np.shape(forgetting["none"]["new"]) == (3, 2)


def test_a_start_is_what_was_saved_or_an_error(finished, tmp_path):
    directory, _ = finished
    copy = tmp_path / "merged"
    shutil.copytree(directory / "merged", copy)
    template = _template(SETTINGS)
    known = load_start(copy, template, "tanh")
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), known.network, template.network)
    assert all(jax.tree.leaves(moved.actor))
    with pytest.raises(InputError, match=r"agent\.activation: got 'relu'; expected tanh"):
        load_start(copy, template, "relu")
    data = bytearray((copy / ARRAYS).read_bytes())
    data[-1] ^= 1
    (copy / ARRAYS).write_bytes(bytes(data))
    with pytest.raises(InputError, match="damaged"):
        load_start(copy, template, "tanh")
    with pytest.raises(InputError, match=r"start: .* holds no policy"):
        load_start(tmp_path, template, "tanh")


def test_a_training_may_begin_with_a_policy_of_known_tasks(finished):
    """Policy and critic are those that were merged, and what does not fit says so."""
    directory, _ = finished
    maml = MAML(hidden_sizes=(8,), activation="tanh", baseline="critic")
    outer = a2c.A2C(phases="last", credit="episode")
    experiment = Experiment(
        maml, ContinuousProbe(), outer, TrialShape(1, 2, 1), num_tasks=2, start=str(directory / "merged")
    )
    state, update = _start(experiment, None)
    known = load_start(directory / "merged", _template(SETTINGS), "tanh")
    assert update == 0
    jax.tree.map(np.testing.assert_array_equal, state.outer.meta_params, known.network)
    wide = dataclasses.replace(
        experiment, agent=dataclasses.replace(maml, first_deviation=2.0, later_deviation=0.5)
    )
    begun = _start(wide, None)[0].outer.meta_params
    np.testing.assert_array_equal(begun.actor.layers[0].weight, known.network.actor.layers[0].weight)
    np.testing.assert_allclose(begun.log_ratios, np.log(0.5), rtol=1e-6)
    fresh = init_state(experiment).outer.meta_params
    assert not np.array_equal(fresh.actor.layers[0].weight, known.network.actor.layers[0].weight)
    for wrong, said in (
        (
            {"agent": dataclasses.replace(maml, activation="relu")},
            "agent.activation: got 'relu'; expected tanh",
        ),
        ({"agent": dataclasses.replace(maml, hidden_sizes=(4,))}, "checkpoint: array .* expected shape"),
        ({"agent": RL2(hidden_size=8)}, "start: got .* expected None for this agent"),
        ({"start": "nowhere"}, "start: 'nowhere' holds no policy"),
    ):
        with pytest.raises(InputError, match=said):
            _start(dataclasses.replace(experiment, **wrong), None)
    with pytest.raises(InputError, match=r"start: got .* expected None with normalise_observations"):
        dataclasses.replace(experiment, normalise_observations=True)


def test_a_meta_policy_gradient_goes_on_from_known_tasks(finished):
    """Its first trials are lived by the merged policy, and a few updates leave it in the neighbourhood."""
    start = str(finished[0] / "merged")
    experiment = preset("meta-policy-gradient", "cartpole")
    experiment = dataclasses.replace(
        experiment,
        agent=dataclasses.replace(experiment.agent, hidden_sizes=(8,)),
        env=ContinuousProbe(),
        trial=TrialShape(1, 2, 2),
        start=start,
    )
    state, _ = _start(experiment, None)
    known = load_start(finished[0] / "merged", _template(SETTINGS), "tanh").network
    task_keys, trial_keys = keys.per_task(jax.random.key(0), jnp.arange(3))
    trials = collect(
        experiment.learner, experiment.env, experiment.trial, state.outer.meta_params,
        sample_tasks(experiment.env, task_keys), trial_keys,
    )  # fmt: skip
    first = jax.tree.map(lambda x: x[:, 0], trials.phases)
    policy, value = jax.vmap(jax.vmap(jax.vmap(known)))(first.timestep.observation)
    np.testing.assert_allclose(policy.log_prob(first.action), first.log_prob, atol=1e-5)
    np.testing.assert_allclose(value, first.value, atol=1e-5)
    state, metrics = run_updates(experiment, state, 3)
    assert np.isfinite(metrics["loss"])
    far = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), state.outer.meta_params, known)
    # Three steps of Adam at 3e-4.
    assert all(0 < x < 2e-3 for x in jax.tree.leaves(far.actor))


def test_a_summary_by_hand():
    def record(*exams):
        entries = [
            {"steps": i * 10, "mean": float(np.mean(x)), "low": None, "high": None, "returns": x}
            for i, x in enumerate(exams)
        ]
        return {"exams": entries, "env": "e", "agent": "a", "num_tasks": 2, "random": -1.0}

    judged = {name: {"keep": [True, False], "reason": ["", ""]} for name in ("none", "kl")}
    curves = {"none": record([1.0, 2.0], [3.0, 1.0]), "kl": record([1.0, 2.0], [4.0, 4.0])}
    found = summarised(curves, record([0.0, 0.0], [2.0, 4.0]), judged)
    none, held = found["fine_tuned"]["none"], found["fine_tuned"]["kl"]
    assert found["zero_shot"]["mean"] == 1.5
    assert none["gain"]["mean"] == 0.5
    # What is kept of the first task, and what is discarded of the second.
    assert none["guarded"]["mean"] == (3.0 + 2.0) / 2
    assert (none["num_kept"], none["steps_to_scratch"]) == (1, None)
    assert held["steps_to_scratch"] == 10
    assert held["gain_over_no_penalty"]["mean"] == 2.0
    assert held["less_scratch"]["mean"] == 1.0
    assert found["scratch"]["zero_shot_less_scratch"]["mean"] == -1.5


def test_methods_side_by_side_by_their_steps(finished, tmp_path, capsys):
    """A transfer's own methods, and a learning in other tasks, which is not comparable."""
    directory, result = finished
    found = methods([directory])
    assert [method.name for method in found] == ["ppo from scratch", "fine-tuned, none", "fine-tuned, l2"]
    assert same_steps(found) == 48
    scratch, tuned = found[0], found[1]
    # Exams from scratch are after 0, 72 and 144 steps.
    assert [point[0] for point in scratch.points] == [0, 72, 144]
    assert scratch.within(100) == scratch.points[1]
    assert tuned.within(48)[1] == result["fine_tuned"]["none"]["final"]["mean"]
    assert differences(found) == []
    assert main(["compare", str(directory), "--out", str(tmp_path / "page.html")]) == 0
    printed = capsys.readouterr().out
    assert "at 48 steps" in printed
    assert "Not comparable" not in printed
    assert "3 methods on new tasks" in (tmp_path / "page.html").read_text()
    other = tmp_path / "other"
    learn(dataclasses.replace(read_learning(directory / "scratch", True), num_tasks=2), other, progress=False)
    assert main(["compare", str(directory), str(other)]) == 0
    assert "Not comparable: num_tasks differs: 2, 3" in capsys.readouterr().out
    (other / "exams.json").unlink()
    assert main(["compare", str(directory), str(other)]) == 2
    assert "has no exams yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("transfer cartpool", "env: unknown name 'cartpool'; did you mean 'cartpole'?"),
        ("transfer cartpole --teacher rl2", "agent: 'rl2' is meta-trained"),
        ("transfer cartpole --penalties l3", "penalties"),
        (
            "transfer cartpole --coefficients 0",
            "Transfer.coefficients: got (0.0,); expected one or more",
        ),
        ("transfer cartpole --num-exams 1000", "Transfer.num_exams: got 1000; expected between 1 and"),
        ("transfer cartpole --num-sequence 99", "Transfer.num_sequence: got 99; expected between 0 and 16"),
        (
            "transfer cartpole --merge multi-task --teacher a2c",
            "Transfer.merge: got 'multi-task'; expected distill",
        ),
        ("transfer cartpole --until eat", "until"),
        ("transfer", "expected quickstudy transfer ENV"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments.split()) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not list(tmp_path.iterdir())
