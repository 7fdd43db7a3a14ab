"""The training loop: it learns, it is repeatable, it survives what happens to long runs."""

import contextlib
import csv
import dataclasses
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from quickstudy.agents.rl2 import RL2
from quickstudy.cli import main
from quickstudy.envs.bandit import Bandit
from quickstudy.errors import InputError, RunError
from quickstudy.experiment import Experiment
from quickstudy.loggers import Loggers
from quickstudy.outer.ppo import PPO
from quickstudy.references.bandit_exact import bayes_optimal_rewards
from quickstudy.run import Run
from quickstudy.session import load
from quickstudy.signals import Interrupted
from quickstudy.train import resume, train
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates
from tests.runs import (
    ROOT,
    TINY_OPTIONS,
    assert_same_arrays,
    environment,
    final_arrays,
    start,
    tiny,
)


@dataclasses.dataclass(frozen=True)
class FaultyPPO(PPO):
    """PPO whose updates are NaN from one share of the training to another."""

    bad_from: float = 0.25
    bad_to: float = 0.45

    def update(self, agent, state, trials, progress, key):
        state, metrics = super().update(agent, state, trials, progress, key)
        bad = (progress >= self.bad_from) & (progress < self.bad_to)
        return jax.tree.map(
            lambda x: jnp.where(bad, jnp.nan, x) if x.dtype == jnp.float32 else x, state
        ), metrics


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One training that nobody disturbed -> (its directory, its evaluation)."""
    directory = tmp_path_factory.mktemp("run") / "finished"
    return directory, train(tiny(), directory, progress=False).evaluation


def test_it_learns_the_two_armed_bandit():
    """Two arms, three pulls: the optimum is 5/3 by hand, a random agent earns 3/2."""
    experiment = Experiment(
        RL2(hidden_size=16),
        Bandit(num_arms=2),
        PPO(learning_rate=1e-2, discount=1.0, gae_lambda=0.5, final_entropy_coefficient=0.0),
        TrialShape(num_episodes=3),
        num_tasks=512,
        num_updates=150,
        num_test_tasks=20_000,
    )
    optimum = bayes_optimal_rewards(2, 3).sum()
    assert optimum == pytest.approx(5 / 3)
    evaluation = train(experiment, progress=False).evaluation
    error = evaluation["total"]["standard_error"]
    assert optimum - 0.03 - 2 * error < evaluation["total"]["mean"] < optimum + 4 * error
    assert evaluation["verdict"]["learned"]
    assert evaluation["gain"]["low"] > 0


def test_an_untrained_agent_is_said_to_have_learned_nothing():
    evaluation = train(tiny(num_updates=0), progress=False).evaluation
    assert not evaluation["verdict"]["learned"]
    assert evaluation["verdict"]["text"].startswith("Learned nothing")


def test_the_same_seed_gives_the_same_result(finished, tmp_path):
    again = train(tiny(), tmp_path / "again", progress=False)
    assert_same_arrays(final_arrays(finished[0])[1], final_arrays(tmp_path / "again")[1])
    assert again.evaluation == finished[1]
    other = train(tiny(seed=1), progress=False)
    assert not np.array_equal(other.meta_params.core.w_input, again.meta_params.core.w_input)


def test_lengths_of_compiled_calls_do_not_matter(finished):
    """One call of 20 updates, or calls of 1, 7 and 12: the same bits."""
    state, _ = run_updates(tiny(), init_state(tiny()), 20)
    pieces = init_state(tiny())
    for stop in (1, 8, 20):
        pieces, _ = run_updates(tiny(), pieces, stop)
    for whole, piece, saved in zip(
        jax.tree.leaves(state),
        jax.tree.leaves(pieces),
        final_arrays(finished[0])[1].values(),
        strict=True,
    ):
        np.testing.assert_array_equal(whole, piece)
        np.testing.assert_array_equal(whole, saved)


def test_the_run_directory_holds_everything(finished):
    directory = finished[0]
    record = json.loads((directory / "experiment.json").read_text())
    assert record["agent"]["type"] == "rl2"
    assert record["agent"]["hidden_size"] == 8
    assert record["versions"]["jax"] == jax.__version__
    assert record["fingerprint"]["env"] == {"type": "bandit", "num_arms": 2}
    with (directory / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["update"]) for row in rows] == [5, 10, 15, 20]
    assert [int(row["env_steps"]) for row in rows] == [32 * 3 * u for u in (5, 10, 15, 20)]
    assert all(float(row["entropy"]) > 0 and float(row["eval_return"]) > 0 for row in rows)
    assert list((directory / "events").iterdir())
    assert json.loads((directory / "evaluation.json").read_text()) == finished[1]


def test_the_last_three_checkpoints_and_the_best_are_kept(tmp_path):
    run = Run.create(tmp_path / "kept", tiny())
    state = init_state(tiny())
    with run.locked():
        for update, mean_return in enumerate([1.0, 9.0, 2.0, 3.0, 4.0, 5.0]):
            run.save(update, state, mean_return)
    reader = Run.open(tmp_path / "kept")
    assert sorted(reader.checkpoints.steps()) == [1, 3, 4, 5]
    assert reader.checkpoints.best() == 1


@pytest.mark.parametrize("name", ["state.safetensors", "record.json"])
def test_a_changed_byte_of_a_checkpoint_is_noticed(tmp_path, name):
    directory = tmp_path / "changed"
    train(tiny(num_updates=10), directory, progress=False)
    path = directory / "checkpoints" / "10" / name
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="checkpoint 10 .* is damaged"):
        assert load(directory).update == 5


def test_a_writer_clears_what_a_kill_left_half_written(tmp_path):
    directory = tmp_path / "killed"
    train(tiny(num_updates=5), directory, progress=False)
    (directory / "checkpoints" / "10.part").mkdir()
    (directory / "checkpoints" / "10.part" / "state.safetensors").write_bytes(b"half")
    record = json.loads((directory / "experiment.json").read_text())
    (directory / "experiment.json").write_text(json.dumps({**record, "num_updates": 10}))
    resume(directory, progress=False)
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == ["10", "5"]


def test_a_reader_touches_nothing_that_a_trainer_is_writing(tmp_path):
    directory = tmp_path / "read"
    train(tiny(num_updates=5), directory, progress=False)
    unfinished = directory / "checkpoints" / "10.part"
    unfinished.mkdir()
    before = sorted(directory.rglob("*"))
    load(directory)
    time.sleep(1)
    assert sorted(directory.rglob("*")) == before


def test_two_processes_cannot_train_in_one_directory(tmp_path):
    directory = tmp_path / "shared"
    train(tiny(num_updates=5), directory, progress=False)
    with Run.open(directory).locked(), pytest.raises(InputError, match="another process trains"):
        resume(directory, progress=False)


def test_resumed_equals_uninterrupted(finished, tmp_path):
    """The state after ten updates, in a directory of its own, is resumed to the end."""
    half = tmp_path / "half"
    train(tiny(), half, progress=False)
    for step in (15, 20):
        shutil.rmtree(half / "checkpoints" / str(step))
    resumed = resume(half, progress=False)
    assert_same_arrays(final_arrays(half)[1], final_arrays(finished[0])[1])
    assert resumed.evaluation == finished[1]
    with (half / "metrics.csv").open() as file:
        assert [int(row["update"]) for row in csv.DictReader(file)] == [5, 10, 15, 20]


def test_a_finished_run_can_be_resumed_without_harm(finished):
    before = final_arrays(finished[0])
    assert resume(finished[0], progress=False).evaluation == finished[1]
    assert final_arrays(finished[0])[0] == before[0]
    assert_same_arrays(before[1], final_arrays(finished[0])[1])


def printed(*arguments, directory):
    """Run `quickstudy …` in this process -> (the final arrays of a run, the evaluation that was printed)."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main([*map(str, arguments), "--json"]) == 0
    return final_arrays(directory), json.loads(out.getvalue())


def killed_and_resumed(directory, seconds):
    """Kill a training after so many seconds from its first line of metrics, then resume it."""
    process = start("train", "rl2", "bandit", *TINY_OPTIONS, "--num-updates", 300, "--out", directory)
    while not (directory / "metrics.csv").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate()
    assert process.returncode in (0, -signal.SIGKILL)
    return printed("resume", directory, directory=directory)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "undisturbed"
    options = [*TINY_OPTIONS, "--num-updates", "300", "--out", directory]
    return printed("train", "rl2", "bandit", *options, directory=directory)


@pytest.mark.parametrize("moment", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 10))])
def test_killed_and_resumed_equals_uninterrupted(undisturbed, tmp_path, moment):
    seconds = random.Random(moment).uniform(0, 3)
    (update, arrays), evaluation = killed_and_resumed(tmp_path / "killed", seconds)
    assert update == undisturbed[0][0] == 300
    assert_same_arrays(arrays, undisturbed[0][1])
    assert evaluation == undisturbed[1]


def test_an_interrupt_saves_and_exits_130(tmp_path):
    directory = tmp_path / "interrupted"
    process = start("train", "rl2", "bandit", *TINY_OPTIONS, "--num-updates", 10**6, "--out", directory)
    while not (directory / "metrics.csv").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    stopped_after = int(told.strip().splitlines()[-1].split("stopped after ")[1].split()[0])
    experiment = json.loads((directory / "experiment.json").read_text())
    (directory / "experiment.json").write_text(json.dumps({**experiment, "num_updates": stopped_after}))
    assert final_arrays(directory)[0] == stopped_after


def test_a_signal_while_a_line_is_written_loses_nothing(tmp_path, monkeypatch):
    directory, write = tmp_path / "interrupted", Loggers.write

    def interrupted(self, row):
        write(self, row)
        if row["update"] == 9:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Loggers, "write", interrupted)
    with pytest.raises(Interrupted, match="stopped after 9 updates"):
        train(tiny(log_every=3, evaluate_every=10), directory, progress=False)
    assert final_arrays(directory)[0] == 9


def test_a_truncated_checkpoint_falls_back_to_the_one_before(finished, tmp_path):
    directory = tmp_path / "cut"
    train(tiny(), directory, progress=False)
    path = directory / "checkpoints" / "20" / "state.safetensors"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.warns(UserWarning, match="checkpoint 20 .* is damaged .* trying the one before"):
        loaded = load(directory)
    assert loaded.update == 15
    with pytest.warns(UserWarning, match="checkpoint 20 .* is damaged"):
        resume(directory, progress=False)
    assert load(directory).update == 20, "the damaged checkpoint was not replaced"
    assert len(list((directory / "damaged").iterdir())) == 1
    assert_same_arrays(final_arrays(directory)[1], final_arrays(finished[0])[1])


def test_a_run_without_a_readable_checkpoint_says_so(tmp_path):
    directory = tmp_path / "cut"
    train(tiny(num_updates=5), directory, progress=False)
    os.truncate(directory / "checkpoints" / "5" / "state.safetensors", 0)
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InputError, match=r"none of \[5\]"):
        load(directory)


def test_another_environment_is_refused(tmp_path):
    directory = tmp_path / "other"
    train(tiny(num_updates=5), directory, progress=False)
    record = json.loads((directory / "experiment.json").read_text())
    record["env"]["num_arms"] = 3
    (directory / "experiment.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="environment fingerprint: env is"):
        load(directory)


def test_updates_that_are_not_finite_are_skipped_and_counted():
    """Updates 5 to 8 of 20 are NaN: the training goes on without them."""
    experiment = tiny(outer=FaultyPPO(num_minibatches=2))
    state, metrics = run_updates(experiment, init_state(experiment), 20)
    assert int(state.skipped) == 4
    assert int(state.skipped_in_a_row) == 0
    assert all(np.isfinite(x) for x in metrics.values())
    for leaf in jax.tree.leaves(state.outer.meta_params):
        assert np.isfinite(leaf).all()
    before, _ = run_updates(experiment, init_state(experiment), 5)
    held, _ = run_updates(experiment, before, 9)
    np.testing.assert_array_equal(held.outer.meta_params.core.bias, before.outer.meta_params.core.bias)
    assert not np.array_equal(state.outer.meta_params.core.bias, held.outer.meta_params.core.bias)


def test_ten_updates_in_a_row_that_are_not_finite_stop_the_run(tmp_path):
    """Updates 15 to 26 of 60 are NaN."""
    experiment = tiny(num_updates=60, outer=FaultyPPO(num_minibatches=2))
    with pytest.raises(
        RunError,
        match=r"10 updates in a row, before update 25, were not finite.*checkpoint 20 is the last good one",
    ):
        train(experiment, tmp_path / "nan", progress=False)
    update, arrays = final_arrays(tmp_path / "nan")
    assert update == 20
    assert all(np.isfinite(x).all() for x in arrays.values())


@pytest.mark.parametrize("first", ["a checkpoint", "a line of metrics"])
def test_a_disk_that_takes_no_more_stops_the_run(tmp_path, first):
    """Files may grow to 6 KB: the experiment fits, a checkpoint or a long log does not."""
    script = (
        "import resource, signal, sys; from quickstudy.cli import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); "
        "sys.exit(main(sys.argv[1:]))"
    )
    # What is compiled cannot be kept either, and is soon done with.
    uncached = {"QUICKSTUDY_CACHE": "", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    directory = tmp_path / "full"
    options = [*TINY_OPTIONS, "--agent.hidden-size", "64", "--out", str(directory)]
    if first == "a line of metrics":
        options += "--log-every 1 --evaluate-every 1000 --num-updates 200".split()
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "rl2", "bandit", *options],
        capture_output=True, text=True, env=environment(**uncached), check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "quickstudy: cannot write: File too large; what was saved before is kept\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert json.loads((directory / "experiment.json").read_text())["agent"]["hidden_size"] == 64


def test_two_devices_give_the_result_of_one(tmp_path):
    """The same training on two virtual devices, its tasks shared out between them."""
    script = (
        "import jax, sys, numpy as np; from quickstudy.updates import *; from tests.runs import tiny; "
        "state, metrics = run_updates(tiny(), init_state(tiny()), 10); "
        "leaves = jax.tree.leaves(state.outer.meta_params); "
        "np.savez(sys.argv[1], *leaves, count=len(jax.devices()), mean=metrics['return'])"
    )
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    path = tmp_path / "two.npz"
    subprocess.run([sys.executable, "-c", script, path], check=True, cwd=ROOT, env=environment(XLA_FLAGS=flags))
    two = np.load(path)
    state, metrics = run_updates(tiny(), init_state(tiny()), 10)
    assert (len(jax.devices()), int(two["count"])) == (1, 2)
    leaves = jax.tree.leaves(state.outer.meta_params)
    assert len(two.files) == len(leaves) + 2
    for name, one in {"mean": metrics["return"], **{f"arr_{i}": x for i, x in enumerate(leaves)}}.items():
        np.testing.assert_allclose(one, two[name], atol=1e-5)


def test_tasks_that_devices_cannot_share_are_refused(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [None] * 3)
    with pytest.raises(InputError, match="num_tasks: got 32; expected a multiple of the number of devices, 3"):
        train(tiny(), progress=False)
