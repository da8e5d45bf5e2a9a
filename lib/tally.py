"""Events to Samples (a tally interval each), StepTallies and the Summary. No clock and no I/O: the caller says when.

Every Event is counted once, in the interval and the step in which it ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .events import FAILED, INTERRUPTED, OK, PRUNE, Event
from .latency import Buckets, Latencies, Latency
from .ramp import Step

# The client side is taken for the limit when driver and clients used so much of all this machine's CPU time.
CLIENT_LIMITED = 0.9


@dataclass(frozen=True, slots=True)
class Sample:
    """One tally interval of `seconds` that ended `at` seconds after the ramp's beginning; `rate` in pulls a second."""

    at: float
    seconds: float
    workers: int
    pulled: int
    failed: int
    latency: Latency | None

    @property
    def rate(self) -> float:
        return self.pulled / self.seconds if self.seconds > 0 else 0.0

    def as_json(self, when: datetime) -> dict[str, Any]:
        """As the summary and the stream of metrics show it; it ended at `when`."""
        return {
            "time": when.isoformat(timespec="milliseconds"),
            "seconds": self.seconds,
            "rate": self.rate,
            "workers": self.workers,
            "pulled": self.pulled,
            "failed": self.failed,
            "latency_ms": self.latency.as_json() if self.latency else None,
        }


@dataclass(frozen=True, slots=True)
class StepTally:
    """What happened in one step of the ramp, which took `seconds`."""

    step: Step
    seconds: float
    pulled: int
    failed: int
    latency: Latency | None

    @property
    def rate(self) -> float:
        return self.pulled / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class Interval:
    """The pulls of a span of time that is not over yet."""

    start: float
    pulled: int = 0
    failed: int = 0
    latencies: Latencies = field(default_factory=Latencies)


@dataclass(slots=True)
class WorkerTally:
    """One worker's counts."""

    pulled: int = 0
    failed: int = 0
    interrupted: int = 0
    pruned: int = 0
    prune_failed: int = 0
    prune_interrupted: int = 0


class Tally:
    """Counts Events. `retries_known` is False for a client that retries silently.

    `examples` holds the first message of each (op, error class).
    `on_sample` gets each Sample as its interval is closed.
    """

    def __init__(self, workers: int, *, retries_known: bool, on_sample: Callable[[Sample], None]) -> None:
        self.pulled = 0
        self.failed = 0
        self.interrupted = 0
        self.pruned = 0
        self.prune_failed = 0
        self.retried: int | None = 0 if retries_known else None
        self.errors: Counter[str] = Counter()
        self.prune_errors: Counter[str] = Counter()
        self.examples: dict[tuple[str, str], str] = {}
        self.client_cpu_seconds = 0.0
        self.latencies = Latencies()
        self.first = Latencies()
        self.repeat = Latencies()
        self.first_buckets = Buckets()
        self.repeat_buckets = Buckets()
        self.workers = [WorkerTally() for _ in range(workers)]
        self.samples: list[Sample] = []
        self.steps: list[StepTally] = []
        self._on_sample = on_sample
        self._sample = Interval(0.0)
        self._step = Interval(0.0)

    @property
    def attempts(self) -> int:
        return self.pulled + self.failed + self.interrupted

    @property
    def error_rate(self) -> float | None:
        """Failed pulls of those that ended by themselves; None where none did."""
        ended = self.pulled + self.failed
        return self.failed / ended if ended else None

    def open_latency(self, least: int) -> Latency | None:
        """Of the interval that is not over yet, where it has so many pulls, at least two; for other threads too.

        The last pull counted may be missing: with two the first is there.
        """
        open_ = self._sample
        return open_.latencies.result() if open_.pulled >= max(least, 2) else None

    def add(self, event: Event) -> None:
        """Count an Event into the open interval and the open step."""
        self.client_cpu_seconds += event.cpu_seconds
        if event.op == PRUNE:
            self._add_prune(event)
        elif event.outcome == OK:
            self._add_pulled(event)
        elif event.outcome == FAILED:
            self._add_failed(event)
        else:
            self.interrupted += 1
            self.workers[event.worker].interrupted += 1
        if self.retried is not None and event.retries:
            self.retried += event.retries

    def _add_prune(self, event: Event) -> None:
        worker = self.workers[event.worker]
        if event.outcome == OK:
            self.pruned += 1
            worker.pruned += 1
        elif event.outcome == INTERRUPTED:
            worker.prune_interrupted += 1
        else:
            self.prune_failed += 1
            worker.prune_failed += 1
            self._add_error(event, self.prune_errors)

    def _add_pulled(self, event: Event) -> None:
        self.pulled += 1
        self.workers[event.worker].pulled += 1
        self._sample.pulled += 1
        self._step.pulled += 1
        (self.first_buckets if event.first else self.repeat_buckets).add(event.seconds)
        kind = self.first if event.first else self.repeat
        for latencies in (kind, self._sample.latencies, self._step.latencies):
            latencies.add(event.seconds)

    def _add_failed(self, event: Event) -> None:
        self.failed += 1
        self.workers[event.worker].failed += 1
        self._sample.failed += 1
        self._step.failed += 1
        self._add_error(event, self.errors)

    def _add_error(self, event: Event, errors: Counter[str]) -> None:
        failure = event.failure
        error_class = failure.error_class if failure else "other"
        errors[error_class] += 1
        if failure:
            self.examples.setdefault((event.op, error_class), failure.message)

    def close_sample(self, at: float, workers: int) -> None:
        """End the tally interval `at` seconds after the ramp's beginning, when `workers` were running."""
        open_ = self._sample
        sample = Sample(at, at - open_.start, workers, open_.pulled, open_.failed, open_.latencies.result())
        self.samples.append(sample)
        self._sample = Interval(at)
        self._on_sample(sample)

    def close_step(self, at: float, step: Step) -> None:
        """End a step of the ramp."""
        open_ = self._step
        self.latencies.merge(open_.latencies)
        self.steps.append(
            StepTally(step, at - open_.start, open_.pulled, open_.failed, open_.latencies.result())
        )
        self._step = Interval(at)


def limited_by(elapsed: float, cpu_seconds: float, cores: int) -> str | None:
    """Says `client` where driver and clients used nearly all CPU time: then the server may not be the limit."""
    return "client" if elapsed > 0 and cpu_seconds / (elapsed * cores) >= CLIENT_LIMITED else None
