"""Compares two groups of runs. The runs are the unit: their spread is that of a version from run to run.

T. Kalibera and R. Jones, "Rigorous benchmarking in reasonable time" (ISMM 2013): what varies between runs cannot be
estimated within one. Rates and latencies are compared by the means of their logarithms, with Welch's interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import exp, log, sqrt
from statistics import fmean, variance

from ..latency import GROUPS
from ..results.summary import Summary
from ..student import reach, usual
from .notes import LOADS, Note, drained, listed
from .pairing import same_ramp
from .planned import planned
from .proportions import difference
from .quantities import (
    BYTES_RATE,
    ERROR_RATE,
    ERRORS,
    HUNG,
    LATENCIES,
    LEAST_PULLS,
    NOT_REPORTED,
    NOTHING,
    OTHER_LOADS,
    RATE,
    RETRY_RATE,
    TOO_FEW,
    Ends,
    Margins,
    Quantity,
    relative,
    share,
    unknown,
)
from .recorded_run import Recorded

Runs = Sequence[Recorded]


class Replicates:
    """Two groups of at least two runs each."""

    def __init__(self, a: Runs, b: Runs, margins: Margins) -> None:
        self._a, self._b, self._margins = a, b, margins
        self._others = [each for each in (*a, *b)[1:] if not same_ramp(a[0], each)]

    def quantities(self, classes: frozenset[str] = frozenset()) -> Iterator[Quantity]:
        """Yields all quantities. `classes` are error classes to have a row even if no run has failures of it."""
        yield self._relative(RATE, *([each.summary.rate for each in side] for side in (self._a, self._b)))
        sizes = [[each.summary.bytes_per_second for each in side] for side in (self._a, self._b)]
        if all(each is not None for side in sizes for each in side):
            yield self._relative(BYTES_RATE, *sizes)
        for group in GROUPS:
            yield from self._latencies(group)
        yield self._share(ERROR_RATE, lambda summary: summary.failed)
        names = {name for each in (*self._a, *self._b) for name in each.summary.errors}
        for error in sorted({*names, *classes}):
            yield self._share(ERRORS + error, partial(_failed, error))
        yield self._retries()

    def _retries(self) -> Quantity:
        if all(each.summary.retried is not None for each in (*self._a, *self._b)):
            return self._share(RETRY_RATE, lambda summary: summary.retried or 0)
        a, b = (_mean([each.summary.retry_rate for each in side]) for side in (self._a, self._b))
        return unknown(RETRY_RATE, a, b, NOT_REPORTED)

    def notes(self) -> Iterator[Note]:
        """Yields what the reader must know about the method besides the figures."""
        if self._others:
            names = listed([each.file for each in self._others])
            yield Note(
                f"{names} did not complete the load of {self._a[0].file}, so rate and latencies have no verdict: "
                f"repeat {'it' if len(self._others) == 1 else 'them'}",
                f"{names} had another load",
                LOADS,
            )
        pulls = [(each.file, each.drained) for each in (*self._a, *self._b) if each.drained]
        if pulls:
            yield drained(pulls, "rate and mean latency cover the planned time only")

    def _latencies(self, group: str) -> Iterator[Quantity]:
        a, b = ([planned(each, group) for each in side] for side in (self._a, self._b))
        for name in LATENCIES:
            values = ([each.figures.get(name) for each in side] for side in (a, b))
            found = self._relative(group + name, *values)
            if name == "mean" and any(each.hung for each in (*a, *b)):
                found = found.without_interval(HUNG)
            few = min(each.count for each in (*a, *b)) < LEAST_PULLS.get(name, 0)
            yield found.without_interval(TOO_FEW) if few else found

    def _relative(self, name: str, a: Sequence[float | None], b: Sequence[float | None]) -> Quantity:
        logs_a, logs_b = ([log(each) for each in side if each] for side in (a, b))
        if len(logs_a) < len(a) or len(logs_b) < len(b):
            # the mean of the logarithms has no end: all is lost
            lost = name in (RATE, BYTES_RATE) and len(logs_a) == len(a)
            found = unknown(name, _mean(a), 0.0 if lost else _mean(b))
            return found.without_interval(NOTHING) if name in (RATE, BYTES_RATE) else found
        away = _ends(logs_a, logs_b)
        found = relative(name, exp(fmean(logs_a)), exp(fmean(logs_b)), away, self._margins)
        return found.without_interval(OTHER_LOADS) if self._others else found

    def _share(self, name: str, count: Callable[[Summary], int]) -> Quantity:
        a, b = (
            [count(each.summary) / each.ended if each.ended else None for each in side]
            for side in (self._a, self._b)
        )
        shares_a, shares_b = ([each for each in side if each is not None] for side in (a, b))
        if len(shares_a) < len(a) or len(shares_b) < len(b):
            return unknown(name, _mean(a), _mean(b))
        ends: tuple[float, float] = _ends(shares_a, shares_b, fmean(shares_b) - fmean(shares_a))
        if ends[0] == ends[1]:
            # the runs do not differ, as if none has failures: then their pulls are all there is to judge by
            (some_a, of_a), (some_b, of_b) = (
                (sum(count(each.summary) for each in side), sum(each.ended for each in side))
                for side in (self._a, self._b)
            )
            ends = difference((some_a, of_a), (some_b, of_b))
        return share(name, fmean(shares_a), fmean(shares_b), ends, self._margins)


def _failed(error: str, summary: Summary) -> int:
    return summary.errors.get(error, 0)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return fmean(known) if len(known) == len(values) else None


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns half the width of Welch's interval of the difference of two means, each of at least two values."""
    total, free = _error((variance(a), len(a)), (variance(b), len(b)))
    return reach(free) * sqrt(total) if total else 0.0


def _error(a: tuple[float, int], b: tuple[float, int]) -> tuple[float, float]:
    """Returns the variance of the difference of two means, and its degrees of freedom by Satterthwaite.

    `a` and `b` are (variance, number of values).
    """
    parts = [spread / count for spread, count in (a, b)]
    total = sum(parts)
    if total <= 0:
        return 0.0, 1.0
    return total, total**2 / sum(
        part**2 / (count - 1) for part, (_, count) in zip(parts, (a, b), strict=True)
    )


def _ends(a: Sequence[float], b: Sequence[float], middle: float = 0.0) -> Ends:
    """Returns the ends of Welch's interval around `middle`. More runs of a come with as many more of b."""
    spreads, half = (variance(a), variance(b)), welch(a, b)

    def width(count: int) -> float:
        total, free = _error((spreads[0], count), (spreads[1], -(-count * len(b) // len(a))))
        return usual(free) * sqrt(total)

    return Ends(middle - half, middle + half, len(a), width)
