"""Packages that are not among the core dependencies: imported when asked for, missed in one line."""

from __future__ import annotations

import importlib
from typing import Any

from quickstudy.errors import InputError


def package(module: str, extra: str) -> Any:
    """The module; raises `InputError` naming the extra that brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{extra}: not installed; pip install 'quickstudy[{extra}]' ({error})") from error
