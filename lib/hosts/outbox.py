"""The messages of a host process: numbers them, writes them as lines, and keeps each until it is acknowledged."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from .protocol import Body, Message, encode

# A message that is not acknowledged so many seconds after it was written is written again.
AGAIN_AFTER: Final = 3.0


@dataclass(slots=True)
class _Kept:
    """A message that is not acknowledged. `written` is monotonic; None while it waits to be written."""

    line: bytes
    written: float | None = None


class Outbox:
    """Any thread may post messages. None is dropped, and no post waits for the reader.

    A thread of its own takes the lines and writes them (`write_all`).
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._posted = 0
        self._posted_at = now()
        self._kept: dict[int, _Kept] = {}
        self._waiting: deque[int] = deque()
        self._changed = threading.Condition()

    def has_arrived(self, number: int) -> bool:
        """Returns whether the message with this number is acknowledged."""
        return number < self._posted and number not in self._kept

    @property
    def quiet_seconds(self) -> float:
        """The seconds since the last message was posted."""
        return self._now() - self._posted_at

    def post(self, body: Body) -> int:
        """Gives a message the next number, and returns it. It is written as soon as its reader takes it."""
        with self._changed:
            number = self._posted
            self._kept[number] = _Kept(encode(Message(number, body)) + b"\n")
            self._posted += 1
            self._posted_at = self._now()
            self._waiting.append(number)
            self._changed.notify()
            return number

    def acknowledge(self, acked: int) -> None:
        """Forgets all messages up to the number `acked`. Older ones that are left are written again."""
        with self._changed:
            while self._kept and (number := next(iter(self._kept))) <= acked:
                del self._kept[number]
            before = self._now() - AGAIN_AFTER
            for number, kept in self._kept.items():
                if kept.written is not None and kept.written < before:
                    kept.written = None
                    self._waiting.append(number)
            self._changed.notify()

    def take(self, timeout: float | None = None) -> bytes | None:
        """Returns the next line that is to be written; None if there is none after `timeout` seconds."""
        with self._changed:
            while True:
                while self._waiting:
                    kept = self._kept.get(self._waiting.popleft())
                    if kept is not None:
                        kept.written = self._now()
                        return kept.line
                if not self._changed.wait(timeout):
                    return None

    def write_all(self, descriptor: int) -> None:
        """Starts a thread that writes the lines, until the process ends or nobody reads them any more."""
        threading.Thread(target=self._write, args=(descriptor,), name="outbox", daemon=True).start()

    def _write(self, descriptor: int) -> None:
        while True:
            left = memoryview(self.take() or b"")
            try:
                while left:
                    left = left[os.write(descriptor, left) :]
            except OSError:
                return  # the reader is gone; the orders end, too
