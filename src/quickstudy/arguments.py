"""Options from the command line into a frozen dataclass, every mistake told in one line.

tyro does the parsing; its boxed messages are made one line here, and an unknown option is told with
the nearest right one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import sys
from pathlib import Path
from typing import Any

import tyro

from quickstudy.errors import InputError, unknown


def parse(default: Any, arguments: list[str], prog: str) -> Any:
    """`default` with its fields replaced by the options given; raises `InputError`."""
    if any(argument in ("-h", "--help") for argument in arguments):
        return tyro.cli(type(default), default=default, args=["--help"], prog=prog)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            parsed, extra = tyro.cli(
                type(default), default=default, args=arguments, prog=prog, return_unknown_args=True
            )
    except SystemExit as error:
        raise InputError(_one_line(told.getvalue())) from error
    if extra:
        if extra[0].startswith("-"):
            raise unknown("option", extra[0].split("=")[0], option_names(default))
        raise InputError(f"arguments: got {extra[0]!r}; expected options of the form --name value")
    return parsed


def option(arguments: list[str], name: str) -> tuple[str | None, list[str]]:
    """Take one option that decides what the others are -> (its value or None, the others)."""
    for i, argument in enumerate(arguments):
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2], arguments[:i] + arguments[i + 1 :]
        if argument == name:
            if i + 1 == len(arguments):
                raise InputError(f"{name}: got nothing; expected a value")
            return arguments[i + 1], arguments[:i] + arguments[i + 2 :]
    return None, arguments


def option_names(value: Any, prefix: str = "--") -> list[str]:
    """The options that `parse` knows for a dataclass and those within it."""
    names = []
    for field in dataclasses.fields(value):
        inner = getattr(value, field.name)
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
            # What a whole command is about has no prefix of its own.
            bare = field.name in ("experiment", "learning", "transfer")
            names += option_names(inner, prefix if bare else f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _one_line(box: str) -> str:
    """The message of tyro's box, without its frame, heading and advice; the frame may be of ASCII letters."""
    lines = [re.sub(r"^[│|\s]+|[│|\s]+$", "", line) for line in box.splitlines()]
    rules = [
        i for i, line in enumerate(lines) if re.match(r"^[╭╰+]?[-─]{3,}", line) or line.startswith(("╭", "+"))
    ]
    start = rules[0] + 1 if rules else 0
    end = rules[1] if len(rules) > 1 else len(lines)
    text = " ".join(part for part in lines[start:end] if part)
    # What a dataclass says of its own field needs no second naming.
    return re.sub(r"^Error parsing [\w.]+: (?=\w+\.\w+: got )", "", text)


def expect(positional: list[str], usage: str, count: int) -> list[str]:
    """So many names before the options; raises `InputError`."""
    if len(positional) != count:
        got = " ".join(positional) or "nothing"
        raise InputError(f"arguments: got {got}; expected quickstudy {usage}, options after them")
    return positional


def out_directory(given: str | None, names: tuple[str, ...], seed: int) -> Path:
    """The directory that was asked for, or runs/NAMES-seedN, with a number behind it where that exists."""
    if given is not None:
        return Path(given)
    plain = "-".join(name.rpartition(":")[2] for name in names)
    first = Path("runs") / f"{plain}-seed{seed}"
    candidates = (first if i == 1 else first.with_name(f"{first.name}-{i}") for i in range(1, 10_000))
    return next(path for path in candidates if not path.exists())


def tell(text: str) -> None:
    """What a long command does next."""
    print(text, file=sys.stderr, flush=True)
