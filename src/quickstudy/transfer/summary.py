"""What a transfer found: zero-shot, fine-tuned and from scratch on the same new tasks, with what was gained.

Every interval is over the new tasks; differences are paired by task.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from quickstudy.maths.statistics import mean_interval


def summarised(
    curves: Mapping[str, Mapping[str, Any]], scratch: Mapping[str, Any], judged: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """`curves` are the exams of fine-tuning with each penalty, `judged` the guard's verdicts by penalty."""
    first = next(iter(curves.values()))
    zero_shot, final = _returns(first, 0), _returns(scratch, -1)
    methods = {name: _method(record, zero_shot, final, judged[name]) for name, record in curves.items()}
    plain = _returns(curves["none"], -1) if "none" in curves else None
    for name, method in methods.items():
        # What the penalty itself is worth.
        others = None if plain is None or name == "none" else _returns(curves[name], -1) - plain
        method["gain_over_no_penalty"] = None if others is None else _estimate(others)
    return {
        "env": first["env"],
        "teacher": scratch["agent"],
        "num_new": first["num_tasks"],
        "random": scratch["random"],
        "zero_shot": _estimate(zero_shot),
        "scratch": {
            "steps": scratch["exams"][-1]["steps"],
            "final": _estimate(final),
            "zero_shot_less_scratch": _estimate(zero_shot - final),
            "curve": _curve(scratch),
        },
        "fine_tuned": methods,
        "interval": "95%, expanded percentile bootstrap over new tasks; differences are paired by task",
    }


def _method(
    record: Mapping[str, Any], zero_shot: np.ndarray, scratch: np.ndarray, judged: Mapping[str, Any]
) -> dict[str, Any]:
    last = _returns(record, -1)
    keep = np.asarray(judged["keep"], bool)
    return {
        "steps": record["exams"][-1]["steps"],
        "final": _estimate(last),
        "gain": _estimate(last - zero_shot),
        "less_scratch": _estimate(last - scratch),
        "steps_to_scratch": _steps_to(record, scratch),
        "guarded": _estimate(np.where(keep, last, zero_shot)),
        "num_kept": int(keep.sum()),
        "guard": dict(judged),
        "curve": _curve(record),
    }


def _steps_to(record: Mapping[str, Any], scratch: np.ndarray) -> int | None:
    """The first exam's whose mean return is that of learning from scratch at its end; None if none is."""
    reached = (e["steps"] for e in record["exams"] if np.mean(e["returns"]) >= scratch.mean())
    return next(reached, None)


def _curve(record: Mapping[str, Any]) -> list[dict[str, float]]:
    return [{name: entry[name] for name in ("steps", "mean", "low", "high")} for entry in record["exams"]]


def _returns(record: Mapping[str, Any], index: int) -> np.ndarray:
    """[N]"""
    return np.asarray(record["exams"][index]["returns"], np.float64)


def _estimate(values: np.ndarray) -> dict[str, float | None]:
    if len(values) < 2:
        return {"mean": float(values.mean()), "low": None, "high": None}
    return {name: float(x) for name, x in mean_interval(values)._asdict().items()}
