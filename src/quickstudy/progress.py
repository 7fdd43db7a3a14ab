"""What a person sees of a long training: a live line in a terminal, plain lines elsewhere (on stderr)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from quickstudy.curriculum import Goal
from quickstudy.experiment import Experiment

# Seconds between two plain lines: a log of an hour stays readable.
PLAIN_EVERY = 5.0


class Display(Protocol):
    goal: Goal
    """May change during a training."""

    def show(self, row: dict[str, Any]) -> None: ...


@contextlib.contextmanager
def progress_display(experiment: Experiment, goal: Goal, start: int, wanted: bool) -> Iterator[Display]:
    """The display that fits where the output goes."""
    if not wanted:
        yield _Silent(goal)
    elif sys.stderr.isatty():
        with _Live(experiment, goal, start) as display:
            yield display
    else:
        display = _Plain(experiment, goal, start)
        yield display
        display.finish()


@contextlib.contextmanager
def status_display(wanted: bool, doing: str = "measuring") -> Iterator[Callable[[str], None]]:
    """Something to tell now and then how far a measurement is."""
    if not wanted:
        yield lambda text: None
    elif sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status(f"{doing} …") as status:
            yield lambda text: status.update(f"{doing} … {text}")
    else:
        last = time.monotonic()

        def say(text: str) -> None:
            nonlocal last
            if time.monotonic() - last >= PLAIN_EVERY:
                print(f"{doing}: {text}", file=sys.stderr, flush=True)
                last = time.monotonic()

        yield say


def describe(experiment: Experiment, goal: Goal, row: dict[str, Any], remaining: float) -> str:
    """Updates, environment steps, steps a second, time left, mean return against the references."""
    skipped = f" · {row['skipped']} skipped" if row["skipped"] else ""
    best = ""
    if goal.reference is not None:
        best = f", {'best possible' if goal.exact else 'reference'} {goal.reference:.4g}"
    episodes = f" · {row['trial_episodes']} episodes a trial" if "trial_episodes" in row else ""
    return (
        f"update {row['update']}/{experiment.num_updates} · {count_text(row['env_steps'])} steps{episodes} · "
        f"{count_text(row['steps_per_second'])} steps/s · {clock_text(remaining)} left · "
        f"return {row['return']:.4g} (random {goal.random:.4g}{best}){skipped}"
    )


class _Silent:
    def __init__(self, goal: Goal):
        self.goal = goal

    def show(self, row: dict[str, Any]) -> None:
        pass


class _Clock:
    """Estimates the time left from the updates of this process, the first (compiling) call left out."""

    def __init__(self, experiment: Experiment, start: int):
        self._num_updates, self._first = experiment.num_updates, (start, time.monotonic())
        self._calls = 0

    def remaining(self, update: int) -> float:
        self._calls += 1
        now = time.monotonic()
        first_update, first_time = self._first
        rate = (now - first_time) / max(update - first_update, 1)
        if self._calls == 1:
            self._first = (update, now)
        return rate * (self._num_updates - update)


class _Plain:
    def __init__(self, experiment: Experiment, goal: Goal, start: int):
        self._experiment, self.goal, self._clock = experiment, goal, _Clock(experiment, start)
        self._printed, self._pending = -PLAIN_EVERY, ""

    def show(self, row: dict[str, Any]) -> None:
        self._pending = describe(self._experiment, self.goal, row, self._clock.remaining(row["update"]))
        if time.monotonic() - self._printed >= PLAIN_EVERY:
            self.finish()

    def finish(self) -> None:
        if self._pending:
            print(self._pending, file=sys.stderr, flush=True)
        self._printed, self._pending = time.monotonic(), ""


class _Live:
    def __init__(self, experiment: Experiment, goal: Goal, start: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._experiment, self.goal, self._clock = experiment, goal, _Clock(experiment, start)
        self._progress = Progress(
            BarColumn(bar_width=24), TextColumn("{task.description}"), console=Console(stderr=True)
        )
        self._task = self._progress.add_task("compiling …", total=experiment.num_updates, completed=start)

    def __enter__(self) -> _Live:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, row: dict[str, Any]) -> None:
        text = describe(self._experiment, self.goal, row, self._clock.remaining(row["update"]))
        self._progress.update(self._task, completed=row["update"], description=text)


def count_text(number: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def clock_text(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
