"""Counts Events into Samples (one per tally interval) and StepTallies (one per step). Uses no clock and no I/O.

Every Event is counted once, in the interval and in the step in which it ended. What ends after the last of them is the
drain. The caller passes the times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..latency import Latency
from ..outcomes import FAILED, OK
from ..processes.machine import MachineUse
from ..processes.pauses import Pauses
from .closed import Drain, Sample, SetTally, StepTally
from .counts import Counts, Sums, WorkerTally
from .event import PRUNE, Event
from .latency import Buckets, Latencies
from .live_account import LiveAccount
from .pace import Schedule
from .piece import ENDS, IntervalEnd, Piece, Place
from .plan import Step
from .shares import Shares


@dataclass(slots=True)
class _Open:
    """The sums of an open tally interval or step since `start`.

    `counted_cpu_seconds` is what earlier intervals already counted for clients that ended in it.
    """

    start: float
    sums: Sums = field(default_factory=Sums)
    latencies: Latencies = field(default_factory=Latencies)
    counted_cpu_seconds: float = 0.0

    def add(self, piece: Piece) -> None:
        """Adds a piece that lies in it."""
        self.sums.merge(piece.counts)
        self.latencies.merge(piece.first)
        self.latencies.merge(piece.repeat)

    def next(self, start: float, counted_cpu_seconds: float = 0.0) -> _Open:
        """Returns the one that follows. It reuses this one's histogram, so this one must not be read any more."""
        self.latencies.clear()
        return _Open(start, latencies=self.latencies, counted_cpu_seconds=counted_cpu_seconds)


def _interval_end(sample: Sample) -> IntervalEnd:
    return IntervalEnd(
        workers=sample.workers,
        driver_cpu_seconds=sample.driver_cpu_seconds,
        client_cpu_seconds=sample.client_cpu_seconds,
        cores=sample.cores,
        machine=sample.machine,
        paused_seconds=sample.paused_seconds,
    )


# Receives a piece, where it lies, and what the host knows of the interval that ends with it.
OnPiece = Callable[[Piece, Place, IntervalEnd | None], None]


class Tally(LiveAccount):
    """Counts Events.

    `retries_known` is False for a client that does not report its retries. `schedule` is set for the open model only.
    `on_sample` is called with each Sample when its interval is closed.
    `pauses` tells when the driver itself was stopped. Set `sized` before the load if sizes of images are known.
    `on_piece`, if set, is called with each Piece that has ended, before its histograms are used again.
    `pieces` is how many have ended.
    """

    def __init__(
        self,
        workers: int,
        *,
        retries_known: bool,
        on_sample: Callable[[Sample], None],
        schedule: Schedule | None = None,
        cores: float = 1.0,
        pauses: Pauses | None = None,
    ) -> None:
        super().__init__(
            retries_known=retries_known,
            totals=Counts(workers={index: WorkerTally() for index in range(workers)}),
            image_sets=workers,
            schedule=schedule,
            pauses=pauses,
        )
        self.on_piece: OnPiece | None = None
        self.pieces = 0
        self.first_buckets = Buckets()
        self.repeat_buckets = Buckets()
        self._on_sample = on_sample
        self._cores = cores
        self._driver_cpu_seconds = 0.0
        self._began = 0.0
        self._piece = Piece(0.0)
        self._sample = _Open(0.0)
        self._step = _Open(0.0)
        self._shares = Shares(0.0)

    def open_latency(self, least: int) -> Latency | None:
        """Returns the latency of the open interval; None if it has fewer than `least` pulls, or fewer than two.

        Other threads may call this. The pull counted last may be missing from the result, which is why it takes two.
        """
        open_, piece = self._sample, self._piece
        if open_.sums.pulled + piece.counts.pulled < max(least, 2):
            return None
        together = Latencies()
        for latencies in (open_.latencies, piece.first, piece.repeat):
            together.merge(latencies)
        return together.result()

    def buckets(self) -> tuple[Buckets, Buckets]:
        """Returns the latencies of first and of repeat pulls so far. They are exact."""
        return self.first_buckets, self.repeat_buckets

    def unstarted(self, second: float) -> int | None:
        """Returns how many pulls of the schedule were due by this second and have not started; None without one."""
        return None if self.schedule is None else self.schedule.unstarted(second)

    def rate_until(self, second: float) -> float:
        """Returns the successful pulls per second of the load up to this second."""
        return self.pulled / second if second > 0 else 0.0

    def begin(self, at: float) -> None:
        """Begins the first interval (monotonic). The CPU time of pruning before the load belongs to no interval."""
        self._began = at
        self._sample, self._piece = _Open(0.0), Piece(0.0)

    def add(self, event: Event) -> None:
        """Counts an Event in the totals and in the open piece."""
        self.totals.add(event)
        self._piece.add(event)
        if event.herd is not None:
            self.herds.add(event, event.herd)
        if event.op == PRUNE:
            return
        if event.outcome == OK:
            self._add_pulled(event)
        elif event.outcome == FAILED:
            self._set_of(event).failed += 1

    def _add_pulled(self, event: Event) -> None:
        image_set = self._set_of(event)
        image_set.pulled += 1
        self._add_shares(event)
        if event.timed:
            (self.first_buckets if event.first else self.repeat_buckets).add(event.seconds)
            self._piece.add_latency(event)
            image_set.latencies.add(event.seconds)

    def _set_of(self, event: Event) -> SetTally:
        """Returns the tally of the image set; without a schedule, each worker has a set of its own."""
        return self.image_sets[event.worker if event.image_set is None else event.image_set]

    def _add_shares(self, event: Event) -> None:
        """Adds a pull to the open step, and to the earlier steps in which it was running."""
        ended = event.ended - self._began
        began = (
            event.ended - event.seconds - self._began if event.began is None else event.began - self._began
        )
        began = min(began, ended)
        self._piece.add_share(len(self.steps), self._shares, (began, ended), event.size)
        for index in range(len(self.steps) - 1, -1, -1):
            shares = self.steps[index].shares
            if shares.end <= began:
                break
            self._piece.add_share(index, shares, (began, ended), event.size)

    def _cut(self, at: float) -> Piece:
        """Ends the open piece at `at` seconds after the load began, adds it to the sums, and returns it."""
        piece = self._piece
        piece.end = at
        for index, part in piece.shares.items():
            (self.steps[index].shares if index < len(self.steps) else self._shares).merge(part)
        self.first.merge(piece.first)
        self.repeat.merge(piece.repeat)
        self.latencies.merge(piece.first)
        self.latencies.merge(piece.repeat)
        self._sample.add(piece)
        self._step.add(piece)
        return piece

    def _pass_on(self, piece: Piece, ends: ENDS, interval: IntervalEnd | None = None) -> None:
        """Passes on a piece that has ended, and opens the next one."""
        if self.on_piece is not None:
            self.on_piece(piece, Place(self.pieces, len(self.samples), len(self.steps), ends), interval)
        self.pieces += 1
        self._piece = piece.next()

    def close_sample(
        self,
        at: float,
        workers: int,
        driver_cpu_seconds: float = 0.0,
        running_cpu_seconds: float = 0.0,
        machine: MachineUse | None = None,
    ) -> None:
        """Ends the tally interval at `at` seconds after the load began, with `workers` workers running.

        `driver_cpu_seconds` counts from the beginning of the load. `running_cpu_seconds` is the CPU time so far of the
        clients whose Events have not been counted yet. `machine` is how busy the machine was in the interval.
        """
        piece = self._cut(at)
        sample = self._finished(at, workers, driver_cpu_seconds, running_cpu_seconds, machine)
        self._pass_on(piece, "interval", _interval_end(sample))
        self.samples.append(sample)
        self._on_sample(sample)

    def beat(self, at: float) -> None:
        """Ends the open piece at `at` seconds after the load began. Its interval and its step go on."""
        self._pass_on(self._cut(at), "beat")

    def end(self, at: float, workers: int, driver_cpu_seconds: float = 0.0) -> None:
        """Ends the counting, after all intervals and steps. What ended since the planned end becomes the drain."""
        piece = self._cut(at)
        sample = self._finished(at, workers, driver_cpu_seconds, 0.0, None)
        self._pass_on(piece, "load", _interval_end(sample))
        if sample.pulled or sample.failed:
            self.drain = Drain(sample.seconds, sample.pulled, sample.failed, sample.bytes)
            self._on_sample(sample)

    def _finished(
        self,
        at: float,
        workers: int,
        driver_cpu_seconds: float,
        running_cpu_seconds: float,
        machine: MachineUse | None,
    ) -> Sample:
        """Returns the open interval as a Sample that ends now, and opens the next one."""
        open_ = self._sample
        ended_cpu_seconds = open_.sums.client_cpu_seconds - open_.counted_cpu_seconds
        # a client that has just ended may be missing from both, so the sum must not become negative
        running = max(running_cpu_seconds, -ended_cpu_seconds)
        sample = Sample(
            at=at,
            seconds=at - open_.start,
            workers=workers,
            pulled=open_.sums.pulled,
            failed=open_.sums.failed,
            latency=open_.latencies.result(),
            errors=dict(open_.sums.errors.most_common()),
            retried=open_.sums.retried if self.retries_known else None,
            driver_cpu_seconds=driver_cpu_seconds - self._driver_cpu_seconds,
            client_cpu_seconds=ended_cpu_seconds + running,
            cores=self._cores,
            machine=machine,
            paused_seconds=self.pauses.within(open_.start, at),
            bytes=self.known(open_.sums),
        )
        self._driver_cpu_seconds = driver_cpu_seconds
        self._sample = open_.next(at, running)
        return sample

    def close_step(self, at: float, step: Step) -> None:
        """Ends a step of the load at `at` seconds after the load began."""
        self._pass_on(self._cut(at), "step")
        open_ = self._step
        seconds = at - open_.start
        latency = open_.latencies.result()
        self.steps.append(
            StepTally(
                step=step,
                seconds=seconds,
                pulled=open_.sums.pulled,
                failed=open_.sums.failed,
                latency=latency,
                offered=self._offered(open_.start, at),
                shares=self._shares,
                retried=open_.sums.retried if self.retries_known else None,
                bytes=self.known(open_.sums),
                sized=self.sized,
            )
        )
        self._shares.close(at, sloped=self._is_sloped(open_.start, at))
        self._shares = Shares(at)
        self._step = open_.next(at)

    def _offered(self, start: float, end: float) -> float | None:
        """Returns the pulls per second that the schedule offered in this span; None without a schedule."""
        return None if self.schedule is None else self.schedule.offered(start, end)

    def _is_sloped(self, start: float, end: float) -> bool:
        return self.schedule is not None and self.schedule.curve.is_sloped(start, end)
