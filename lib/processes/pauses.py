"""Notices when the driver itself did not run: stopped by a signal, frozen with its container, or suspended.

A pull that ended meanwhile seems to have taken until the driver went on. Three signs show a pause:

- SIGCONT, which ends every stop by SIGSTOP or Ctrl-Z.
- A clock that counts suspended time has gone further than the monotonic clock, which does not.
- A thread that only ticks was late by `_LONG` seconds, although the process used no CPU and the thread did not wait for
  one. So a machine with too much to do causes no mark.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from .cpu import own_seconds

# Seconds between two ticks.
_TICK = 0.25
# After SIGCONT, a tick that was late by this many seconds was late because of the stop.
_SHORT = 0.1
# Without SIGCONT, a late tick is a pause from this many seconds on, if the process used less than this share of them as
# CPU, and the thread waited for a CPU for less than the second share.
_LONG = 2.0
_USED, _WAITED = 0.02, 0.5
# A suspension is at least this many seconds longer than the clocks differ by themselves.
_ASLEEP = 0.1
# The longest wait of `within` for the first tick after a pause, in seconds.
_SETTLE = 0.5


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks show at a tick, in seconds.

    `waited`: how long the ticking thread has waited for a CPU so far. `asleep`: how long the machine was suspended so
    far, at least and at most, since the two clocks are not read at the same moment.
    """

    at: float
    cpu: float
    waited: float
    asleep: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Pause:
    """From `start` to `end` (monotonic) the driver did not run. `asleep` seconds more are in no monotonic time."""

    start: float
    end: float
    asleep: float = 0.0


def now() -> Moment:
    """Returns what the clocks show, for the calling thread."""
    before = time.monotonic()
    both = _since_boot()
    at = time.monotonic()
    return Moment(at, own_seconds(), _waited(), (both - at, both - before))


def _since_boot() -> float:
    """Returns the seconds since the boot, suspended ones included; not a number if they cannot be read.

    Source: the first field of /proc/uptime (proc(5)). Setting the clock does not change it.
    """
    with suppress(OSError, IndexError, ValueError):
        return float(Path("/proc/uptime").read_text().split()[0])
    return math.nan


def _waited() -> float:
    """Source: the second field of /proc/PID/schedstat (the kernel's sched-stats), in nanoseconds."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


class Pauses:
    """The pauses of this process while `watching`. `continued` counts the SIGCONTs."""

    def __init__(self) -> None:
        self.continued = 0
        self._began = 0.0
        self._found: list[_Pause] = []
        self._ticks: tuple[Moment, Moment] | None = None
        self._ticked = threading.Event()

    def begin(self, at: float) -> None:
        """Sets the beginning of the load (monotonic)."""
        self._began = at

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Ticks in a thread of its own. If there can be none, or outside of the main thread, it notices less."""
        ended = threading.Event()
        first = now()
        self._ticks = first, first
        thread = threading.Thread(target=self._tick_until, args=(ended,), name="pauses", daemon=True)
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGCONT, self._on_continue) if in_main else None
        with suppress(RuntimeError):  # too many threads; the load will report that
            thread.start()
        try:
            yield
        finally:
            if before is not None:
                signal.signal(signal.SIGCONT, before)
            ended.set()
            if thread.ident is not None:
                thread.join()
            self._ticks = None

    def _tick_until(self, ended: threading.Event) -> None:
        last = now()
        self._ticks = last, last
        while not ended.wait(_TICK):
            moment = now()
            self.tick(last, moment)
            last = moment

    def tick(self, last: Moment, moment: Moment) -> None:
        """Notes a pause between two ticks, if there was one."""
        late = moment.at - last.at - _TICK
        used = moment.cpu - last.cpu < _USED * late
        waited = moment.waited - last.waited < _WAITED * late
        if late >= _LONG and used and waited:
            self._found.append(_Pause(last.at, moment.at))
        asleep = moment.asleep[0] - last.asleep[1]
        if asleep >= _ASLEEP:
            self._found.append(_Pause(moment.at, moment.at, asleep))
        self._ticks = last, moment
        self._ticked.set()

    def _on_continue(self, number: int, frame: FrameType | None) -> None:
        self.continued += 1
        if self._ticks is None:
            return
        before, last = (each.at for each in self._ticks)
        for start, end in ((before, last), (last, time.monotonic())):
            if end - start - _TICK >= _SHORT:
                self._found.append(_Pause(start, end))

    def within(self, start: float, end: float) -> float:
        """Returns the seconds of pauses between these seconds of the load. Time asleep counts where it was noticed."""
        self._settle()
        start, end = start + self._began, end + self._began
        total, reached = 0.0, start
        for pause in sorted(self._found, key=lambda each: each.start):
            total += max(0.0, min(pause.end, end) - max(pause.start, reached))
            reached = max(reached, pause.end)
            if start < pause.end <= end:
                total += pause.asleep
        return total

    def _settle(self) -> None:
        """After a pause, waits a moment for the first tick, which notes it."""
        if self._ticks is not None and time.monotonic() - self._ticks[1].at > 2 * _TICK:
            self._ticked.clear()
            self._ticked.wait(_SETTLE)
