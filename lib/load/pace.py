"""When pulls start: each after the one before (closed model), or by a schedule that no slow server holds up (open).

Where clients wait for a server that stalls, they measure one slow pull and leave out all those that they would have
started meanwhile. A schedule keeps them, and their latencies count from when they should have started.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from ..errors import UsageError

# What starts later than this after its time, in seconds, is late.
LATE_SECONDS = 0.05
MOST_PULLS_A_SECOND = 100_000.0
_RATE = re.compile(r"(?P<first>\d+(\.\d*)?|\.\d+)(:(?P<last>\d+(\.\d*)?|\.\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """Pulls a second over all workers, from `first` at the ramp's beginning to `last` at its end."""

    first: float
    last: float

    def __str__(self) -> str:
        return f"{self.first:g}" if self.first == self.last else f"{self.first:g}:{self.last:g}"


def parse_rate(option: str, text: str) -> Rate:
    """`50`, or `10:200`; anything else is wrong usage."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{option}: '{text}' is no rate; give pulls a second, such as 50, or 10:200 to go from 10 to 200"
        )
    first = float(match["first"])
    rate = Rate(first, float(match["last"]) if match["last"] else first)
    if not 0 < max(rate.first, rate.last) <= MOST_PULLS_A_SECOND:
        raise UsageError(f"{option}: '{text}' is not between 0 and {MOST_PULLS_A_SECOND:g} pulls a second")
    return rate


class Pace(Protocol):
    """Asked by every worker before each launch; `scheduled` where latencies count from the time that it says."""

    scheduled: bool

    def next(self, pulls: int, stopping: threading.Event) -> float | None:
        """Wait until a launch of so many pulls should start; its time (monotonic), None when no more should."""
        ...

    def give_back(self, pulls: int) -> None:
        """They were not started after all."""
        ...


class Closed:
    """As soon as the worker is free."""

    scheduled = False

    def next(self, pulls: int, stopping: threading.Event) -> float | None:
        return None if stopping.is_set() else monotonic()

    def give_back(self, pulls: int) -> None:
        pass


class Schedule:
    """The open model: `seconds` of a ramp in which the pulls are due at `rate`, whoever is free takes the next.

    The number of pulls due by second t is the integral of the rate: first·t + (last - first)·t²/(2·seconds).
    """

    scheduled = True

    def __init__(self, rate: Rate, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.taken = 0
        # the last of a whole number of pulls is due before the end, whatever the rounding
        self._total = math.ceil(self.due_by(seconds) * (1 - 1e-12))
        self._began = 0.0
        self._lock = threading.Lock()

    def begin(self, at: float) -> None:
        """The ramp begins (monotonic)."""
        self._began = at

    def due_by(self, second: float) -> float:
        """Pulls that should have started by this second of the ramp."""
        t = min(max(second, 0.0), self.seconds)
        return self.rate.first * t + (self.rate.last - self.rate.first) * t * t / (2 * self.seconds)

    def second_of(self, pull: int) -> float:
        """The second of the ramp in which the pull with this number, counted from 0, is due; infinite where none is."""
        slope = (self.rate.last - self.rate.first) / self.seconds
        under_root = self.rate.first**2 + 2 * slope * pull
        if under_root < 0 or pull >= self._total:
            return math.inf
        root = self.rate.first + math.sqrt(under_root)
        # the form of the quadratic's solution that holds for a slope of 0 too
        return 2 * pull / root if root else 0.0

    def next(self, pulls: int, stopping: threading.Event) -> float | None:
        due = self._take(pulls)
        if due is None:
            stopping.wait()  # the ramp's end, or whatever ends it before
            return None
        wait = due - monotonic()
        if stopping.wait(wait) if wait > 0 else stopping.is_set():
            self.give_back(pulls)
            return None
        return due

    def give_back(self, pulls: int) -> None:
        with self._lock:
            self.taken -= pulls

    def _take(self, pulls: int) -> float | None:
        with self._lock:
            second = self.second_of(self.taken)
            if second == math.inf:
                return None
            self.taken += pulls
            return self._began + second

    def due_pulls(self, second: float) -> int:
        """How many pulls are due by this second of the ramp: the first at once, the last before its end."""
        return min(math.floor(self.due_by(second)) + 1, self._total)

    def unstarted(self, second: float) -> int:
        """Pulls that were due by this second of the ramp and have not started."""
        return max(0, self.due_pulls(second) - self.taken)
