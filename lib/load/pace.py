"""The schedule of the open model: when each pull is due. In the closed model, each follows the one before.

In the closed model, clients that wait for a stalled server measure one slow pull. They skip the pulls that they would
have started meanwhile (coordinated omission). A schedule keeps them, and their latency counts from when they were due.
"""

from __future__ import annotations

import math
import threading
from time import monotonic

from .arrivals import Arrivals, Even
from .curve import Curve
from .share import WHOLE, Share

# A pull is late if it starts more than this many seconds after it was due.
LATE_SECONDS = 0.05
# Why a pull was late: all workers were busy, or this machine was slow to start it.
NO_WORKER, MACHINE = "no-worker", "machine"


def why_late(due: float, asked: float, started: float) -> str | None:
    """Returns why a pull that started then was late, or None if it was not.

    A worker was free for it from `asked` on. What was the longer part of the delay is the reason. All are monotonic.
    """
    delay = started - due
    if delay <= LATE_SECONDS:
        return None
    return NO_WORKER if asked - due >= delay / 2 else MACHINE


class Schedule:
    """The open model: pulls are due at the rate of `curve`, and any free worker takes the next one.

    `arrivals` says where the pulls lie: evenly, unless it is given. Of all pulls, this schedule has those of its
    `share`.
    """

    def __init__(self, curve: Curve, arrivals: Arrivals | None = None, share: Share = WHOLE) -> None:
        self.curve = curve
        self.taken = 0
        self._share = share
        self._arrivals = arrivals or Even()
        # the margin absorbs rounding errors: a whole number of pulls stays that number, the last due before the end
        self._end = curve.total * (1 - 1e-12)
        self._began = 0.0
        self._lock = threading.Lock()

    def begin(self, at: float) -> None:
        """Sets the beginning of the load (monotonic)."""
        self._began = at

    def second_of(self, pull: int) -> float:
        """Returns the second of the load at which a pull is due; infinity if the schedule has no such pull.

        Pulls are numbered from 0.
        """
        position = self._arrivals.position(self._share.number_in_whole(pull))
        return self.curve.second_of(position) if position < self._end else math.inf

    def due(self) -> float | None:
        """Returns when the next pull is due (monotonic); None if the schedule has no more pulls."""
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
        """Returns the whole number of pulls due by this second. The last is due before the end."""
        # the last position before the end: what is due at the end itself is no more part of the load
        whole = self._arrivals.count_by(min(self.curve.due_by(second), math.nextafter(self._end, 0.0)))
        return self._share.count(whole)

    def offered(self, start: float, end: float) -> float | None:
        """Returns the mean rate between two seconds; None if no time of the curve lies between them.

        The shares of a schedule have equal parts of it.
        """
        whole = self.curve.offered(start, end)
        return None if whole is None else whole / self._share.of

    def unstarted(self, second: float) -> int:
        """Returns how many pulls were due by this second of the load and have not started."""
        return max(0, self.due_pulls(second) - self.taken)
