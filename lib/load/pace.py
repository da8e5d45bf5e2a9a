"""The schedule of the open model: when each pull is due. In the closed model, each follows the one before.

In the closed model, clients that wait for a stalled server measure one slow pull. They skip the pulls that they would
have started meanwhile (coordinated omission). A schedule keeps them, and their latency counts from when they were due.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from time import monotonic

from ..errors import UsageError

# A pull is late if it starts more than this many seconds after it was due.
LATE_SECONDS = 0.05
# Why a pull was late: all workers were busy, or this machine was slow to start it.
NO_WORKER, MACHINE = "no-worker", "machine"
MOST_PULLS_PER_SECOND = 100_000.0
_RATE = re.compile(r"(?P<first>\d+(\.\d*)?|\.\d+)(:(?P<last>\d+(\.\d*)?|\.\d+))?", re.ASCII)


def why_late(due: float, asked: float, started: float) -> str | None:
    """Returns why a pull that started then was late, or None if it was not.

    A worker was free for it from `asked` on. What was the longer part of the delay is the reason. All are monotonic.
    """
    delay = started - due
    if delay <= LATE_SECONDS:
        return None
    return NO_WORKER if asked - due >= delay / 2 else MACHINE


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


class Schedule:
    """The open model: during a ramp of `seconds`, pulls are due at `rate`, and any free worker takes the next one.

    The number of pulls due by second t is the integral of the rate: first·t + (last - first)·t²/(2·seconds).
    """

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

    def due(self) -> float | None:
        """Returns when the next pull is due (monotonic); None if the ramp has no more pulls."""
        second = self.second_of(self.taken)
        return None if second == math.inf else self._began + second

    def take(self, pulls: int) -> None:
        """Takes the next pulls: they are no longer `unstarted`."""
        with self._lock:
            self.taken += pulls

    def give_back(self, pulls: int) -> None:
        """Returns pulls that were taken and not started."""
        self.take(-pulls)

    @staticmethod
    def wait(due: float, stopping: threading.Event) -> bool:
        """Waits until a pull is due. Returns False if `stopping` was set meanwhile."""
        wait = due - monotonic()
        return not (stopping.wait(wait) if wait > 0 else stopping.is_set())

    def due_pulls(self, second: float) -> int:
        """Returns the whole number of pulls due by this second: the first is due at 0, the last before the end."""
        return min(math.floor(self.due_by(second)) + 1, self._total)

    def unstarted(self, second: float) -> int:
        """Returns how many pulls were due by this second of the ramp and have not started."""
        return max(0, self.due_pulls(second) - self.taken)
