"""Signals: the first one asks for a stop, the second one ends the clients at once.

Python calls signal handlers in the main thread, between two of its instructions. A signal that comes in the moment
before the main thread begins to wait does not end that wait, so its handler would be called only after it. The C part
of Python writes each signal to a pipe at once (signal.set_wakeup_fd). A thread reads that pipe and heeds the signals.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
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
        # held while callbacks run: none runs any more when its context has ended
        self._lock = threading.RLock()

    def request(self, number: int) -> None:
        """Acts as if this signal had been received."""
        with self._lock:
            if self.count == 0:
                self.signal, self.at = number, monotonic()
            self.count += 1
            for callback in list(self._callbacks):
                callback()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handles the process's signals, and restores the former handlers afterwards. Only for the main thread."""
        wanted = [number for number in SIGNALS if not _ignored_for_good(number)]
        with self._heeding() as handle:
            before = {number: signal.signal(number, handle) for number in wanted}
            before |= {number: signal.signal(number, signal.SIG_IGN) for number in _TERMINAL}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    @contextmanager
    def _heeding(self) -> Iterator[Callable[[int, FrameType | None], None]]:
        """Heeds signals in a thread of its own. Yields the handler that they need in the main thread.

        If this machine starts no more threads, that handler heeds them; the load will report that.
        """
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        thread = threading.Thread(target=self._heed_until_closed, args=(reader,), name="signals", daemon=True)
        try:
            try:
                thread.start()
            except RuntimeError:
                yield lambda number, _: self.request(number)
            else:
                yield lambda *_: None
        finally:
            signal.set_wakeup_fd(before)
            os.close(writer)
            if thread.ident is not None:
                thread.join()
            os.close(reader)

    def _heed_until_closed(self, reader: int) -> None:
        while numbers := os.read(reader, 64):
            for number in numbers:
                if number in SIGNALS:  # others have handlers of their own, such as SIGCONT
                    self.request(number)

    def heed(self) -> None:
        """Raises Stopped after a signal. Long computations call it now and then."""
        if self.count:
            raise Stopped

    def wait(self, seconds: float) -> bool:
        """Sleeps for at most `seconds`. Returns True at once after a signal, also an earlier one; else False."""
        woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        with self.calling(lambda: woken.put(None)):
            with suppress(queue.Empty):
                woken.get(timeout=seconds)
            return self.count > 0

    @contextmanager
    def calling(self, callback: Callable[[], object]) -> Iterator[None]:
        """Calls `callback` at every signal inside the context, and at once if one has been received before.

        Another thread may call it. It must not wait for a thread that enters or leaves such a context.
        """
        with self._lock:
            self._callbacks.append(callback)
            received = self.count > 0
        try:
            if received:
                callback()
            yield
        finally:
            with self._lock:
                self._callbacks.remove(callback)


def _ignored_for_good(number: signal.Signals) -> bool:
    """Returns whether `nohup` or a like tool has SIGHUP ignored; then it stays ignored."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN
