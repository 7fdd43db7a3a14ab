"""The check of an agent that is at home in one task family."""

from __future__ import annotations

from typing import Any

from quickstudy.errors import wrong


def require_family(env: Any, family: type, name: str) -> None:
    """Raise `InputError` unless `env` is of exactly this family: what is exact of it holds of no other."""
    if type(env) is not family:
        raise wrong("env", env, f"{name}, the one family that this agent knows")
