"""quickstudy: meta-train agents that adapt to a new task within a few episodes, and show how well.

import quickstudy as qs
trained = qs.train(qs.preset("rl2", "bandit"), out="runs/bandit")
session = qs.load("runs/bandit").session(seed=0)
"""

from quickstudy._version import __version__
from quickstudy.errors import InputError, RunError
from quickstudy.evaluation import evaluate
from quickstudy.experiment import Experiment
from quickstudy.presets import preset
from quickstudy.session import Session, load
from quickstudy.train import resume, train
from quickstudy.types import TrialShape

__all__ = [
    "Experiment",
    "InputError",
    "RunError",
    "Session",
    "TrialShape",
    "__version__",
    "evaluate",
    "load",
    "preset",
    "resume",
    "train",
]
