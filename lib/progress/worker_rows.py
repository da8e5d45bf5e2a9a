"""Chooses the workers that have a line in the live view, and the content of the lines.

If not all workers fit, those with trouble (failures, slow pulls) come first, then other running workers. Trouble is
measured in powers of two, so that the lines rarely change places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..clean import clean
from ..load.tally import WorkerTally
from ..load.worker import PRUNING, PULLING, WAITING, Doing, Worker

# The view marks a launch that takes longer than this many seconds, if it is also longer than most.
SLOW_SECONDS = 5.0


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
    """Tracks what each worker does and since when, as seen by the calls of `look`. Times are monotonic."""

    def __init__(self, workers: Sequence[Worker], now: float) -> None:
        self.workers = workers
        self._seen = [(worker.doing, now) for worker in workers]

    def look(self, now: float) -> None:
        """Notes what each worker does now."""
        for index, worker in enumerate(self.workers):
            doing = worker.doing
            if doing is not self._seen[index][0]:
                self._seen[index] = doing, now

    def rows(
        self, counts: Sequence[WorkerTally], now: float, most: int, slow: float
    ) -> tuple[tuple[WorkerRow, ...], tuple[tuple[str, int], ...]]:
        """Returns the lines of at most `most` workers, and counts the other workers by what they do.

        A launch is slow after `slow` seconds.
        """
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
    """Returns whether a worker has started and not stopped. With a schedule, workers also wait between pulls."""
    return doing.what in (PULLING, PRUNING) or (doing.what == WAITING and doing.number > 0)


def _trouble(failed: int, seconds: float, slow: float) -> int:
    return failed.bit_length() + int(seconds / slow).bit_length()


def _chosen(trouble: Sequence[int], running: Sequence[bool], most: int) -> list[int]:
    """Returns the indices of the workers to show, in order: those with the most trouble, then those that run."""
    relevant = [k for k in range(len(trouble)) if trouble[k] or running[k]]
    return sorted(sorted(relevant, key=lambda k: (-trouble[k], not running[k], k))[:most])


def rows_that_fit(workers: int, lines: int) -> int:
    """Returns how many workers have a line: all, or as many as fit above a line for the rest."""
    return workers if workers <= lines else max(lines - 1, 0)
