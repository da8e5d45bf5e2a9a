"""Counts of Events that add up: of a whole run, of a tally interval, of a step, or of a piece of both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from ..outcomes import FAILED, INTERRUPTED, OK
from .event import PRUNE, Event
from .pace import MACHINE, NO_WORKER


@dataclass(slots=True)
class WorkerTally:
    """One worker's counts."""

    pulled: int = 0
    failed: int = 0
    interrupted: int = 0
    pruned: int = 0
    prune_failed: int = 0
    prune_interrupted: int = 0

    def merge(self, other: WorkerTally) -> None:
        """Adds the counts of `other`."""
        self.pulled += other.pulled
        self.failed += other.failed
        self.interrupted += other.interrupted
        self.pruned += other.pruned
        self.prune_failed += other.prune_failed
        self.prune_interrupted += other.prune_interrupted


@dataclass(slots=True)
class Sums:
    """What tally intervals and steps show of their pulls. `errors` counts the failed ones by class.

    `bytes` is what the successful pulls of known size fetched; `unsized` is the number of the others.
    """

    pulled: int = 0
    failed: int = 0
    retried: int = 0
    bytes: int = 0
    unsized: int = 0
    client_cpu_seconds: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)

    def merge(self, other: Sums) -> None:
        """Adds the sums of `other`."""
        self.pulled += other.pulled
        self.failed += other.failed
        self.retried += other.retried
        self.bytes += other.bytes
        self.unsized += other.unsized
        self.client_cpu_seconds += other.client_cpu_seconds
        if other.errors:
            self.errors.update(other.errors)


@dataclass(slots=True)
class Counts(Sums):
    """All counts. `examples` holds the first message for each (op, error class), `workers` each by its index."""

    interrupted: int = 0
    pruned: int = 0
    prune_failed: int = 0
    repulled: int = 0
    late_no_worker: int = 0
    late_machine: int = 0
    prune_errors: Counter[str] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = field(default_factory=dict)
    workers: dict[int, WorkerTally] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Counts an Event."""
        self.client_cpu_seconds += event.cpu_seconds
        self.repulled += event.repulled
        if event.late is not None:
            self.late_no_worker += event.late == NO_WORKER
            self.late_machine += event.late == MACHINE
        if event.retries:
            self.retried += event.retries
        worker = self.workers.get(event.worker)
        if worker is None:
            worker = self.workers[event.worker] = WorkerTally()
        if event.op == PRUNE:
            self._add_prune(event, worker)
        elif event.outcome == OK:
            self.pulled += 1
            worker.pulled += 1
            if event.size is None:
                self.unsized += 1
            else:
                self.bytes += event.size
        elif event.outcome == FAILED:
            self.failed += 1
            worker.failed += 1
            self._add_error(event, self.errors)
        else:
            self.interrupted += 1
            worker.interrupted += 1

    def _add_prune(self, event: Event, worker: WorkerTally) -> None:
        if event.outcome == OK:
            self.pruned += 1
            worker.pruned += 1
        elif event.outcome == INTERRUPTED:
            worker.prune_interrupted += 1
        else:
            self.prune_failed += 1
            worker.prune_failed += 1
            self._add_error(event, self.prune_errors)

    def _add_error(self, event: Event, errors: Counter[str]) -> None:
        failure = event.failure
        error_class = failure.error_class if failure else "other"
        errors[error_class] += 1
        if failure:
            self.examples.setdefault((event.op, error_class), failure.message)

    def merge_all(self, other: Counts) -> None:
        """Adds all counts of `other`. Its examples count only where there is none."""
        self.merge(other)
        self.interrupted += other.interrupted
        self.pruned += other.pruned
        self.prune_failed += other.prune_failed
        self.repulled += other.repulled
        self.late_no_worker += other.late_no_worker
        self.late_machine += other.late_machine
        self.prune_errors.update(other.prune_errors)
        self.examples = {**other.examples, **self.examples}
        for index, counts in other.workers.items():
            self.workers.setdefault(index, WorkerTally()).merge(counts)
