"""The command that repeats a training, from what experiment.json says of it.

Every setting is given, those at their defaults too: defaults may change between versions.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

FOUND = frozenset({"versions", "machine", "fingerprint"})
"""What experiment.json records of its surroundings: no options."""


def repeat_command(experiment: Mapping[str, Any]) -> str:
    """`quickstudy train AGENT ENV …`, one line for each part; empty where a part has no name."""
    parts = {kind: experiment.get(kind) for kind in ("agent", "env", "outer")}
    names = {kind: part.get("type") for kind, part in parts.items() if isinstance(part, Mapping)}
    if not all(names.get(kind) for kind in parts):
        return ""
    first = ["quickstudy", "train", str(names["agent"]), str(names["env"]), "--outer", str(names["outer"])]
    plain = {name: value for name, value in experiment.items() if name not in FOUND}
    nested = {name: plain.pop(name) for name, value in [*plain.items()] if isinstance(value, Mapping)}
    lines = [
        first,
        *(list(_options(value, f"{name}.")) for name, value in nested.items()),
        list(_options(plain)),
    ]
    return " \\\n  ".join(shlex.join(line) for line in lines if line)


def _options(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in settings.items():
        option = name.replace("_", "-")
        if name == "type":
            continue
        if isinstance(value, Mapping):
            yield from _options(value, f"{prefix}{option}.")
        elif isinstance(value, bool):
            yield f"--{prefix}{option}" if value else f"--{prefix}no-{option}"
        else:
            yield f"--{prefix}{option}"
            yield from map(str, value if isinstance(value, list) else [value])
