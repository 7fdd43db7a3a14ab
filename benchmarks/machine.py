"""What a benchmark writes beside its numbers: the command, the machine, the versions."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

from quickstudy.fingerprint import machine, versions

RESULTS = Path(__file__).parent / "results"


def save(name: str, result: dict[str, Any]) -> Path:
    """Write benchmarks/results/NAME.json."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    record = {"command": command, "machine": {**machine(), "cpu": _cpu()}, "versions": versions(), **result}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def _cpu() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    names = [
        line.partition(":")[2].strip() for line in info.read_text().splitlines() if line[:10] == "model name"
    ]
    return names[0] if names else platform.processor()
