"""Small trainings for tests, in this process and in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from quickstudy.agents.rl2 import RL2
from quickstudy.envs.bandit import Bandit
from quickstudy.experiment import Experiment
from quickstudy.outer.ppo import PPO
from quickstudy.run import Run, to_arrays
from quickstudy.types import TrialShape
from quickstudy.updates import init_state

ROOT = Path(__file__).parents[1]


def tiny(**changes):
    """A training of a few seconds, with a checkpoint every five updates."""
    fields = {
        "agent": RL2(hidden_size=8),
        "env": Bandit(num_arms=2),
        "outer": PPO(num_minibatches=2),
        "trial": TrialShape(num_episodes=3),
        "num_tasks": 32,
        "num_updates": 20,
        "log_every": 5,
        "evaluate_every": 5,
        "num_validation_tasks": 32,
        "num_test_tasks": 64,
    }
    return Experiment(**{**fields, **changes})


TINY_OPTIONS = """
    --agent.hidden-size 8 --env.num-arms 2 --outer.num-minibatches 2 --trial.num-episodes 3 --num-tasks 32
    --num-updates 20 --log-every 5 --evaluate-every 5 --num-validation-tasks 32 --num-test-tasks 64
""".split()


def final_arrays(directory):
    """(number of updates, arrays by path) of the newest checkpoint of a run."""
    run = Run.open(directory, allow_code=True)
    restored = run.restore(init_state(run.experiment))
    assert restored is not None
    state, record = restored
    return record["update"], to_arrays(state)


def assert_same_arrays(one, other):
    """Byte for byte."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        assert array.tobytes() == other[name].tobytes(), (
            f"{name} differs by {np.abs(array - other[name]).max()}"
        )


def environment(**changes):
    """For a process of its own: this checkout on the path, one place for compiled programs."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, **changes}


def command(*arguments, cwd=None, **variables):
    """Run `quickstudy …` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "quickstudy.cli", *map(str, arguments)],
        capture_output=True, text=True, env=environment(**variables), timeout=300, check=False, cwd=cwd,
    )  # fmt: skip


def run_script(script, **variables):
    """Run Python code in a process of its own -> what it printed."""
    return subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, env=environment(**variables), timeout=300, check=True,
    ).stdout  # fmt: skip


def start(*arguments, **options):
    """Begin `quickstudy …` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "quickstudy.cli", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), **options,
    )  # fmt: skip
