"""Adds the pieces of several hosts up to the tally of the whole load.

All hosts carry out the same plan, so a tally interval and a step have the same number everywhere. The result does not
depend on the order of the pieces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..load.counts import Counts, WorkerTally
from ..load.latency import DECODED_COUNT_BYTES, Latencies
from ..load.piece import IntervalEnd, Piece, Place
from ..load.plan import Step
from ..load.shares import Shares
from ..load.tally import Drain, Sample, StepTally
from ..processes.machine import MachineUse


@dataclass(frozen=True, slots=True)
class Ended:
    """A piece that has ended, where it lies, and what its host knows of the interval that ends with it."""

    piece: Piece
    place: Place
    interval: IntervalEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the hosts share: the steps of the whole load, and what is known of its pulls.

    `offered` returns the pulls per second that the whole schedule wants between two seconds; None without one.
    `sloped` returns whether that rate changes between them.
    """

    steps: Sequence[Step]
    retries_known: bool
    sized: bool
    offered: Callable[[float, float], float | None] = lambda _start, _end: None
    sloped: Callable[[float, float], bool] = lambda _start, _end: False


@dataclass(slots=True)
class Folded:
    """The tally of the whole load."""

    totals: Counts
    samples: list[Sample]
    steps: list[StepTally]
    drain: Drain | None
    first: Latencies
    repeat: Latencies


@dataclass(slots=True)
class _Sum:
    """Pieces that lie in one interval or step."""

    counts: Counts = field(default_factory=Counts)
    latencies: Latencies = field(default_factory=lambda: Latencies(count_bytes=DECODED_COUNT_BYTES))
    start: float = float("inf")
    end: float = 0.0
    ends: list[IntervalEnd] = field(default_factory=list)
    closed: bool = False

    def add(self, ended: Ended, closed: bool) -> None:
        piece = ended.piece
        self.counts.merge(piece.counts)
        self.latencies.merge(piece.first)
        self.latencies.merge(piece.repeat)
        self.start, self.end = min(self.start, piece.start), max(self.end, piece.end)
        self.closed |= closed
        if closed and ended.interval is not None:
            self.ends.append(ended.interval)


def fold(load: Load, hosts: Iterable[tuple[Callable[[int], int], Iterable[Ended]]]) -> Folded:
    """Returns the tally. A host is the number that its workers have in the whole load, and its pieces.

    A piece that comes twice counts once.
    """
    totals, shares = Counts(), {number: Shares(step.start) for number, step in enumerate(load.steps)}
    samples: dict[int, _Sum] = defaultdict(_Sum)
    steps: dict[int, _Sum] = defaultdict(_Sum)
    drain = _Sum()
    first, repeat = (Latencies(count_bytes=DECODED_COUNT_BYTES) for _ in range(2))
    for number_in_whole, pieces in hosts:
        once = {ended.place.number: ended for ended in pieces}
        for ended in sorted(once.values(), key=lambda ended: ended.place.number):
            piece, place = ended.piece, ended.place
            totals.merge_all(_renumbered(piece.counts, number_in_whole))
            first.merge(piece.first)
            repeat.merge(piece.repeat)
            if place.ends == "load":
                drain.add(ended, True)
            else:
                samples[place.sample].add(ended, place.ends == "interval")
                steps[place.step].add(ended, place.ends == "step")
            for step, part in piece.shares.items():
                shares[step].merge(part)
    return Folded(
        totals=totals,
        samples=[_sample(load, samples[number]) for number in sorted(samples) if samples[number].closed],
        steps=[
            _step(load, number, steps[number], shares[number])
            for number in sorted(steps)
            if steps[number].closed
        ],
        drain=_drain(load, drain),
        first=first,
        repeat=repeat,
    )


def _renumbered(counts: Counts, number_in_whole: Callable[[int], int]) -> Counts:
    workers: dict[int, WorkerTally] = {number_in_whole(index): each for index, each in counts.workers.items()}
    return replace(counts, workers=workers)


def _known(load: Load, counts: Counts) -> int | None:
    return counts.bytes if load.sized and not counts.unsized else None


def _sample(load: Load, found: _Sum) -> Sample:
    counts, ends = found.counts, found.ends
    return Sample(
        at=found.end,
        seconds=found.end - found.start,
        workers=sum(each.workers for each in ends),
        pulled=counts.pulled,
        failed=counts.failed,
        latency=found.latencies.result(),
        driver_cpu_seconds=sum(each.driver_cpu_seconds for each in ends),
        client_cpu_seconds=sum(each.client_cpu_seconds for each in ends),
        cores=sum(each.cores for each in ends),
        machine=_machines(ends),
        errors=dict(counts.errors.most_common()),
        retried=counts.retried if load.retries_known else None,
        paused_seconds=max((each.paused_seconds for each in ends), default=0.0),
        bytes=_known(load, counts),
    )


def _machines(ends: Sequence[IntervalEnd]) -> MachineUse | None:
    """Returns how busy the machines were, each weighted with its cores; None if one of them does not tell."""
    uses = [(each.machine, each.cores) for each in ends]
    cores = sum(each.cores for each in ends)
    if not cores or any(use is None for use, _ in uses):
        return None

    def mean(value: Callable[[MachineUse], float | None]) -> float | None:
        found = [(value(use), weight) for use, weight in uses if use is not None]
        if any(each is None for each, _ in found):
            return None
        return sum((each or 0.0) * weight for each, weight in found) / cores

    return MachineUse(
        idle=mean(lambda use: use.idle) or 0.0,
        steal=mean(lambda use: use.steal) or 0.0,
        pressure=mean(lambda use: use.pressure),
        throttled=mean(lambda use: use.throttled),
    )


def _step(load: Load, number: int, found: _Sum, shares: Shares) -> StepTally:
    counts = found.counts
    shares.close(found.end, sloped=load.sloped(found.start, found.end))
    return StepTally(
        step=load.steps[number],
        seconds=found.end - found.start,
        pulled=counts.pulled,
        failed=counts.failed,
        latency=found.latencies.result(),
        offered=load.offered(found.start, found.end),
        shares=shares,
        retried=counts.retried if load.retries_known else None,
        bytes=_known(load, counts),
        sized=load.sized,
    )


def _drain(load: Load, found: _Sum) -> Drain | None:
    counts = found.counts
    if not counts.pulled and not counts.failed:
        return None
    return Drain(found.end - found.start, counts.pulled, counts.failed, _known(load, counts))
