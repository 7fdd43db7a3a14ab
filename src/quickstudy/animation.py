"""Episodes side by side as one animated PNG, which says in itself what is seen.

    | picture t of one episode | gap | picture t of the other |    the shorter one holds its last picture

The gap is transparent, so that the picture stands on a light page and on a dark one. Flat drawings keep their
exact colours; pictures of many colours share a palette of 63. What is too large for a page loses every second
picture. A text chunk holds, as JSON, the task and each episode's number, return and length.

Source: the format is W3C, Portable Network Graphics (Third Edition), with its animation chunks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from quickstudy.errors import InputError, wrong

EPISODES = "episodes.png"
CHUNK = "quickstudy"
# Pixels: high enough to see a body's limbs, small enough for two on a telephone.
MAX_HEIGHT, GAP = 240, 8
# A report with the picture in it is sent by mail.
MAX_BYTES = 1_000_000
MAX_COLOURS, SHARED_COLOURS = 255, 63
# Milliseconds: of the whole, of one picture, and how much longer the last one stays.
PLAYING, SHORTEST, LONGEST, PAUSE = 5000, 80, 400, 1200


class Episode(NamedTuple):
    """One episode, drawn."""

    number: int
    """Within its trial, from 1."""
    total: float
    """Its undiscounted return."""
    num_steps: int
    frames: Sequence[np.ndarray]
    """uint8 [H, W, 3] each, of one shape; the last is what the last step led to. None when read from a file."""


class Animation(NamedTuple):
    """Episodes of one trial, drawn to the same beat."""

    task: str
    """The task in words, or empty."""
    every: int
    """The steps from one picture to the next."""
    episodes: Sequence[Episode]


class Page(NamedTuple):
    """What a page shows of an animation."""

    animation: Animation
    """Without its frames."""
    moving: bytes
    """The animated PNG itself."""
    size: tuple[int, int]
    """Width and height of a frame."""
    still: bytes
    """A PNG for those who want no motion: the first frame above the last."""


def encode(animation: Animation) -> bytes:
    """The animated PNG; raises `InputError` where pictures differ in shape."""
    while True:
        data = _encode(animation)
        if len(data) <= MAX_BYTES or max(len(episode.frames) for episode in animation.episodes) <= 2:
            return data
        animation = _halved(animation)


def decode(data: bytes) -> Page:
    """What a page shows of an animated PNG; raises `InputError` where it is damaged or not of ours."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            animation = _read_told(json.loads(image.info[CHUNK]))
            first = image.convert("RGBA")
            image.seek(getattr(image, "n_frames", 1) - 1)
            return Page(animation, data, first.size, _still(first, image.convert("RGBA")))
    except Exception as error:  # which one depends on where the file is damaged
        raise InputError(f"{EPISODES}: cannot be read as an animation ({error})") from error


def _encode(animation: Animation) -> bytes:
    from PIL import Image, PngImagePlugin

    panels = [[_at_most_high(frame) for frame in episode.frames] for episode in animation.episodes]
    indices, palette = _with_palette(panels)
    images = []
    for frame in _side_by_side(indices, len(palette)):
        image = Image.frombytes("P", frame.shape[::-1], frame.tobytes())
        image.putpalette([*palette.ravel().tolist(), 0, 0, 0])
        images.append(image)
    info = PngImagePlugin.PngInfo()
    info.add_text(CHUNK, json.dumps(_told(animation)))
    beat = min(max(PLAYING // len(images), SHORTEST), LONGEST)
    file = io.BytesIO()
    images[0].save(
        file,
        "PNG",
        save_all=True,
        append_images=images[1:],
        duration=[beat] * (len(images) - 1) + [beat + PAUSE],
        loop=0,
        transparency=len(palette),
        pnginfo=info,
    )
    return file.getvalue()


def _at_most_high(frame: np.ndarray) -> np.ndarray:
    from PIL import Image

    height, width = frame.shape[:2]
    if height <= MAX_HEIGHT:
        return frame
    size = (max(1, round(width * MAX_HEIGHT / height)), MAX_HEIGHT)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))


def _with_palette(panels: list[list[np.ndarray]]) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Pictures [H, W, 3] -> (as indices [H, W] into one palette, the palette [n, 3])."""
    if len({frame.shape for frames in panels for frame in frames}) > 1:
        raise wrong("render", sorted({f.shape for frames in panels for f in frames}), "pictures of one shape")
    packed = [[frame @ np.array([1 << 16, 1 << 8, 1], np.uint32) for frame in p] for p in panels]
    colours = np.unique(np.concatenate([np.unique(frame) for frames in packed for frame in frames]))
    if len(colours) > MAX_COLOURS:
        return _with_shared_palette(panels)
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    return [[np.searchsorted(colours, x).astype(np.uint8) for x in frames] for frames in packed], palette


def _with_shared_palette(panels: list[list[np.ndarray]]) -> tuple[list[list[np.ndarray]], np.ndarray]:
    from PIL import Image

    # A few pictures of each episode tell the colours.
    some = [frame for frames in panels for frame in frames[:: max(1, len(frames) // 6)]]
    source = Image.fromarray(np.concatenate(some)).quantize(SHARED_COLOURS)
    palette = np.array(source.getpalette(), np.uint8).reshape(-1, 3)[:SHARED_COLOURS]

    def indices(frame: np.ndarray) -> np.ndarray:
        # Without dithering: its pattern would flicker, and costs twice the bytes.
        return np.asarray(Image.fromarray(frame).quantize(palette=source, dither=Image.Dither.NONE))

    return [[indices(frame) for frame in frames] for frames in panels], palette


def _side_by_side(panels: list[list[np.ndarray]], transparent: int) -> list[np.ndarray]:
    height, width = panels[0][0].shape
    frames = []
    for t in range(max(map(len, panels))):
        frame = np.full((height, len(panels) * (width + GAP) - GAP), transparent, np.uint8)
        for i, pictures in enumerate(panels):
            left = i * (width + GAP)
            frame[:, left : left + width] = pictures[min(t, len(pictures) - 1)]
        frames.append(frame)
    return frames


def _halved(animation: Animation) -> Animation:
    """Every second picture, and the last."""

    def halved(episode: Episode) -> Episode:
        frames = list(episode.frames)
        return episode._replace(frames=[*frames[:-1:2], frames[-1]])

    episodes = [halved(episode) for episode in animation.episodes]
    return animation._replace(every=2 * animation.every, episodes=episodes)


def _still(first: Any, last: Any) -> bytes:
    from PIL import Image

    width, height = first.size
    both = Image.new("RGBA", (width, 2 * height + GAP))
    both.paste(first, (0, 0))
    both.paste(last, (0, height + GAP))
    file = io.BytesIO()
    both.save(file, "PNG")
    return file.getvalue()


def _told(animation: Animation) -> dict[str, Any]:
    episodes = [{"number": e.number, "return": e.total, "steps": e.num_steps} for e in animation.episodes]
    return {"task": animation.task, "every": animation.every, "episodes": episodes}


def _read_told(told: Any) -> Animation:
    episodes = [Episode(int(e["number"]), float(e["return"]), int(e["steps"]), ()) for e in told["episodes"]]
    return Animation(str(told["task"]), int(told["every"]), episodes)
