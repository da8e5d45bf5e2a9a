"""Adds the pieces of several hosts up to the account of the whole load.

All hosts carry out the same plan, so a tally interval and a step have the same number everywhere. The result does not
depend on the order of the pieces.

A histogram takes a quarter of a megabyte, and a load may have thousands of intervals. So only the intervals and steps
that got pieces last have one. The others keep theirs as text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ..latency import Latency
from ..load.account import Account
from ..load.closed import Drain, Sample, StepTally, limit
from ..load.counts import Counts, WorkerTally
from ..load.curve import Curve
from ..load.latency import DECODED_COUNT_BYTES, Latencies, Packed
from ..load.piece import IntervalEnd, Piece, Place
from ..load.plan import Step
from ..load.shares import Shares
from ..processes.machine import mean_use

# So many intervals, and so many steps, have a histogram at the same time.
_OPEN: Final = 8


@dataclass(frozen=True, slots=True)
class Ended:
    """A piece that has ended, where it lies, and what its host knows of the interval that ends with it."""

    piece: Piece
    place: Place
    interval: IntervalEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the hosts share: the steps of the whole load and the number of its workers, and what is known of its pulls.

    `curve` is set if pulls start on a schedule: the rates of all hosts together. `hosts` is how many carry it out.
    """

    steps: Sequence[Step]
    workers: int
    retries_known: bool
    sized: bool
    curve: Curve | None = None
    hosts: int = 1


@dataclass(slots=True)
class _Sum:
    """Pieces that lie in one interval or step. So many `hosts` have ended it.

    Its latencies are in `latencies` or, as text, in `packed`.
    """

    counts: Counts = field(default_factory=Counts)
    latencies: Latencies | None = None
    packed: Packed | None = None
    start: float = float("inf")
    end: float = 0.0
    ends: list[IntervalEnd] = field(default_factory=list)
    hosts: int = 0

    def add(self, ended: Ended, closed: bool) -> None:
        piece = ended.piece
        self.counts.merge(piece.counts)
        if self.latencies is not None:
            self.latencies.merge(piece.first)
            self.latencies.merge(piece.repeat)
        self.start, self.end = min(self.start, piece.start), max(self.end, piece.end)
        self.hosts += closed
        if closed and ended.interval is not None:
            self.ends.append(ended.interval)

    def rate(self) -> float:
        seconds = self.end - self.start
        return self.counts.pulled / seconds if seconds > 0 else 0.0

    def latency(self) -> Latency | None:
        if self.latencies is not None:
            return self.latencies.result()
        return None if self.packed is None else Latencies.unpacked(self.packed).result()

    def latency_now(self) -> Latency | None:
        """Returns the latency so far, also while another thread adds pieces; None if it is only there as text."""
        together = Latencies(count_bytes=DECODED_COUNT_BYTES)
        if self.latencies is not None:
            together.merge(self.latencies)
        return together.result()


class _Sums:
    """The sums of all intervals, or of all steps. Without `timed`, they have no latencies."""

    def __init__(self, timed: bool) -> None:
        self._timed = timed
        self._all: dict[int, _Sum] = {}
        self._open: dict[int, Latencies] = {}

    def add(self, number: int, ended: Ended, closed: bool) -> None:
        found = self[number]
        if self._timed and (ended.piece.first.count or ended.piece.repeat.count):
            self._unpack(number, found)
        found.add(ended, closed)

    def __getitem__(self, number: int) -> _Sum:
        return self._all.setdefault(number, _Sum())

    def get(self, number: int) -> _Sum | None:
        """Returns a sum; None if it has no piece."""
        return self._all.get(number)

    def closed(self) -> list[int]:
        """The numbers of those that any host has ended, in order."""
        return sorted(number for number, each in self._all.items() if each.hosts)

    def _unpack(self, number: int, wanted: _Sum) -> None:
        """Gives it a histogram. The one that got pieces longest ago passes on its own, if there are too many."""
        latencies = self._open.pop(number, None)
        if latencies is None:
            latencies = (
                self._taken() if len(self._open) >= _OPEN else Latencies(count_bytes=DECODED_COUNT_BYTES)
            )
            if wanted.packed is not None:
                latencies.merge(Latencies.unpacked(wanted.packed))
            wanted.latencies, wanted.packed = latencies, None
        self._open[number] = latencies

    def _taken(self) -> Latencies:
        number = next(iter(self._open))
        latencies, former = self._open.pop(number), self._all[number]
        former.packed, former.latencies = latencies.packed(), None
        latencies.clear()
        return latencies


class Fold:
    """Adds pieces up as they come, in any order. No piece may come twice.

    `account` has the totals at any time, but its image sets, latencies and drain only after `finish`. Without
    `detailed`, it has no latency of an interval or step, and no rate of a step; first and repeat pulls are not apart.
    """

    def __init__(self, load: Load, *, detailed: bool = True) -> None:
        self.load = load
        self.account = Account(
            retries_known=load.retries_known,
            totals=Counts(workers={index: WorkerTally() for index in range(load.workers)}),
            image_sets=0,
        )
        self.account.sized = load.sized
        self.account.latencies, self.account.first, self.account.repeat = (
            Latencies(count_bytes=DECODED_COUNT_BYTES) for _ in range(3)
        )
        self._detailed = detailed
        # the last one is for what ended after the last step
        self._shares = [*(Shares(step.start) for step in load.steps), Shares(0.0)]
        self._samples, self._steps = _Sums(detailed), _Sums(detailed)
        self._drain = _Sum(latencies=Latencies(count_bytes=DECODED_COUNT_BYTES) if detailed else None)

    def before(self, counts: Counts, number_in_whole: Callable[[int], int]) -> None:
        """Adds the counts of what a host pruned before the load."""
        self.account.totals.merge_all(_renumbered(counts, number_in_whole))

    def add(self, ended: Ended, number_in_whole: Callable[[int], int]) -> None:
        """Adds a piece of a host, whose workers have these numbers in the whole load."""
        piece, place, account = ended.piece, ended.place, self.account
        account.totals.merge_all(_renumbered(piece.counts, number_in_whole))
        first, repeat = (account.first, account.repeat) if self._detailed else (account.latencies,) * 2
        first.merge(piece.first)
        repeat.merge(piece.repeat)
        if place.ends == "load":
            self._drain.add(ended, True)
        else:
            self._samples.add(place.sample, ended, place.ends == "interval")
            self._steps.add(place.step, ended, place.ends == "step")
        if self._detailed:
            for step, part in piece.shares.items():
                self._shares[step].merge(part)

    def finish(self) -> Account:
        """Returns the account of all pieces."""
        account = self.account
        if self._detailed:
            account.latencies.clear()
            account.latencies.merge(account.first)
            account.latencies.merge(account.repeat)
        account.samples = [self.sample(number) for number in self._samples.closed()]
        account.steps = [self.step(number) for number in self._steps.closed()]
        account.drain = _drain(account, self._drain)
        return account

    def sample(self, number: int) -> Sample:
        """Returns a tally interval that a host has ended, as far as its pieces are there."""
        return self._sample_of(self._samples[number])

    def samples_from(self, number: int) -> Iterator[Sample]:
        """Yields the tally intervals from this one on that a host has ended, then the drain if pulls ended in it."""
        yield from (self.sample(each) for each in self._samples.closed() if each >= number)
        if self._drain.counts.pulled or self._drain.counts.failed:
            yield self._sample_of(self._drain)

    def rates(self) -> tuple[float | None, ...]:
        """Returns the pulls per second of each tally interval, by its number; None for one that no host has ended."""
        closed = self._samples.closed()
        found = {number: self._samples[number] for number in closed}
        return tuple(
            found[number].rate() if number in found else None
            for number in range(closed[-1] + 1 if closed else 0)
        )

    def latency_in(self, number: int, least: int) -> Latency | None:
        """Returns the latency so far in a tally interval; None if it has fewer than `least` pulls.

        Other threads may call this.
        """
        found = self._samples.get(number)
        return None if found is None or found.counts.pulled < least else found.latency_now()

    def _sample_of(self, found: _Sum) -> Sample:
        account = self.account
        counts, ends, seconds = found.counts, found.ends, found.end - found.start
        limits = [limit(seconds, each) for each in ends]
        several = self.load.hosts > 1
        return Sample(
            at=found.end,
            seconds=seconds,
            workers=sum(each.workers for each in ends),
            pulled=counts.pulled,
            failed=counts.failed,
            latency=found.latency(),
            driver_cpu_seconds=sum(each.driver_cpu_seconds for each in ends),
            client_cpu_seconds=sum(each.client_cpu_seconds for each in ends),
            cores=sum(each.cores for each in ends),
            machine=mean_use([(each.machine, each.cores) for each in ends]),
            errors=dict(counts.errors.most_common()),
            retried=counts.retried if account.retries_known else None,
            paused_seconds=max((each.paused_seconds for each in ends), default=0.0),
            bytes=account.known(counts),
            limits=tuple(each for each in limits if each is not None) if several else None,
            hosts=found.hosts if several else None,
        )

    def step(self, number: int) -> StepTally:
        """Returns a step that a host has ended, as far as its pieces are there."""
        found, account, curve = self._steps[number], self.account, self.load.curve
        counts, shares = found.counts, self._shares[number]
        shares.close(found.end, sloped=curve is not None and curve.is_sloped(found.start, found.end))
        return StepTally(
            step=self.load.steps[number],
            seconds=found.end - found.start,
            pulled=counts.pulled,
            failed=counts.failed,
            latency=found.latency(),
            offered=None if curve is None else curve.offered(found.start, found.end),
            shares=shares,
            retried=counts.retried if account.retries_known else None,
            bytes=account.known(counts),
            sized=account.sized,
            hosts=found.hosts if self.load.hosts > 1 else None,
        )


def _renumbered(counts: Counts, number_in_whole: Callable[[int], int]) -> Counts:
    workers: dict[int, WorkerTally] = {number_in_whole(index): each for index, each in counts.workers.items()}
    return replace(counts, workers=workers)


def _drain(account: Account, found: _Sum) -> Drain | None:
    counts = found.counts
    if not counts.pulled and not counts.failed:
        return None
    return Drain(found.end - found.start, counts.pulled, counts.failed, account.known(counts))
