"""A few shapes on a picture, for `render`: places are in the family's own coordinates.

picture = Picture(low=(-1, -1), high=(1, 1))
picture.disc((0.2, 0.3), radius=0.05, colour=BLUE)
picture.pixels  # uint8 [H, W, 3]
"""

from __future__ import annotations

import numpy as np

# Told apart also by the colour-blind (Okabe and Ito 2008).
BLACK, GREY, LIGHT, WHITE = (20, 20, 20), (150, 150, 150), (228, 228, 224), (250, 250, 248)
BLUE, ORANGE, GREEN, RED = (0, 114, 178), (230, 159, 0), (0, 158, 115), (213, 94, 0)

Place = tuple[float, float]
Colour = tuple[int, int, int]


class Picture:
    """A white picture of the rectangle from `low` to `high`; y points up."""

    def __init__(self, low: Place, high: Place, height: int = 128):
        (x0, y0), (x1, y1) = low, high
        width = max(1, round(height * (x1 - x0) / (y1 - y0)))
        self.pixels = np.full((height, width, 3), WHITE, np.uint8)
        # The centre of every pixel, [H, W].
        xs = x0 + (np.arange(width) + 0.5) * (x1 - x0) / width
        ys = y1 - (np.arange(height) + 0.5) * (y1 - y0) / height
        self._x, self._y = np.meshgrid(xs, ys)

    def rectangle(self, low: Place, high: Place, colour: Colour) -> None:
        inside_x = (self._x >= low[0]) & (self._x <= high[0])
        self.pixels[inside_x & (self._y >= low[1]) & (self._y <= high[1])] = colour

    def disc(self, centre: Place, radius: float, colour: Colour) -> None:
        self.pixels[np.hypot(self._x - centre[0], self._y - centre[1]) <= radius] = colour

    def line(self, start: Place, end: Place, width: float, colour: Colour) -> None:
        """A segment with round ends."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        length = max(dx * dx + dy * dy, 1e-12)
        along = np.clip(((self._x - start[0]) * dx + (self._y - start[1]) * dy) / length, 0, 1)
        distance = np.hypot(self._x - start[0] - along * dx, self._y - start[1] - along * dy)
        self.pixels[distance <= width / 2] = colour
