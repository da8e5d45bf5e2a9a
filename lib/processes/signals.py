"""Signals: the first one asks for a stop, the second one ends the clients at once."""

from __future__ import annotations

import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType

from ..errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Ignored during a run, and clients inherit this. By default these signals stop a background process group that uses the
# terminal. Ignored, a client or helper that asks at the terminal fails instead of hanging.
_TERMINAL = (signal.SIGTTIN, signal.SIGTTOU)


class Stop:
    """The signals received so far: `signal` is the first one, `count` their number, `at` the time of the first.

    `at` is monotonic.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.count = 0
        self.at = 0.0
        self._callbacks: list[Callable[[], object]] = []

    def request(self, number: int) -> None:
        """Acts as if this signal had been received."""
        if self.count == 0:
            self.signal, self.at = number, monotonic()
        self.count += 1
        for callback in list(self._callbacks):
            callback()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the process's signals, and restores the former handlers afterwards."""
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

    def heed(self) -> None:
        """Raises Stopped after a signal. Long computations call it now and then."""
        if self.count:
            raise Stopped

    def wait(self, seconds: float) -> bool:
        """Sleeps for at most `seconds`. Returns True at once after a signal, also an earlier one; else False."""
        # a signal handler may put into a SimpleQueue; setting an Event there may deadlock
        woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        with self.calling(lambda: woken.put(None)):
            with suppress(queue.Empty):
                woken.get(timeout=seconds)
            return self.count > 0

    @contextmanager
    def calling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Calls `callback` at every signal inside the context, and at once if one has been received before."""
        self._callbacks.append(callback)
        try:
            if self.count:
                callback()
            yield
        finally:
            self._callbacks.remove(callback)


def _ignored_for_good(number: signal.Signals) -> bool:
    """Returns whether `nohup` or a like tool has SIGHUP ignored; then it stays ignored."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
