"""How a reproduction is repeated: the last part of its page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from quickstudy.reporting.document import folded, section
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.tables import settings_table


def how_to_repeat(result: Mapping[str, Any]) -> Markup | None:
    """The command; folded in, the protocol."""
    protocol = dict(result["protocol"])
    # A line may break between words only.
    words = [
        element("span", part) if part.strip() else part for part in re.split(r"(\s+)", protocol.pop("command"))
    ]
    return section(
        "How to repeat it",
        element("pre", element("code", *words)),
        folded("Protocol, versions, machine", settings_table("Protocol", protocol)),
    )
