"""From known tasks to new ones: what zero-shot, fine-tuning and each penalty earn in three families.

    python benchmarks/transfer.py [--cases cartpole pendulum tabular-mdp] [--out runs]

Each by `quickstudy transfer` with its presets, 8 known tasks, in OUT/transfer-CASE; one that is there is
resumed. The figure, docs/forgetting.svg, shows what one policy still earns in the known pendulums while it is
fine-tuned through ten new ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from machine import RESULTS, save

from quickstudy.files import plain_json, read_json
from quickstudy.life_presets import transfer_preset
from quickstudy.reporting.transfer_page import transfer_page
from quickstudy.transfer.pipeline import resume_transfer, transfer
from quickstudy.transfer.settings import TRANSFER, Transfer

FIGURE = Path(__file__).parent.parent / "docs" / "forgetting.svg"
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cartpole": ("ppo", {"penalties": ("none", "l2", "ewc", "kl"), "num_sequence": 10}),
    "pendulum": ("ppo", {"penalties": ("none", "l2", "ewc", "kl"), "num_sequence": 10}),
    "tabular-mdp": ("q-learning", {"penalties": ("none", "kl"), "num_new": 32}),
}


def settings(case: str) -> Transfer:
    teacher, fields = CASES[case]
    return dataclasses.replace(transfer_preset(case, teacher), **fields)


def found(case: str, directory: Path) -> dict[str, Any]:
    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    if (directory / TRANSFER).exists():
        result = resume_transfer(directory, say=say)
    else:
        result = transfer(settings(case), directory, say=say)
    assert result is not None
    if case == "pendulum":
        FIGURE.write_text(forgetting_figure(transfer_page(result, case)))
    # Where and why the guard decided is in the report.
    for method in result["fine_tuned"].values():
        del method["guard"]
    return {name: x for name, x in result.items() if name != "protocol"}


def forgetting_figure(page: str) -> str:
    """The page's drawing, with the page's style so that it stands alone."""
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    drawing = re.search(r'id="forgetting".*?(<svg.*?</svg>)', page, re.DOTALL)
    assert style is not None
    assert drawing is not None
    head, _, rest = drawing[1].partition(">")
    named = head if "xmlns" in head else head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    alone = "svg { background: var(--ground); font-family: sans-serif; }"
    return f"{named}><style>{style[1]} {alone}</style>{rest}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    kept = RESULTS / "transfer.json"
    cases = read_json(kept)["cases"] if kept.exists() else {}
    for case in options.cases:
        cases[case] = plain_json(found(case, options.out / f"transfer-{case}"))
        save("transfer", {"cases": cases})


if __name__ == "__main__":
    main()
