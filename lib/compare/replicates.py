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
from ..student import reach
from .pairing import same_ramp
from .proportions import difference
from .quantities import (
    ERROR_RATE,
    ERRORS,
    LATENCIES,
    LEAST_PULLS,
    RATE,
    RETRY_RATE,
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
        yield self._relative(RATE, lambda summary: summary.rate)
        for group in GROUPS:
            for name in LATENCIES:
                yield self._latency(group, name)
        yield self._share(ERROR_RATE, lambda summary: summary.failed)
        names = {name for each in (*self._a, *self._b) for name in each.summary.errors}
        for error in sorted({*names, *classes}):
            yield self._share(ERRORS + error, partial(_failed, error))
        if all(each.summary.retried is not None for each in (*self._a, *self._b)):
            yield self._share(RETRY_RATE, lambda summary: summary.retried or 0)

    def notes(self) -> Iterator[str]:
        """Yields what the reader must know about the method before the figures."""
        for each in self._others:
            yield (
                f"{each.file} did not complete the load of {self._a[0].file}, so rate and latencies have no verdict: "
                "repeat it"
            )

    def _latency(self, group: str, name: str) -> Quantity:
        def value(summary: Summary) -> float | None:
            latency = summary.latency(group)
            return None if latency is None else latency.value(name)

        found = self._relative(group + name, value)
        fewest = min(_count(each.summary, group) for each in (*self._a, *self._b))
        return found.without_interval() if fewest < LEAST_PULLS.get(name, 0) else found

    def _relative(self, name: str, value: Callable[[Summary], float | None]) -> Quantity:
        a, b = ([value(each.summary) for each in side] for side in (self._a, self._b))
        logs_a, logs_b = ([log(each) for each in side if each] for side in (a, b))
        if len(logs_a) < len(a) or len(logs_b) < len(b):
            return unknown(name, _mean(a), _mean(b))
        half = welch(logs_a, logs_b)
        away = None if self._others else (-half, half)
        return relative(name, exp(fmean(logs_a)), exp(fmean(logs_b)), away, self._margins)

    def _share(self, name: str, count: Callable[[Summary], int]) -> Quantity:
        a, b = (
            [count(each.summary) / each.ended if each.ended else None for each in side]
            for side in (self._a, self._b)
        )
        shares_a, shares_b = ([each for each in side if each is not None] for side in (a, b))
        if len(shares_a) < len(a) or len(shares_b) < len(b):
            return unknown(name, _mean(a), _mean(b))
        change, half = fmean(shares_b) - fmean(shares_a), welch(shares_a, shares_b)
        ends = change - half, change + half
        if half == 0:
            # the runs do not differ, as if none has failures: then their pulls are all there is to judge by
            (some_a, of_a), (some_b, of_b) = (
                (sum(count(each.summary) for each in side), sum(each.ended for each in side))
                for side in (self._a, self._b)
            )
            ends = difference((some_a, of_a), (some_b, of_b))
        return share(name, fmean(shares_a), fmean(shares_b), ends, self._margins)


def _count(summary: Summary, group: str) -> int:
    """Returns the number of latencies. Files of earlier versions do not have it: then it is that of all pulls."""
    latency = summary.latency(group)
    return latency.count or summary.pulled if latency else 0


def _failed(error: str, summary: Summary) -> int:
    return summary.errors.get(error, 0)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return fmean(known) if len(known) == len(values) else None


def welch(a: Sequence[float], b: Sequence[float]) -> float:
    """Returns half the width of Welch's interval of the difference of two means, each of at least two values."""
    parts = [variance(side) / len(side) for side in (a, b)]
    total = sum(parts)
    if total <= 0:
        return 0.0
    free = total**2 / sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return reach(free) * sqrt(total)
