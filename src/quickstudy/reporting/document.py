"""The frame of a page: head, style sheet and footer; nothing in it refers to an address outside itself."""

from __future__ import annotations

from typing import Any

from quickstudy.reporting.markup import Markup, element, joined
from quickstudy.reporting.theme import style_sheet

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""The browser itself refuses whatever a page might load or run."""


def document(title: str, *content: Any) -> str:
    """A complete HTML document."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        # An empty icon keeps browsers from asking a server for one.
        element("link", rel="icon", href="data:,"),
        element("title", title),
        element("style", Markup(style_sheet())),
    )
    footer = element(
        "footer", "Written by quickstudy. This file is complete: it loads nothing and runs no script."
    )
    body = element("body", element("main", joined(*content), footer))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def section(title: str, *content: Any) -> Markup | None:
    """A titled part of a page; None if it has nothing to show."""
    if all(part is None for part in content):
        return None
    return element("section", element("h2", title), *content)


def folded(title: str, *content: Any) -> Markup:
    """A part that opens on demand."""
    return element("details", element("summary", title), *content)


def alarm(lead: str, *words: Any) -> Markup:
    """What must not be missed."""
    return element("div", element("strong", lead), " ", *words, class_="alarm", role="note")
