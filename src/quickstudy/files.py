"""Files that are replaced and never half written, and disks that are full."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from quickstudy.errors import InputError, RunError


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; raises `InputError` where it is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(data, dict):
        raise InputError(f"{path}: got {type(data).__name__}; expected a JSON object")
    return data


def write_bytes(path: Path, data: bytes) -> None:
    """Replace a file in one step: a reader sees the old one or the new one."""

    def write() -> None:
        temporary = path.with_name(path.name + ".part")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    with_disk_errors(write)


def write_text(path: Path, text: str) -> None:
    """Replace a file by text; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """Replace a file by JSON; see `write_text`."""
    write_text(path, json.dumps(plain_json(data), indent=2, allow_nan=False) + "\n")


def plain_json(data: Any) -> Any:
    """The same with null for numbers that JSON has no word for: NaN and the infinities."""
    if isinstance(data, dict):
        return {name: plain_json(value) for name, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain_json(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def with_disk_errors(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call something that writes; a full or unwritable disk becomes a `RunError` that says so."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        reason = _disk_reason(error)
        if reason is None:
            raise
        raise RunError(f"cannot write: {reason}; what was saved before is kept") from error


def _disk_reason(error: BaseException) -> str | None:
    """What a disk error says; None for another error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS,
                                                      errno.EACCES, errno.EIO):  # fmt: skip
        return f"{error.strerror}{f' ({error.filename})' if error.filename else ''}"
    return _disk_reason(error.__cause__) if error.__cause__ is not None else None
