"""Errors that are told to a person in one line."""

from __future__ import annotations

import difflib
import functools
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal


class InputError(ValueError):
    """Something a user gave is wrong; the message names the field, the value and what would be right.

    The command line prints it as one line and exits with code 2.
    """


class RunError(RuntimeError):
    """A run cannot go on (a full disk, updates that are not finite); the last good checkpoint is kept.

    The command line prints it as one line and exits with code 1.
    """


def wrong(field: str, value: Any, expected: str) -> InputError:
    """The one form in which bad values are reported."""
    return InputError(f"{field}: got {value!r}; expected {expected}")


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """An unknown name, with the nearest right one where there is one near."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return InputError(f"{kind}: unknown name {name!r}; {hint}")


def is_file(path: Path) -> bool:
    """Whether there is a file; a path that no system could have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def require(owner: Any, **rules: tuple[bool, str]) -> None:
    """Check the fields of a configuration in its `__post_init__`.

    `require(self, num_arms=(self.num_arms >= 1, "at least 1"))` raises `InputError` for the
    first rule that does not hold. That a field of a `Literal` type has one of its values needs no rule.
    """
    for field, (holds, expected) in rules.items():
        if not holds:
            raise wrong(f"{type(owner).__name__}.{field}", getattr(owner, field), expected)
    for field, known in _choices(type(owner)).items():
        if getattr(owner, field) not in known:
            raise wrong(f"{type(owner).__name__}.{field}", getattr(owner, field), f"one of {', '.join(known)}")


@functools.cache
def _choices(owner: type) -> dict[str, tuple[str, ...]]:
    """The values of each field whose type is a `Literal` of words."""
    hints = typing.get_type_hints(owner)
    return {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Literal}
