"""When pulls start: each after the one before (closed model), or by a schedule (open model).

In the closed model, clients that wait for a stalled server measure one slow pull. They skip the pulls that they would
have started meanwhile (coordinated omission). A schedule keeps them, and their latency counts from when they were due.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from ..errors import UsageError

# A pull is late if it starts more than this many seconds after it was due.
LATE_SECONDS = 0.05
MOST_PULLS_PER_SECOND = 100_000.0
_RATE = re.compile(r"(?P<first>\d+(\.\d*)?|\.\d+)(:(?P<last>\d+(\.\d*)?|\.\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """Pulls per second of all workers together: `first` at the beginning of the ramp, `last` at its end."""

    first: float
    last: float

    def __str__(self) -> str:
        return f"{self.first:g}" if self.first == self.last else f"{self.first:g}:{self.last:g}"


def parse_rate(option: str, text: str) -> Rate:
    """Parses `50` or `10:200`. Raises UsageError for anything else."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{option}: '{text}' is not a valid rate; give pulls per second, such as 50, or 10:200 to go from 10 to 200"
        )
    first = float(match["first"])
    rate = Rate(first, float(match["last"]) if match["last"] else first)
    if not 0 < max(rate.first, rate.last) <= MOST_PULLS_PER_SECOND:
        raise UsageError(
            f"{option}: '{text}' is out of range; give a rate above 0 and at most "
            f"{MOST_PULLS_PER_SECOND:g} pulls per second"
        )
    return rate


class Pace(Protocol):
    """When the next launch starts; every worker asks before each launch.

    `scheduled`: latencies count from the time that `next` returns.
    """

    scheduled: bool

    def next(self, pulls: int, stopping: threading.Event) -> float | None:
        """Waits until a launch of `pulls` pulls is due; returns that time (monotonic), or None if no more are due."""
        ...

    def give_back(self, pulls: int) -> None:
        """Returns pulls to the pace that were taken with `next` and not started."""
        ...


class Closed:
    """The closed model: a pull is due as soon as the worker is free."""

    scheduled = False

    def next(self, pulls: int, stopping: threading.Event) -> float | None:
        return None if stopping.is_set() else monotonic()

    def give_back(self, pulls: int) -> None:
        pass


class Schedule:
    """The open model: during a ramp of `seconds`, pulls are due at `rate`, and any free worker takes the next one.

    The number of pulls due by second t is the integral of the rate: first·t + (last - first)·t²/(2·seconds).
    """

    scheduled = True

    def __init__(self, rate: Rate, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.taken = 0
        # the margin absorbs rounding errors: a whole number of pulls stays that number, the last due before the end
        self._total = math.ceil(self.due_by(seconds) * (1 - 1e-12))
        self._began = 0.0
        self._lock = threading.Lock()

    def begin(self, at: float) -> None:
        """Sets the beginning of the ramp (monotonic)."""
        self._began = at

    def due_by(self, second: float) -> float:
        """Returns how many pulls are due by this second of the ramp, as a real number (see the class)."""
        t = min(max(second, 0.0), self.seconds)
        return self.rate.first * t + (self.rate.last - self.rate.first) * t * t / (2 * self.seconds)

    def second_of(self, pull: int) -> float:
        """Returns the second of the ramp at which a pull is due; infinity if the ramp has no such pull.

        Pulls are numbered from 0.
        """
        slope = (self.rate.last - self.rate.first) / self.seconds
        under_root = self.rate.first**2 + 2 * slope * pull
        if under_root < 0 or pull >= self._total:
            return math.inf
        root = self.rate.first + math.sqrt(under_root)
        # this form of the solution of the quadratic equation also holds for a slope of 0
        return 2 * pull / root if root else 0.0

    def next(self, pulls: int, stopping: threading.Event) -> float | None:
        due = self._take(pulls)
        if due is None:
            stopping.wait()  # until the ramp ends or the worker is stopped
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
        """Returns the whole number of pulls due by this second: the first is due at 0, the last before the end."""
        return min(math.floor(self.due_by(second)) + 1, self._total)

    def unstarted(self, second: float) -> int:
        """Returns how many pulls were due by this second of the ramp and have not started."""
        return max(0, self.due_pulls(second) - self.taken)
