"""A piece of a load: all that was counted between two consecutive ends of tally intervals, steps and beats.

A beat ends a piece so that it can be sent before its interval ends. A piece lies in exactly one interval and in one
step. Intervals, steps and totals are sums of pieces, in any order. So
pieces of several hosts, which carry out the same plan, add up as those of one host do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from ..processes.machine import MachineUse
from .counts import Counts
from .event import Event
from .latency import Latencies
from .shares import Shares

ENDS = Literal["interval", "step", "beat", "load"]


class Place(NamedTuple):
    """Where a piece lies: its `number` on its host, its tally interval and its step; and what ends with it.

    All are counted from 0. With the load, the drain ends: what ended after its planned end.
    """

    number: int
    sample: int
    step: int
    ends: ENDS


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalEnd:
    """What one host knows about a tally interval, or about the drain, besides its pulls."""

    workers: int
    driver_cpu_seconds: float
    client_cpu_seconds: float
    cores: float
    machine: MachineUse | None
    paused_seconds: float


@dataclass(slots=True)
class Piece:
    """What was counted from `start` until `end`, in seconds since the load began.

    `first` and `repeat` are the latencies of first and of repeat pulls. `shares` holds, by the number of the step, the
    shares of the pulls that lie in it: a pull that ended in this piece may have begun some steps before.
    """

    start: float
    end: float = 0.0
    counts: Counts = field(default_factory=Counts)
    first: Latencies = field(default_factory=Latencies)
    repeat: Latencies = field(default_factory=Latencies)
    shares: dict[int, Shares] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Counts an Event, but not the shares of its time."""
        self.counts.add(event)

    def add_latency(self, event: Event) -> None:
        """Adds the latency of a successful pull."""
        (self.first if event.first else self.repeat).add(event.seconds)

    def add_share(self, step: int, shares: Shares, span: tuple[float, float], size: int | None) -> None:
        """Adds the share of a pull that lies in a step, which has these `shares` so far. `span` is when it ran."""
        part = self.shares.get(step)
        if part is None:
            part = self.shares[step] = shares.part()
        part.add(*span, size)

    def next(self) -> Piece:
        """Returns the piece that follows. It takes this one's histograms, so this one must not be read any more."""
        self.first.clear()
        self.repeat.clear()
        return Piece(self.end, first=self.first, repeat=self.repeat)
