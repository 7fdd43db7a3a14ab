"""The command line: what it prints, and one line with exit code 2 for every kind of bad input."""

import importlib.util
import json
import shutil

import pytest

from quickstudy.cli import main
from quickstudy.experiment import from_record
from quickstudy.run import Run
from quickstudy.train import train
from tests.runs import TINY_OPTIONS, command

USER_FILE = '''
"""A user's own family: five arms that always pay the same."""
import dataclasses
import jax, jax.numpy as jnp
from quickstudy.envs.bandit import Bandit
from quickstudy.types import Outcome

@dataclasses.dataclass(frozen=True)
class SureBandit(Bandit):
    def step(self, task, state, action, key):
        return state, Outcome(jnp.int32(0), (task[action] > 0.5).astype(jnp.float32), jnp.bool_(True))
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "trained"
    assert main(["train", "rl2", "bandit", *TINY_OPTIONS, "--out", str(directory)]) == 0
    return directory


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A training in a user's own family, in a process of its own -> (its directory, the process)."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine.py").write_text(USER_FILE)
    done = command("train", "rl2", "mine.py:SureBandit", *TINY_OPTIONS, "--out", "run", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run", done


@pytest.fixture
def bad(capsys):
    """Run a command that must fail with code 2 and one line -> that line."""

    def check(*arguments):
        code = main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert code == 2
        assert out == ""
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("quickstudy: ")
        return lines[0].removeprefix("quickstudy: ")

    return check


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("trian rl2 bandit", "command: unknown name 'trian'; did you mean 'train'?"),
        ("train rl3 bandit", "agent: unknown name 'rl3'; did you mean 'rl2'?"),
        ("train rl2 bandti", "env: unknown name 'bandti'; did you mean 'bandit'?"),
        ("train rl2 bandit --outer pp", "outer: unknown name 'pp'; did you mean 'ppo'?"),
        ("train rl2 bandit --env.num-arm 3", "unknown name '--env.num-arm'; did you mean '--env.num-arms'?"),
        ("train rl2 bandit --sed 3", "option: unknown name '--sed'; did you mean '--seed'?"),
        ("train rl2 bandit --env.num-arms 0", "Bandit.num_arms: got 0; expected between 1 and 10,000"),
        ("train rl2 bandit --env.num-arms two", "--env.num-arms: invalid literal for int()"),
        ("train rl2 bandit --env.num-arms 2.5", "--env.num-arms: invalid literal for int()"),
        ("train rl2 bandit --outer.clip -1", "PPO.clip: got -1.0; expected above 0"),
        ("train rl2 bandit --outer.learning-rate nan", "PPO.learning_rate: got nan; expected above 0"),
        ("train rl2 bandit --outer.credit life", "('trial', 'episode')"),
        ("train rl2 bandit --trial.num-episodes 0", "TrialShape.num_episodes: got 0; expected between"),
        ("train rl2 bandit --seed -1", "Experiment.seed: got -1; expected between 0 and 2**32 - 1"),
        ("train rl2 bandit --num-tasks 30 --outer.num-minibatches 4", "num_tasks: got 30; expected a multiple"),
        ("train rl2 bandit --seed", "--seed"),
        ("train rl2", "arguments: got rl2; expected quickstudy train AGENT ENV"),
        ("train rl2 bandit extra", "arguments: got rl2 bandit extra; expected"),
        ("train rl2 bandit --outer=", "outer: unknown name ''"),
        ("train rl2 bandit --outer.final-entropy-coefficient nan", "final_entropy_coefficient: got nan"),
        ("train rl2 bandit --num-updates 3000000000", "num_updates: got 3000000000; expected between"),
        ("train rl2 bandit --num-tasks 1000000000", "num_tasks: got 1000000000; expected between"),
        ("train rl2 bandit --env.num-arms 10000000000", "num_arms: got 10000000000; expected between"),
        ("train rl2 bandit --trial.num-episodes 10000000000", "num_episodes: got 10000000000; expected"),
        (
            "train rl2 bandit --outer.credit episode --outer.normalise-values",
            "outer.normalise_values: got True",
        ),
        ("train maml wind --outer.baseline critic", "outer.baseline: got 'critic'; expected 'linear'"),
        ("train maml wind --outer reptile --agent.first-deviation 2", "agent.first_deviation: got 2.0"),
        ("train rl2 bandit --out /dev/null/x", "out: cannot make '/dev/null/x'"),
        ("train : bandit", "agent: got ''; expected package.module:Name"),
        ("train .foo:Bar bandit", "agent: got '.foo'; expected package.module:Name"),
        ("train rl2 quickstudy.agents.rl2:RL2", "has no 'observation_space'"),
        (f"train {'x' * 300}.py:Agent bandit", "expected a file that exists"),
        (f"evaluate {'x' * 300}", "is no run directory"),
        ("train thompson bandit", "agent: 'thompson' has nothing to meta-train"),
        ("train missing.py:Agent bandit", "agent: got 'missing.py'; expected a file that exists"),
        ("train no_such_package.x:Agent bandit", "agent: cannot import 'no_such_package.x'"),
        ("train quickstudy.agents.rl2:RL3 bandit", "unknown name 'RL3'; did you mean 'RL2'?"),
        ("evaluate thompson bandit --num-tasks 1", "num_tasks: got 1; expected at least 2"),
        ("evaluate thompson bandit --agent.epsilon 1", "option: unknown name '--agent.epsilon'"),
        ("evaluate nowhere", "run: 'nowhere' is no run directory"),
        ("resume nowhere", "run: 'nowhere' is no run directory"),
        ("report nowhere", "run: 'nowhere' is no run directory"),
        ("compare", "compare: got no run"),
        ("list agent", "list: unknown name 'agent'; did you mean 'agents'?"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(bad, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in bad(*arguments.split())
    assert not list(tmp_path.iterdir()), "a command that was refused left something behind"


def test_no_traceback_in_a_process_of_its_own(tmp_path):
    done = command("train", "rl2", "bandit", "--env.num-arms", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "quickstudy: Bandit.num_arms: got 0; expected between 1 and 10,000\n"


def test_a_logger_that_is_not_installed_is_refused(bad, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "wandb: the package is not installed" in bad("train", "rl2", "bandit", "--wandb", "offline")
    assert not list(tmp_path.iterdir())


def test_an_output_directory_that_exists_is_refused(bad, run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    assert "exists; expected a new directory" in bad("train", "rl2", "bandit", *TINY_OPTIONS, "--out", run)
    assert before == {p: p.stat().st_mtime_ns for p in run.rglob("*")}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"num_arms"', '"num_army"', "env field: unknown name 'num_army'; did you mean 'num_arms'?"),
        ('"num_arms": 2', '"num_arms": "2"', "env.num_arms: got '2'; expected of type int"),
        ('"type": "rl2"', '"type": "rl3"', "agent: unknown name 'rl3'"),
        ('"num_arms": 2', '"num_arms": 3', "environment fingerprint: env is"),
        ('"hidden_size": 8', '"hidden_size": 9', "expected shape"),
        ('"seed": 0', '"seed": }', "cannot be read as JSON"),
    ],
)
def test_a_damaged_run_is_one_line(bad, run, tmp_path, old, new, said):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    path = copy / "experiment.json"
    path.write_text(path.read_text().replace(old, new, 1))
    for name in ("evaluate", "resume"):
        assert said in bad(name, copy)


def test_evaluate_prints_one_json_object(run, capsys):
    assert main(["evaluate", str(run), "--num-tasks", "50", "--seed", "3", "--json"]) == 0
    out = capsys.readouterr().out
    evaluation = json.loads(out)
    assert out.count("\n") == 1
    assert (evaluation["agent"], evaluation["env"], evaluation["num_tasks"], evaluation["seed"]) == (
        "rl2", "bandit", 50, 3,
    )  # fmt: skip
    assert [set(e) for e in evaluation["episodes"]] == [{"mean", "iqm", "low", "high"}] * 3
    assert set(evaluation["total"]) == {"mean", "low", "high", "standard_error"}
    assert evaluation["success"] is None
    assert {"random", "thompson", "gittins", "bayes-optimal"} <= set(evaluation["references"])
    for name, entry in evaluation["references"].items():
        assert entry["low"] <= entry["mean"] <= entry["high"]
        assert entry["exact"] == (name == "bayes-optimal")
    mean = sum(e["mean"] for e in evaluation["episodes"])
    assert mean == pytest.approx(evaluation["total"]["mean"])
    assert evaluation["protocol"]["checkpoint"] == 20


def test_an_evaluation_is_repeated_from_its_protocol(run, capsys):
    def evaluated(*options):
        assert main(["evaluate", str(run), *options, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    stored = json.loads((run / "evaluation.json").read_text())
    protocol = stored["protocol"]
    again = evaluated("--num-tasks", str(protocol["num_tasks"]), "--seed", str(protocol["seed"]))
    assert again == {k: v for k, v in stored.items() if k != "examples"}
    assert evaluated("--seed", "1")["total"] != again["total"]


def test_more_episodes_than_in_training(own, monkeypatch, capsys):
    monkeypatch.chdir(own[0].parent)
    options = "--allow-code --trial.num-episodes 6 --num-tasks 50 --json"
    assert main(["evaluate", "run", *options.split()]) == 0
    assert len(json.loads(capsys.readouterr().out)["episodes"]) == 6


def test_checkpoints_can_be_chosen(run, bad, capsys):
    for name, update in (("best", Run.open(run).checkpoints.best()), ("15", 15), ("last", 20)):
        assert main(["evaluate", str(run), "--num-tasks", "50", "--checkpoint", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["protocol"]["checkpoint"] == update
    assert "checkpoint: got 7; expected one of" in bad("evaluate", run, "--checkpoint", "7")


def test_evaluate_leaves_the_run_alone_unless_asked(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    before = (copy / "evaluation.json").read_text()
    assert main(["evaluate", str(copy), "--num-tasks", "50"]) == 0
    assert (copy / "evaluation.json").read_text() == before
    assert main(["evaluate", str(copy), "--num-tasks", "50", "--save"]) == 0
    assert json.loads((copy / "evaluation.json").read_text())["num_tasks"] == 50


def test_report_and_compare(run, bad, tmp_path, capsys):
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert "</html>" in (run / "report.html").read_text()
    page = tmp_path / "comparison.html"
    assert main(["compare", str(run), str(run), "--out", str(page)]) == 0
    assert capsys.readouterr().out.count("rl2") >= 2
    assert "</html>" in page.read_text()
    assert "exists; expected a new file" in bad("compare", run, "--out", page)


def test_list(capsys):
    assert main(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == {"agents", "envs", "outers", "presets"}
    assert {"name": "rl2 bandit"}.items() <= listed["presets"][0].items()
    assert main(["list", "agents"]) == 0
    out = capsys.readouterr().out
    assert "gittins" in out
    assert "bandit " not in out


@pytest.mark.parametrize("arguments", ["--help", "train --help", "train rl2 bandit --help", "list --help"])
def test_help(capsys, arguments):
    try:
        code = main(arguments.split())
    except SystemExit as stop:
        code = stop.code
    assert code == 0
    out = capsys.readouterr().out
    assert ("--json" if arguments.startswith(("list", "train rl2")) else "resume DIR") in out
    if arguments.startswith("train rl2"):
        assert "--env.num-arms" in out


def test_a_users_own_file(own, monkeypatch, bad):
    monkeypatch.chdir(own[0].parent)
    assert "pass --allow-code" in bad("evaluate", "run")
    assert main(["evaluate", "run", "--allow-code", "--num-tasks", "50"]) == 0


def test_a_changed_reward_is_noticed(own):
    """The same class, fields and spaces, but another reward than the checkpoint's."""
    file = own[0].parent / "mine.py"
    file.write_text(USER_FILE.replace("> 0.5", "> 0.25"))
    done = command("evaluate", own[0], "--allow-code")
    file.write_text(USER_FILE)
    assert done.returncode == 2
    assert "now pays other rewards" in done.stderr


def test_json_leaves_standard_output_to_one_object(own):
    done = own[1]
    assert json.loads(done.stdout)["num_tasks"] == 64
    assert "update 20/20" in done.stderr
    assert done.stderr.strip().endswith("report.html")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("evaluation.json", "{}", "agent is missing"),
        ("metrics.csv", "\xff\x00 no table", None),
        ("experiment.json", "\xff", "cannot be read as JSON"),
    ],
)
def test_damaged_files_are_told_or_passed_over(bad, run, tmp_path, name, text, said):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / name).write_bytes(text.encode("latin-1"))
    if said is None:
        assert main(["report", str(copy)]) == 0
        assert main(["resume", str(copy)]) == 0
    else:
        assert said in bad("compare", copy)


DATACLASS = "import dataclasses\n@dataclasses.dataclass{}\nclass Mine:\n    x: int = 1"
FAULTY = {
    "syntax": ("class Mine(:", "SyntaxError"),
    "import": ("import no_such_package", "No module named 'no_such_package'"),
    "mutable": (DATACLASS.format(""), "a frozen dataclass"),
    "empty": (DATACLASS.format("(frozen=True)"), "has no 'init'"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_file_of_a_users_own(bad, tmp_path, fault):
    code, said = FAULTY[fault]
    (tmp_path / f"{fault}.py").write_text(code)
    assert said in bad("train", f"{tmp_path / fault}.py:Mine", "bandit", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_field_that_may_name_code_is_refused(bad, run, tmp_path):
    """A run directory of somebody else's must not make us import what a field names."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    record = json.loads((copy / "experiment.json").read_text())
    record["env"]["num_arms"] = "os:system"
    (copy / "experiment.json").write_text(json.dumps(record))
    assert "may name code outside quickstudy" in bad("evaluate", copy)


def test_a_frame_of_ascii_letters_is_understood(tmp_path):
    done = command("train", "rl2", "bandit", "--seed", "x", cwd=tmp_path)
    ascii_frame = command("train", "rl2", "bandit", "--seed", "x", cwd=tmp_path, PYTHONIOENCODING="latin-1")
    assert (
        done.stderr
        == ascii_frame.stderr
        == ("quickstudy: Error parsing --seed: invalid literal for int() with base 10: 'x'\n")
    )


def test_a_result_is_repeated_from_its_run_directory(run):
    """From the stored experiment alone, everything is repeated."""
    record = json.loads((run / "experiment.json").read_text())
    again = train(from_record(record), progress=False).evaluation
    assert again == json.loads((run / "evaluation.json").read_text())
