"""Counts Events into Samples (one per tally interval) and StepTallies (one per step). Uses no clock and no I/O.

Every Event is counted once, in the interval and in the step in which it ended. The caller passes the times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..latency import Latency
from ..outcomes import FAILED, INTERRUPTED, OK
from .event import PRUNE, Event
from .latency import Buckets, Latencies
from .pace import Schedule
from .plan import Step

# The client side limits an interval if driver and clients used at least this share of the machine's CPU time in it.
CLIENT_LIMITED = 0.9
# The client side limits a run if it limits intervals that make up at least this share of the run's time.
RUN_LIMITED = 0.1
CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Sample:
    """One tally interval: it took `seconds` and ended `at` seconds after the ramp began.

    The CPU seconds are those that the driver and the clients used in the interval. `cores` is the number of cores that
    this machine (or its container) may use.
    """

    at: float
    seconds: float
    workers: int
    pulled: int
    failed: int
    latency: Latency | None
    driver_cpu_seconds: float = 0.0
    client_cpu_seconds: float = 0.0
    cores: float = 1.0
    errors: Mapping[str, int] = field(default_factory=dict)
    retried: int | None = None

    @property
    def rate(self) -> float:
        """Successful pulls per second."""
        return self.pulled / self.seconds if self.seconds > 0 else 0.0

    @property
    def limited_by(self) -> str | None:
        """`client` if driver and clients used nearly all CPU time, else None. The server may then not be the limit."""
        used = self.driver_cpu_seconds + self.client_cpu_seconds
        return CLIENT if used >= CLIENT_LIMITED * self.seconds * self.cores > 0 else None


@dataclass(frozen=True, slots=True)
class StepTally:
    """The counts of one step of the ramp, which took `seconds`.

    With a schedule, `offered` is the rate of due pulls in the step, in pulls per second.
    """

    step: Step
    seconds: float
    pulled: int
    failed: int
    latency: Latency | None
    offered: float | None

    @property
    def rate(self) -> float:
        """Successful pulls per second."""
        return self.pulled / self.seconds if self.seconds > 0 else 0.0


@dataclass(slots=True)
class Interval:
    """The counts of an open interval or step.

    `client_cpu_seconds` is for the clients that ended in it, minus what earlier intervals already counted for them.
    """

    start: float
    pulled: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    retried: int = 0
    client_cpu_seconds: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    def next(self, start: float, counted_cpu_seconds: float = 0.0) -> Interval:
        """Returns the interval that follows. It reuses this one's histogram, so this one must not be read any more."""
        self.latencies.clear()
        return Interval(start, client_cpu_seconds=-counted_cpu_seconds, latencies=self.latencies)


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
    """Counts Events.

    `retries_known` is False for a client that does not report its retries. `schedule` is set for the open model only.
    `on_sample` is called with each Sample when its interval is closed.
    `examples` holds the first message for each (op, error class).
    `latencies`, `first` and `repeat` cover all pulls up to the last end of an interval or step.
    """

    def __init__(
        self,
        workers: int,
        *,
        retries_known: bool,
        on_sample: Callable[[Sample], None],
        schedule: Schedule | None = None,
        cores: float = 1.0,
    ) -> None:
        self.pulled = 0
        self.failed = 0
        self.interrupted = 0
        self.pruned = 0
        self.prune_failed = 0
        self.repulled = 0
        self.late = 0
        self.schedule = schedule
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
        self._cores = cores
        self._driver_cpu_seconds = 0.0
        self._sample = Interval(0.0)
        self._step = Interval(0.0)
        # latencies of first and of repeat pulls since the last end of an interval or step; merged into the others there
        self._recent = (Latencies(), Latencies())

    @property
    def attempts(self) -> int:
        """Pulls that started: successful, failed and interrupted ones."""
        return self.pulled + self.failed + self.interrupted

    @property
    def error_rate(self) -> float | None:
        """The share of failed pulls among the pulls that were not interrupted; None if there are none."""
        ended = self.pulled + self.failed
        return self.failed / ended if ended else None

    def open_latency(self, least: int) -> Latency | None:
        """Returns the latency of the open interval; None if it has fewer than `least` pulls, or fewer than two.

        Other threads may call this. The pull counted last may be missing from the result, which is why it takes two.
        """
        open_ = self._sample
        if open_.pulled < max(least, 2):
            return None
        together = Latencies()
        for latencies in (open_.latencies, *self._recent):
            together.merge(latencies)
        return together.result()

    def begin(self) -> None:
        """Begins the first interval. The CPU time of pruning before the ramp belongs to no interval."""
        self._sample = Interval(0.0)

    def add(self, event: Event) -> None:
        """Counts an Event in the open interval and the open step."""
        self.client_cpu_seconds += event.cpu_seconds
        self._sample.client_cpu_seconds += event.cpu_seconds
        self.repulled += event.repulled
        self.late += event.late
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
            self._sample.retried += event.retries

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
        if event.timed:
            self._add_latency(event)

    def _add_latency(self, event: Event) -> None:
        (self.first_buckets if event.first else self.repeat_buckets).add(event.seconds)
        self._recent[not event.first].add(event.seconds)

    def _merge_recent(self) -> None:
        for recent, whole in zip(self._recent, (self.first, self.repeat), strict=True):
            for latencies in (whole, self.latencies, self._sample.latencies, self._step.latencies):
                latencies.merge(recent)
            recent.clear()

    def _add_failed(self, event: Event) -> None:
        self.failed += 1
        self.workers[event.worker].failed += 1
        self._sample.failed += 1
        self._step.failed += 1
        self._add_error(event, self.errors, self._sample.errors)

    def _add_error(self, event: Event, *counts: Counter[str]) -> None:
        failure = event.failure
        error_class = failure.error_class if failure else "other"
        for errors in counts:
            errors[error_class] += 1
        if failure:
            self.examples.setdefault((event.op, error_class), failure.message)

    def close_sample(
        self, at: float, workers: int, driver_cpu_seconds: float = 0.0, running_cpu_seconds: float = 0.0
    ) -> None:
        """Ends the tally interval at `at` seconds after the ramp began, with `workers` workers running.

        `driver_cpu_seconds` counts from the beginning of the ramp. `running_cpu_seconds` is the CPU time so far of the
        clients whose Events have not been counted yet.
        """
        self._merge_recent()
        open_ = self._sample
        # a client that has just ended may be missing from both, so the sum must not become negative
        running = max(running_cpu_seconds, -open_.client_cpu_seconds)
        sample = Sample(
            at=at,
            seconds=at - open_.start,
            workers=workers,
            pulled=open_.pulled,
            failed=open_.failed,
            latency=open_.latencies.result(),
            errors=dict(open_.errors.most_common()),
            retried=None if self.retried is None else open_.retried,
            driver_cpu_seconds=driver_cpu_seconds - self._driver_cpu_seconds,
            client_cpu_seconds=open_.client_cpu_seconds + running,
            cores=self._cores,
        )
        self._driver_cpu_seconds = driver_cpu_seconds
        self.samples.append(sample)
        self._sample = open_.next(at, running)
        self._on_sample(sample)

    def close_step(self, at: float, step: Step) -> None:
        """Ends a step of the ramp at `at` seconds after the ramp began."""
        self._merge_recent()
        open_ = self._step
        seconds = at - open_.start
        latency = open_.latencies.result()
        self.steps.append(
            StepTally(
                step=step,
                seconds=seconds,
                pulled=open_.pulled,
                failed=open_.failed,
                latency=latency,
                offered=self._offered(open_.start, at),
            )
        )
        self._step = open_.next(at)

    def _offered(self, start: float, end: float) -> float | None:
        """Returns the pulls per second that the schedule offered in this span; None without a schedule."""
        if self.schedule is None:
            return None
        end = min(end, self.schedule.seconds)
        if end <= start:
            return None
        return (self.schedule.due_by(end) - self.schedule.due_by(start)) / (end - start)

    @property
    def limited_by(self) -> str | None:
        """`client` if the client side limited at least `RUN_LIMITED` of the run's time, else None."""
        limited = sum(sample.seconds for sample in self.samples if sample.limited_by)
        return (
            CLIENT
            if limited and limited >= RUN_LIMITED * sum(each.seconds for each in self.samples)
            else None
        )
