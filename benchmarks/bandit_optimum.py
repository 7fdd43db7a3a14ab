"""How near `quickstudy train rl2 bandit`, with its defaults, comes to the exact optimum, over seeds.

Every training is the command that a user would give, in a process of its own; every result is
measured on 100,000 held-out bandits.

    python benchmarks/bandit_optimum.py [--seeds 0 1 2 3 4] [--arms 5 10]
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from machine import save

NUM_TASKS = 100_000


def quickstudy(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quickstudy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def train_and_measure(num_arms: int, seed: int, directory: Path) -> dict[str, Any]:
    options = ("--env.num-arms", num_arms, "--trial.num-episodes", 10, "--seed", seed)
    told = quickstudy("train", "rl2", "bandit", *options, "--out", directory, "--json").stderr
    seconds = re.search(r"trained in ([\d.]+) s", told)
    assert seconds is not None, told
    out = quickstudy("evaluate", directory, "--num-tasks", NUM_TASKS, "--json").stdout
    evaluation = json.loads(out)
    names = ("gittins", "ucb1", "thompson", "bayes-optimal")
    return {
        "num_arms": num_arms,
        "seed": seed,
        "seconds": float(seconds[1]),
        "total": evaluation["total"],
        "gap_percent": evaluation["optimum_gap_percent"]["mean"],
        "references": {name: evaluation["references"][name]["mean"] for name in names},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--arms", type=int, nargs="+", default=[5, 10])
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for num_arms in options.arms:
            for seed in options.seeds:
                results.append(train_and_measure(num_arms, seed, Path(folder) / f"{num_arms}-{seed}"))
                print(json.dumps(results[-1]), flush=True)
    print(save("bandit_optimum", {"num_test_tasks": NUM_TASKS, "results": results}))


if __name__ == "__main__":
    main()
