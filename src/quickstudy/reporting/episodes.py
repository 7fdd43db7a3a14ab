"""A trial's first and last episode side by side, as an animation within the page.

Readers who want no motion get a still instead, and so does paper: the first picture above the last.
"""

from __future__ import annotations

import base64

from quickstudy.animation import Animation, Episode, Page, decode
from quickstudy.errors import InputError
from quickstudy.reporting.document import section
from quickstudy.reporting.estimates import finite, short
from quickstudy.reporting.markup import Markup, element
from quickstudy.reporting.summary import RunSummary

STILL = "(prefers-reduced-motion: reduce), print"
WIDEST = 560
"""CSS pixels, up to which small pictures are enlarged by whole factors."""


def episodes_section(summary: RunSummary) -> Markup | None:
    """None for a run without an animation."""
    if summary.animation is None:
        return None
    try:
        page = decode(summary.animation)
    except InputError as error:
        mend = element("p", f"{error}; `quickstudy evaluate DIR --save` draws it again.")
        return section("First and last episode", mend)
    several = len(page.animation.episodes) > 1
    return section("First and last episode" if several else "The only episode", episodes_figure(page))


def episodes_figure(page: Page) -> Markup:
    """The animation with a caption under each half."""
    width, height = page.size
    scale = max(1, WIDEST // width)
    shown = [element("p", _told(episode)) for episode in page.animation.episodes]
    return element(
        "figure",
        element(
            "div",
            element(
                "picture",
                element("source", media=STILL, srcset=_address(page.still)),
                element(
                    "img",
                    src=_address(page.moving),
                    alt=alternative(page.animation),
                    width=scale * width,
                    height=scale * height,
                ),
            ),
            element("div", *shown, class_="halves"),
            class_="watched",
            style=f"max-width: {scale * width}px",
        ),
        element("figcaption", *_caption(page.animation)),
        id="episodes",
    )


def alternative(animation: Animation) -> str:
    """What is seen, for those who do not see it."""
    sides = ("Left, ", "Right, ") if len(animation.episodes) > 1 else ("",)
    halves = [
        f"{side}episode {e.number}: return {_return(e)} in {e.num_steps} steps."
        for side, e in zip(sides, animation.episodes, strict=False)
    ]
    return " ".join([f"The agent in the first held-out trial{_task(animation)}.", *halves])


def _told(episode: Episode) -> str:
    return f"Episode {episode.number:,}: return {_return(episode)}"


def _return(episode: Episode) -> str:
    return short(finite(episode.total))


def _task(animation: Animation) -> str:
    return f", {animation.task}" if animation.task else ""


def _caption(animation: Animation) -> list[Markup | str]:
    beat = "One picture a step." if animation.every == 1 else f"One picture every {animation.every} steps."
    return [
        element("strong", animation.task or "Held-out task 1"),
        f". The first of the trials below: {_lengths(animation)}. ",
        element("span", beat, class_="moving"),
        element("span", "The first picture above, the last below.", class_="still"),
    ]


def _lengths(animation: Animation) -> str:
    lengths = [episode.num_steps for episode in animation.episodes]
    if len(set(lengths)) == 1:
        return f"{lengths[0]:,} steps{' each' if len(lengths) > 1 else ''}"
    return f"{' and '.join(f'{length:,}' for length in lengths)} steps"


def _address(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"
