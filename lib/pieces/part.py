"""A host's part of a load: its own sums, beside those of the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType

from ..clock import Clock
from ..errors import RunError
from ..load.counts import Counts
from ..load.curve import Curve, Rate
from ..load.plan import WITH_THE_LAST_WORKER, Step
from ..load.share import Share
from ..results.summary import HostCounts, Lost
from ..results.times import as_written
from .fold import Ended, Fold, Load
from .wire import End, Header, counts_of

T = TypeVar("T")
_BROKEN_OFF: Final = "its record breaks off"


class Part:
    """The part of one host. `name` names its record in messages. `end` is None as long as the record has no end.

    A controller sets the rest, which a record does not have: the `address` of the host, how far its clock may be off
    and how late it began (milliseconds), and why and at which second it was lost, if it was.
    """

    def __init__(self, name: str, header: Header, share: Share) -> None:
        self.name = name
        self.header = header
        self.share = share
        self.end: End | None = None
        self.address: str | None = None
        self.clock_error_ms: float | None = None
        self.start_error_ms: float | None = None
        self.lost_reason: str | None = None
        self.lost_at: float | None = None
        self.counted_until = 0.0
        self.pieces = 0
        own = replace(load_of(header), workers=len(header.image_sets))
        self.fold = Fold(own, detailed=False)
        self.fold.before(counts_of(header.before), _own)

    def add(self, ended: Ended) -> None:
        """Adds a piece. Add it to the whole load after that."""
        self.pieces += 1
        self.counted_until = max(self.counted_until, ended.piece.end)
        self.fold.add(ended, _own)

    @property
    def elapsed(self) -> float:
        """The seconds of the load, as far as the record goes."""
        return self.end.elapsed if self.end is not None else self.counted_until

    def check(self) -> None:
        """Raises `RunError` if the record has its end, and lacks pieces."""
        if self.end is None:
            return
        told, found = counts_of(self.end.totals), self.fold.account.totals
        if (self.end.pieces, _compared(told)) != (self.pieces, _compared(found)):
            raise RunError(f"the counts of {self.name} are incomplete: it lacks pieces; give the whole file")

    def counts(self) -> HostCounts:
        """Returns the host as the summary has it."""
        header, end = self.header, self.end
        account = self.fold.finish()
        latency = account.latencies.result()
        began = Clock(header.clock_offset).wall(header.began)
        until = round(self.counted_until, 6)
        lost_at = None if self.lost_at is None else round(self.lost_at, 6)
        reason = self.lost_reason or (_BROKEN_OFF if end is None else None)
        return HostCounts(
            name=header.host,
            address=_known(self.address),
            share=str(self.share),
            cores=header.cores,
            client=header.client,
            workers=len(header.image_sets),
            images=sum(images for _, images in header.image_sets),
            pulled=account.pulled,
            failed=account.failed,
            interrupted_pulls=account.interrupted,
            rate=account.rate,
            rates=tuple(None if each is None else round(each, 3) for each in self.fold.rates()),
            latency_ms=None if latency is None else latency.rounded(),
            driver_cpu_seconds=round(
                end.driver_cpu_seconds
                if end is not None
                else sum(sample.driver_cpu_seconds for sample in account.samples),
                3,
            ),
            client_cpu_seconds=round(account.client_cpu_seconds, 3),
            limited_by=account.limited_by,
            began=as_written(began, "milliseconds"),
            clock_error_ms=_known(_rounded(self.clock_error_ms)),
            start_error_ms=_known(_rounded(self.start_error_ms)),
            counted_until=until,
            lost=None if reason is None else Lost(at=until if lost_at is None else lost_at, reason=reason),
        )


def load_of(header: Header) -> Load:
    """Returns the whole load that a header describes."""
    steps = [
        Step(each.workers, each.direction, each.start, WITH_THE_LAST_WORKER if each.end is None else each.end)
        for each in header.steps
    ]
    rates = None if header.rates is None else tuple((Rate(r.first, r.last), r.seconds) for r in header.rates)
    return Load(
        steps=steps,
        workers=header.workers,
        retries_known=header.retries_known,
        sized=header.sized,
        curve=None if rates is None else Curve(rates),
        hosts=int(header.share.partition("/")[2]),
    )


def _known(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)


def _own(index: int) -> int:
    return index


def _compared(counts: Counts) -> tuple[object, ...]:
    numbers = {
        name: getattr(counts, name) for name in ("pulled", "failed", "interrupted", "retried", "bytes")
    }
    return (numbers, counts.pruned, counts.prune_failed, counts.errors, counts.prune_errors)
