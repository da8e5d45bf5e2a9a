"""Which workers have a line in the live view, and what it tells.

Where not all fit those are shown that tell something: that fail or hang, then any that run. Trouble counts in
doublings, so that the lines do not change places all the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..clean import clean
from ..load.tally import WorkerTally
from ..load.worker import PRUNING, PULLING, WAITING, Doing, Worker

# A launch that takes longer, in seconds, is told of, where it is also longer than most.
SLOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker now: the image `number` of `images` in its pass, `seconds` since it began where that is long.

    `pattern` and `name` are clean.
    """

    index: int
    pattern: str
    pass_number: int
    number: int
    images: int
    pulled: int
    failed: int
    what: str
    name: str
    seconds: float | None


class Doings:
    """What each worker does now, and since when, as far as it was looked at; times are monotonic."""

    def __init__(self, workers: Sequence[Worker], now: float) -> None:
        self.workers = workers
        self._seen = [(worker.doing, now) for worker in workers]

    def look(self, now: float) -> None:
        for index, worker in enumerate(self.workers):
            doing = worker.doing
            if doing is not self._seen[index][0]:
                self._seen[index] = doing, now

    def rows(
        self, counts: Sequence[WorkerTally], now: float, most: int, slow: float
    ) -> tuple[tuple[WorkerRow, ...], tuple[tuple[str, int], ...]]:
        """At most so many, and of the other workers how many do what. Longer than `slow` seconds is long."""
        everyone = range(len(self._seen))
        trouble = [_trouble(counts[k].failed, self._seconds(k, now), slow) for k in everyone]
        shown = (
            everyone
            if len(everyone) <= most
            else _chosen(trouble, [is_running(doing) for doing, _ in self._seen], most)
        )
        rest = Counter(self._seen[k][0].what for k in everyone if k not in shown)
        return tuple(self._row(k, counts[k], now, slow) for k in shown), tuple(rest.items())

    def _seconds(self, index: int, now: float) -> float:
        doing, since = self._seen[index]
        return now - since if doing.what in (PULLING, PRUNING) else 0.0

    def _row(self, index: int, counts: WorkerTally, now: float, slow: float) -> WorkerRow:
        worker, doing, seconds = self.workers[index], self._seen[index][0], self._seconds(index, now)
        return WorkerRow(
            index=worker.index,
            pattern=clean(worker.image_set.pattern),
            pass_number=worker.passes + is_running(doing),
            number=doing.number,
            images=len(worker.image_set.images),
            pulled=counts.pulled,
            failed=counts.failed,
            what=doing.what,
            name=clean(doing.image.name) if doing.image else "",
            seconds=seconds if seconds >= slow else None,
        )


def is_running(doing: Doing) -> bool:
    """Started and not stopped; by a schedule a worker waits between its pulls."""
    return doing.what in (PULLING, PRUNING) or (doing.what == WAITING and doing.number > 0)


def _trouble(failed: int, seconds: float, slow: float) -> int:
    return failed.bit_length() + int(seconds / slow).bit_length()


def _chosen(trouble: Sequence[int], running: Sequence[bool], most: int) -> list[int]:
    """The indices of those that tell most, in order."""
    telling = [k for k in range(len(trouble)) if trouble[k] or running[k]]
    return sorted(sorted(telling, key=lambda k: (-trouble[k], not running[k], k))[:most])


def rows_that_fit(workers: int, lines: int) -> int:
    """So many workers have a line: all, or as many as fit with a line for the rest."""
    return workers if workers <= lines else max(lines - 1, 0)
