"""Counts herds: how far the starts of their pulls lie apart, and how long it takes until every worker has the image."""

from __future__ import annotations

from dataclasses import dataclass

from ..outcomes import INTERRUPTED, OK
from .event import Event, HerdPull
from .latency import Latencies
from .pace import LATE_SECONDS


@dataclass(slots=True)
class _Open:
    """A herd of which some pulls have not ended. `last` is the end of the last client so far; times are monotonic."""

    starts: list[float]
    last: float = 0.0
    failed: bool = False


class HerdTally:
    """Counts each herd when all its pulls have ended. A herd that a stop cut short does not count.

    `spread` has the time from the first start of a client of a herd to the last start. `latencies` has the time from
    the first start until every worker had the image, for the herds without a failed pull. `late` counts the pulls that
    started more than `LATE_SECONDS` after the first one of their herd.
    """

    def __init__(self) -> None:
        self.count = 0
        self.late = 0
        self.spread = Latencies()
        self.latencies = Latencies()
        self._open: dict[int, _Open] = {}

    def add(self, event: Event, herd: HerdPull) -> None:
        """Counts the pull of an Event in its herd. Ignores the prune before a herd."""
        if herd.started is None or event.outcome == INTERRUPTED:
            return
        open_ = self._open.setdefault(herd.number, _Open([]))
        open_.starts.append(herd.started)
        open_.last = max(open_.last, herd.started + event.seconds)
        open_.failed |= event.outcome != OK
        if len(open_.starts) == herd.size:
            self._close(self._open.pop(herd.number))

    def _close(self, herd: _Open) -> None:
        first = min(herd.starts)
        self.count += 1
        self.late += sum(started - first > LATE_SECONDS for started in herd.starts)
        self.spread.add(max(herd.starts) - first)
        if not herd.failed:
            self.latencies.add(herd.last - first)
