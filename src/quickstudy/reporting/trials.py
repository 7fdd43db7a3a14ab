"""Example trials drawn step by step, so that one sees an agent try, find out and settle.

With few actions there is a row for each, and in every column a mark in the row of the action taken: a filled
dot for a reward above 0, an empty ring for none, a cross for a reward below 0, larger for larger rewards.
Otherwise (continuous actions, or too many) the reward of each step is drawn as a line.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from quickstudy.reporting.charts import WIDTH, Axes, Series, line_chart, segment, shortened, svg, text
from quickstudy.reporting.estimates import finite, short
from quickstudy.reporting.markup import Markup, element, joined

STEP_LIMIT = 200
ACTION_LIMIT = 12
COLUMNS = 40
"""Steps side by side; a longer trial goes on below, like lines of text."""
LABEL_END = 92
LABEL_LETTERS = 9
ROW_END = WIDTH - 14
ROW = 18.0
BAND_GAP = 26.0

PAYS = re.compile(r"\s*(?:p|mean)\s*=\s*([-+]?\d*\.?\d+)\s*")
"""Labels that say what an action pays: only these tell which row is the best."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """An example trial: what was done and what it brought, one entry a step."""

    task: str
    labels: Sequence[str]
    """One for each action where they are few and discrete; else empty."""
    actions: Sequence[int]
    """As many as steps where there are labels; else empty."""
    rewards: Sequence[float]
    episodes: Sequence[int]
    length: int
    """How many steps the trial had; no more than STEP_LIMIT of them are kept."""

    @property
    def boundaries(self) -> list[int]:
        """Steps that open an episode, where an episode is longer than one step."""
        opens = [step for step in range(1, len(self.rewards)) if self.episodes[step] != self.episodes[step - 1]]
        return opens if len(opens) < len(self.rewards) - 1 else []

    @property
    def best(self) -> int | None:
        """The action that pays most, where every label says what it pays."""
        found = [PAYS.fullmatch(label) for label in self.labels]
        pays = [float(match[1]) for match in found if match]
        return pays.index(max(pays)) if pays and len(pays) == len(self.labels) else None


def read_trial(stored: Mapping[str, Any]) -> Trial | None:
    """From evaluation.json's form of an example; None if it has no step."""
    steps = [step for step in stored.get("steps") or [] if isinstance(step, Mapping)]
    if not steps:
        return None
    kept = steps[:STEP_LIMIT]
    actions = [_whole(step.get("action")) for step in kept]
    labels = stored.get("labels") or []
    discrete = [action for action in actions if action is not None]
    num_actions = max(len(labels), max(discrete, default=0) + 1)
    few = len(discrete) == len(kept) and min(discrete) >= 0 and num_actions <= ACTION_LIMIT
    return Trial(
        task=str(stored.get("task") or ""),
        labels=[str(labels[a]) if a < len(labels) else f"action {a}" for a in range(num_actions)]
        if few
        else [],
        actions=discrete if few else [],
        rewards=[finite(step.get("reward")) for step in kept],
        episodes=[_whole(step.get("episode")) or 0 for step in kept],
        length=len(steps),
    )


def trial_figure(trial: Trial, number_of: int) -> Markup:
    """A trial's drawing with its caption."""
    drawing = _action_rows(trial, number_of) if trial.labels else _reward_line(trial, number_of)
    return element(
        "figure",
        drawing or element("p", "No reward of this trial is a finite number.", class_="nothing"),
        element(
            "figcaption", element("strong", trial.task or f"Held-out task {number_of}"), ". ", _told(trial)
        ),
        class_="trial",
        id=f"trial-{number_of}",
    )


def _told(trial: Trial) -> str:
    """The trial in words, which say as much as the drawing's first impression."""
    known = [reward for reward in trial.rewards if math.isfinite(reward)]
    steps = f"{trial.length:,} step{'s' if trial.length > 1 else ''}"
    if trial.length > STEP_LIMIT:
        steps = f"The first {STEP_LIMIT} of {steps}"
    elif trial.length == STEP_LIMIT:
        # The evaluation stores no more: whether there were more is not known here.
        steps = f"The first {STEP_LIMIT} steps"
    words = f"{steps}; their reward is {short(sum(known))}."
    if trial.best is not None and len(trial.actions) > 1:
        half = trial.actions[len(trial.actions) // 2 :]
        words += (
            f" In their second half it takes the best action in {half.count(trial.best)} of {len(half)} steps."
        )
    return words


def _action_rows(trial: Trial, number_of: int) -> Markup:
    band = len(trial.labels) * ROW + BAND_GAP
    starts = range(0, len(trial.rewards), COLUMNS)
    sequence = ", ".join(
        f"{trial.labels[action]} → {short(reward)}"
        for action, reward in zip(trial.actions, trial.rewards, strict=True)
    )
    return svg(
        f"Trial {number_of}, step by step: {trial.task}",
        f"Actions and their rewards in order: {sequence}",
        band * len(starts) + 18,
        *(_band(trial, start, index * band + 4) for index, start in enumerate(starts)),
        text((LABEL_END + ROW_END) / 2, band * len(starts) + 12, "step", "axis", "middle"),
    )


def _band(trial: Trial, start: int, top: float) -> Markup:
    """Up to COLUMNS steps, from `start` on, with the rows' labels at their left."""
    columns = min(max(len(trial.rewards), 10), COLUMNS)
    width = (ROW_END - LABEL_END) / columns
    bottom = top + len(trial.labels) * ROW
    steps = range(start, min(start + COLUMNS, len(trial.rewards)))

    def x(step: int) -> float:
        return LABEL_END + (step - start + 0.5) * width

    return joined(
        *(_row(trial, row, top) for row in range(len(trial.labels))),
        *(
            segment(x(step) - width / 2, top, x(step) - width / 2, bottom, "boundary")
            for step in trial.boundaries
            if step in steps
        ),
        *(
            text(x(step), bottom + 15, str(step + 1), "tick", "middle")
            for step in steps
            if (step + 1) % (10 if columns > 12 else 1) == 0 or step == start
        ),
        *(_mark(trial, step, x(step), top, width) for step in steps),
    )


def _row(trial: Trial, row: int, top: float) -> Markup:
    y = top + (row + 0.5) * ROW
    best = row == trial.best
    return joined(
        element("rect", x=0, y=y - ROW / 2, width=WIDTH, height=ROW, class_="best") if best else None,
        segment(LABEL_END, y, ROW_END, y, "grid"),
        text(
            LABEL_END - 8,
            y + 4,
            shortened(trial.labels[row], LABEL_LETTERS),
            "name best" if best else "name",
            "end",
        ),
    )


def _mark(trial: Trial, step: int, x: float, top: float, width: float) -> Markup | None:
    reward, y = trial.rewards[step], top + (trial.actions[step] + 0.5) * ROW
    if not math.isfinite(reward):
        return None
    largest = max((abs(value) for value in trial.rewards if math.isfinite(value)), default=1.0) or 1.0
    # The area follows the reward's size, down to a least size that is still seen.
    full = min(width * 0.44, ROW * 0.36)
    radius = full * math.sqrt(max(abs(reward) / largest, 0.2)) if reward else full * 0.8
    told = element("title", f"step {step + 1}: {trial.labels[trial.actions[step]]}, reward {short(reward)}")
    if reward < 0:
        arms = f"M{x - radius:.1f},{y - radius:.1f}l{2 * radius:.1f},{2 * radius:.1f}m0,{-2 * radius:.1f}"
        return element("path", told, d=f"{arms}l{-2 * radius:.1f},{2 * radius:.1f}", class_="loss")
    return element("circle", told, cx=x, cy=y, r=radius, class_="reward" if reward else "no-reward")


def _reward_line(trial: Trial, number_of: int) -> Markup | None:
    steps = [step + 1.0 for step in range(len(trial.rewards))]
    axes = Axes("step", "reward of each step", True, [step + 0.5 for step in trial.boundaries])
    rewards = ", ".join(short(reward) for reward in trial.rewards)
    return line_chart(
        f"Trial {number_of}, reward of each step: {trial.task}",
        f"Rewards in order: {rewards}",
        [Series("", steps, trial.rewards, "agent")],
        axes,
        size=(WIDTH, 190),
    )


def _whole(value: Any) -> int | None:
    """The whole number that a stored action or episode is; None for anything else."""
    known = finite(value)
    return int(known) if math.isfinite(known) and known == int(known) else None
