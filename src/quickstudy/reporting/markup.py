"""HTML and SVG elements as values: what is not already `Markup` is escaped on its way in.

Every tag is written with its end tag, so that an inline SVG is well-formed XML too; only the few elements
that HTML keeps empty are not.
"""

from __future__ import annotations

import html
import re
from typing import Any

EMPTY = frozenset({"meta", "link", "br", "img", "source"})
"""The elements of our pages that HTML forbids to close."""

FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that no XML document may hold, escaped or not."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(value: Any) -> Markup:
    """A value as text of a page; `Markup` passes unchanged."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(FORBIDDEN.sub("\ufffd", str(value)), quote=True))


def joined(*parts: Any) -> Markup:
    """Parts one after another; None is left out."""
    return Markup("".join(escaped(part) for part in parts if part is not None))


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """`<tag …>children</tag>`.

    Attributes that are None are left out; `class_` is `class`, and an underscore within a name is a hyphen.
    """
    opened = "".join(
        [tag, *(_attribute(name, value) for name, value in attributes.items() if value is not None)]
    )
    if tag in EMPTY:
        return Markup(f"<{opened}>")
    return Markup(f"<{opened}>{joined(*children)}</{tag}>")


def _attribute(name: str, value: Any) -> str:
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
