"""metrics.csv: one line every so many updates."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from quickstudy.files import with_disk_errors


class MetricsLog:
    """metrics.csv; on opening again, the lines behind the checkpoint that is resumed are dropped."""

    def __init__(self, path: Path, first_columns: tuple[str, ...], last_update: int):
        self._path, self._columns = path, list(first_columns)
        rows = metrics_rows(path) if path.exists() else []
        self._kept = [row for row in rows if int(row["update"]) <= last_update]
        self._begun = False

    @property
    def last_seconds(self) -> float:
        """The training time of what is kept."""
        return float(self._kept[-1]["seconds"]) if self._kept else 0.0

    def write(self, row: dict[str, Any]) -> None:
        """Append one line; the first line's names become columns, what a line does not name stays empty."""
        if not self._begun:
            self._columns += [name for name in row if name not in self._columns]
            with_disk_errors(self._rewrite)
            self._begun = True
        with_disk_errors(self._append, row)

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".csv.part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._kept)
        temporary.replace(self._path)

    def _append(self, row: dict[str, Any]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns, extrasaction="ignore").writerow(row)


def metrics_rows(path: Path) -> list[dict[str, str]]:
    """The whole lines of metrics.csv; a last line that a kill cut off is left out."""
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [row for row in csv.DictReader(file) if None not in row and None not in row.values()]
    return [row for row in rows if row.get("update", "").isdigit() and _is_number(row.get("seconds", "0"))]


def _is_number(text: str | None) -> bool:
    try:
        return math.isfinite(float(text or ""))
    except ValueError:
        return False
