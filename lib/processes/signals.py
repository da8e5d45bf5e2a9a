"""Signals: the first asks for a stop, the second ends the clients at once."""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Ignored, which clients inherit: what asks at the terminal (a credential helper, say) fails then, instead of being
# stopped for good, as a process group in the background is by default.
_TERMINAL = (signal.SIGTTIN, signal.SIGTTOU)


class Stop:
    """What the signals have asked for so far. `signal` is the first one, `count` how many, `at` when (monotonic)."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.count = 0
        self.at = 0.0
        self._callbacks: list[Callable[[], object]] = []

    def request(self, number: int) -> None:
        """As if the signal had come."""
        if self.count == 0:
            self.signal, self.at = number, monotonic()
        self.count += 1
        for callback in list(self._callbacks):
            callback()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the process's signals; afterwards they are as before."""
        wanted = [number for number in SIGNALS if not _ignored_for_good(number)]
        before = {number: signal.signal(number, self._handle) for number in wanted}
        before |= {number: signal.signal(number, signal.SIG_IGN) for number in _TERMINAL}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.request(number)

    def wait(self, seconds: float) -> bool:
        """Sleep; True at once when a signal comes, or came before."""
        woken: queue.SimpleQueue[None] = (
            queue.SimpleQueue()
        )  # a handler may put into it, unlike setting an Event
        with self.calling(lambda: woken.put(None)):
            with suppress(queue.Empty):
                woken.get(timeout=seconds)
            return self.count > 0

    @contextmanager
    def calling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Call this at every signal meanwhile, and at once if one came already."""
        self._callbacks.append(callback)
        try:
            if self.count:
                callback()
            yield
        finally:
            self._callbacks.remove(callback)


def _ignored_for_good(number: signal.Signals) -> bool:
    """`nohup` has the hang-up ignored, and means it."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
