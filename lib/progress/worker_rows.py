"""Chooses the workers that have a line in the live view, and the content of the lines.

A worker that waits or has stopped has no line. If not all others fit, those with trouble (failures, slow pulls) come
first. Trouble is measured in powers of two, so that the lines rarely change places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..clean import clean
from ..load.counts import WorkerTally
from ..load.worker import PRUNING, PULLING, STOPPED, WAITING, Doing, Worker

# In the order in which the view counts them.
DOINGS = (PULLING, PRUNING, WAITING, STOPPED)
# The view marks a launch that takes longer than this many seconds, if it is also longer than most.
SLOW_SECONDS = 5.0
# Workers that wait between their pulls have a line only for pulls that take longer: other lines would flicker.
_LONG_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker now, with image `number` of `images` in its pass. `seconds` is the time since its start, if long.

    `pattern` and `name` are cleaned of control characters and secrets.
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
    """Tracks what each worker does and since when, as seen by the calls of `look`. Times are monotonic.

    `waits`: workers wait between their pulls, as with a schedule or in herds.
    """

    def __init__(self, workers: Sequence[Worker], now: float, *, waits: bool = False) -> None:
        self.workers = workers
        self._seen = [(worker.doing, now) for worker in workers]
        self._least = _LONG_SECONDS if waits else 0.0

    def look(self, now: float) -> None:
        """Notes what each worker does now."""
        for index, worker in enumerate(self.workers):
            doing = worker.doing
            if doing is not self._seen[index][0]:
                self._seen[index] = doing, now

    def rows(
        self, counts: Sequence[WorkerTally], now: float, most: int, slow: float
    ) -> tuple[tuple[WorkerRow, ...], int]:
        """Returns the lines of at most `most` workers, and how many others are busy.

        A launch is slow after `slow` seconds.
        """
        busy = [k for k in range(len(self._seen)) if self._is_shown(k, now)]
        trouble = {k: _trouble(counts[k].failed, self._seconds(k, now), slow) for k in busy}
        shown = sorted(sorted(busy, key=lambda k: (-trouble[k], k))[:most])
        return tuple(self._row(k, counts[k], now, slow) for k in shown), len(busy) - len(shown)

    def counts(self) -> tuple[tuple[str, int], ...]:
        """Counts all workers by what they do, in the order of `DOINGS`."""
        found = Counter(doing.what for doing, _ in self._seen)
        return tuple((what, found[what]) for what in DOINGS if found[what])

    def _is_shown(self, index: int, now: float) -> bool:
        return is_busy(self._seen[index][0]) and self._seconds(index, now) >= self._least

    def _seconds(self, index: int, now: float) -> float:
        doing, since = self._seen[index]
        return now - since if is_busy(doing) else 0.0

    def _row(self, index: int, counts: WorkerTally, now: float, slow: float) -> WorkerRow:
        worker, doing, seconds = self.workers[index], self._seen[index][0], self._seconds(index, now)
        return WorkerRow(
            index=worker.number,
            pattern=clean(worker.image_set.pattern),
            pass_number=worker.passes + is_busy(doing),
            number=doing.number,
            images=len(worker.image_set.images),
            pulled=counts.pulled,
            failed=counts.failed,
            what=doing.what,
            name=clean(doing.image.name) if doing.image else "",
            seconds=seconds if seconds >= slow else None,
        )


def is_busy(doing: Doing) -> bool:
    """Returns whether a worker pulls or prunes."""
    return doing.what in (PULLING, PRUNING)


def _trouble(failed: int, seconds: float, slow: float) -> int:
    return failed.bit_length() + int(seconds / slow).bit_length()
