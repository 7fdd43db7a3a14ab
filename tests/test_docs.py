"""The skeletons in the documentation are code that runs, and what the documentation names exists."""

import re

import jax
import numpy as np
import pytest

from quickstudy import keys
from quickstudy.agents.rl2 import RL2
from quickstudy.cli import main
from quickstudy.envs.bandit import Bandit
from quickstudy.evaluation import measure
from quickstudy.experiment import Experiment
from quickstudy.outer.ppo import PPO
from quickstudy.registry import REGISTRIES, Kind, resolve
from quickstudy.rollout import collect, replay, sample_tasks
from quickstudy.types import TrialShape
from quickstudy.updates import init_state, run_updates
from tests.runs import ROOT

TRIAL = TrialShape(num_episodes=3)
live_in = jax.jit(collect, static_argnums=(0, 1, 2))
replayed = jax.jit(replay, static_argnums=0)


def skeleton(page, file, name, tmp_path):
    """The first block of code on a page, saved as the page says, and the class in it."""
    text = (ROOT / "docs" / page).read_text()
    assert f"Save this as `{file}`" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code
    (tmp_path / file).write_text(code[1])
    kinds: dict[str, Kind] = {"my_agent.py": "agent", "my_env.py": "env", "my_outer.py": "outer"}
    return resolve(kinds[file], f"{tmp_path / file}:{name}")


def mean_return(experiment, state):
    key = keys.branch(0, keys.TEST)
    params = state.outer.meta_params
    return measure(experiment.agent, experiment.env, experiment.trial, params, 2000, key).total.mean()


def learns(experiment, by):
    """Held-out return rises by at least so much from the first update to the last."""
    start = init_state(experiment)
    end, _ = run_updates(experiment, start, experiment.num_updates)
    assert mean_return(experiment, end) > mean_return(experiment, start) + by


def test_new_agent(tmp_path):
    agent = skeleton("new_agent.md", "my_agent.py", "LastStep", tmp_path)()
    env = Bandit(num_arms=2)
    meta_params = agent.init(env, TRIAL, jax.random.key(0))
    task_keys, trial_keys = keys.per_task(jax.random.key(1), np.arange(4))
    trials = live_in(agent, env, TRIAL, meta_params, sample_tasks(env, task_keys), trial_keys)
    log_prob = replayed(agent, meta_params, trials).policy.log_prob(trials.phases.action)
    np.testing.assert_allclose(log_prob, trials.phases.log_prob, atol=1e-5)
    outer = PPO(learning_rate=0.02, discount=1.0)
    # Win-stay lose-shift earns 5/3 here, which is the optimum; a random agent 3/2.
    learns(Experiment(agent, env, outer, TRIAL, num_tasks=256, num_updates=120), by=0.08)


def test_new_environment(tmp_path):
    env = skeleton("new_environment.md", "my_env.py", "HiddenTarget", tmp_path)()
    learns(
        Experiment(RL2(hidden_size=16), env, PPO(learning_rate=5e-3), TRIAL, num_tasks=128, num_updates=100),
        by=1.0,
    )


def test_new_outer(tmp_path):
    outer = skeleton("new_outer.md", "my_outer.py", "Reinforce", tmp_path)()
    learns(Experiment(RL2(hidden_size=16), Bandit(2), outer, TRIAL, num_tasks=256, num_updates=80), by=0.1)


def test_the_command_that_a_page_names_runs(tmp_path, monkeypatch):
    skeleton("new_environment.md", "my_env.py", "HiddenTarget", tmp_path)
    monkeypatch.chdir(tmp_path)
    options = "--trial.num-episodes 2 --num-tasks 8 --num-updates 2 --num-test-tasks 8 --num-validation-tasks 8"
    assert main(["train", "rl2", "my_env.py:HiddenTarget", *options.split()]) == 0
    assert (tmp_path / "runs" / "rl2-HiddenTarget-seed0" / "report.html").is_file()


def commands(page, heading):
    """The commands of the blocks under a heading."""
    text = (ROOT / "docs" / page).read_text().partition(f"## {heading}")[2].partition("\n## ")[0]
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    return [line.split()[1:] for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize(
    ("heading", "needs", "report"),
    [
        ("A walk with the pendulum", None, "runs/walk/report.html"),
        # The same stages on a body, whose physics compile for long.
        pytest.param("A walk with the cheetah", "mujoco", "runs/cheetah/report.html", marks=pytest.mark.slow),
    ],
)
def test_a_walk_from_known_tasks_to_new_ones(heading, needs, report, tmp_path, monkeypatch):
    if needs is not None:
        pytest.importorskip(needs)
    monkeypatch.chdir(tmp_path)
    walk = commands("transfer.md", heading)
    assert len(walk) == 2
    for command in walk:
        assert main(command) == 0
    assert "learned from scratch" in (tmp_path / report).read_text()


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_readme_names_all_there_is(kind):
    readme = (ROOT / "README.md").read_text()
    for name in REGISTRIES[kind]:
        assert f"`{name}`" in readme, f"{kind} {name} is missing"


PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_files_exist(page):
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    for path in re.findall(r"`((?:src|benchmarks|docs|tests)/[\w./]+)`", text):
        assert (ROOT / path).exists(), path
