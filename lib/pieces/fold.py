"""Adds the pieces of several hosts up to the account of the whole load.

All hosts carry out the same plan, so a tally interval and a step have the same number everywhere. The result does not
depend on the order of the pieces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ..load.account import Account
from ..load.closed import Drain, Sample, StepTally, limit
from ..load.counts import Counts, WorkerTally
from ..load.curve import Curve
from ..load.latency import DECODED_COUNT_BYTES, Latencies
from ..load.piece import IntervalEnd, Piece, Place
from ..load.plan import Step
from ..load.shares import Shares
from ..processes.machine import mean_use


@dataclass(frozen=True, slots=True)
class Ended:
    """A piece that has ended, where it lies, and what its host knows of the interval that ends with it."""

    piece: Piece
    place: Place
    interval: IntervalEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the hosts share: the steps of the whole load and the number of its workers, and what is known of its pulls.

    `curve` is set if pulls start on a schedule: the rates of all hosts together.
    """

    steps: Sequence[Step]
    workers: int
    retries_known: bool
    sized: bool
    curve: Curve | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPieces:
    """The pieces of one host, in any order; a piece that comes twice counts once.

    `number_in_whole` returns the number that a worker of the host has in the whole load. `before` are the counts of
    what was pruned before the load.
    """

    number_in_whole: Callable[[int], int]
    pieces: Iterable[Ended]
    before: Counts = field(default_factory=Counts)


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


def fold(load: Load, hosts: Iterable[HostPieces]) -> Account:
    """Returns the account of the whole load, but for its image sets."""
    account = Account(
        retries_known=load.retries_known,
        totals=Counts(workers={index: WorkerTally() for index in range(load.workers)}),
        image_sets=0,
    )
    account.sized = load.sized
    account.latencies, account.first, account.repeat = (
        Latencies(count_bytes=DECODED_COUNT_BYTES) for _ in range(3)
    )
    # the last one is for what ended after the last step
    shares = [*(Shares(step.start) for step in load.steps), Shares(0.0)]
    samples: dict[int, _Sum] = defaultdict(_Sum)
    steps: dict[int, _Sum] = defaultdict(_Sum)
    drain = _Sum()
    for host in hosts:
        account.totals.merge_all(_renumbered(host.before, host.number_in_whole))
        once = {ended.place.number: ended for ended in host.pieces}
        for _, ended in sorted(once.items()):
            piece, place = ended.piece, ended.place
            account.totals.merge_all(_renumbered(piece.counts, host.number_in_whole))
            for latencies in (piece.first, piece.repeat):
                account.latencies.merge(latencies)
            account.first.merge(piece.first)
            account.repeat.merge(piece.repeat)
            if place.ends == "load":
                drain.add(ended, True)
            else:
                samples[place.sample].add(ended, place.ends == "interval")
                steps[place.step].add(ended, place.ends == "step")
            for step, part in piece.shares.items():
                shares[step].merge(part)
    account.samples = [_sample(account, each) for _, each in sorted(samples.items()) if each.closed]
    account.steps = [
        _step(account, load, each, (load.steps[number], shares[number]))
        for number, each in sorted(steps.items())
        if each.closed
    ]
    account.drain = _drain(account, drain)
    return account


def _renumbered(counts: Counts, number_in_whole: Callable[[int], int]) -> Counts:
    workers: dict[int, WorkerTally] = {number_in_whole(index): each for index, each in counts.workers.items()}
    return replace(counts, workers=workers)


def _sample(account: Account, found: _Sum) -> Sample:
    counts, ends, seconds = found.counts, found.ends, found.end - found.start
    limits = [limit(seconds, each) for each in ends]
    return Sample(
        at=found.end,
        seconds=seconds,
        workers=sum(each.workers for each in ends),
        pulled=counts.pulled,
        failed=counts.failed,
        latency=found.latencies.result(),
        driver_cpu_seconds=sum(each.driver_cpu_seconds for each in ends),
        client_cpu_seconds=sum(each.client_cpu_seconds for each in ends),
        cores=sum(each.cores for each in ends),
        machine=mean_use([(each.machine, each.cores) for each in ends]),
        errors=dict(counts.errors.most_common()),
        retried=counts.retried if account.retries_known else None,
        paused_seconds=max((each.paused_seconds for each in ends), default=0.0),
        bytes=account.known(counts),
        limits=tuple(each for each in limits if each is not None) if len(ends) > 1 else None,
    )


def _step(account: Account, load: Load, found: _Sum, planned: tuple[Step, Shares]) -> StepTally:
    counts, curve = found.counts, load.curve
    step, shares = planned
    shares.close(found.end, sloped=curve is not None and curve.is_sloped(found.start, found.end))
    return StepTally(
        step=step,
        seconds=found.end - found.start,
        pulled=counts.pulled,
        failed=counts.failed,
        latency=found.latencies.result(),
        offered=None if curve is None else curve.offered(found.start, found.end),
        shares=shares,
        retried=counts.retried if account.retries_known else None,
        bytes=account.known(counts),
        sized=account.sized,
    )


def _drain(account: Account, found: _Sum) -> Drain | None:
    counts = found.counts
    if not counts.pulled and not counts.failed:
        return None
    return Drain(found.end - found.start, counts.pulled, counts.failed, account.known(counts))
