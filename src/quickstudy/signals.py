"""SIGINT and SIGTERM as a wish to stop at the next pause."""

from __future__ import annotations

import signal
import threading
import types
from typing import Self


class Interrupted(KeyboardInterrupt):
    """The training was asked to stop; it has saved its state."""

    def __init__(self, signal_number: int, update: int, of: str = "updates"):
        super().__init__(f"stopped after {update} {of}")
        self.signal_number, self.update = signal_number, update


class Signals:
    """While it is entered, `received` is the number of the signal that came, or 0.

    A second signal stops at once. Outside the main thread, where Python delivers none, it does nothing.
    """

    def __init__(self) -> None:
        self.received = 0

    def __enter__(self) -> Self:
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: types.FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number
