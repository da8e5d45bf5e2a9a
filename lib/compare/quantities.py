"""Compares the rate, latencies and errors of two runs, and gives a verdict on each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import expm1, log, sqrt
from statistics import NormalDist

import numpy as np

from ..counted import counted
from ..latency import GROUPS, PERCENTILES
from .bootstrap import CONFIDENCE, LEAST_BINS, draws, spread, statistics
from .pairing import Bins, Floats, Latencies, cut, fill, same_ramp
from .recorded_run import Recorded

FASTER, SLOWER, NOISE = "faster", "slower", "noise"
QUANTILES = {name: percent / 100 for name, percent in PERCENTILES.items()}
LATENCIES = ("mean", *QUANTILES)
RATE, ERROR_RATE, ERRORS = "rate", "error_rate", "errors."
NEEDS_EVENTS = "first and repeat latencies have a confidence interval only if you give --events for each run"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One compared quantity. `a` and `b` are in pulls per second, milliseconds or a fraction of the pulls.

    `change` is relative; for errors, it is the difference. `low` and `high` are the ends of its confidence interval.
    They and the verdict are None if there is too little data. For errors, `slower` means more errors.
    """

    name: str
    a: float | None
    b: float | None
    change: float | None
    low: float | None
    high: float | None
    verdict: str | None

    @property
    def is_errors(self) -> bool:
        return self.name == ERROR_RATE or self.name.startswith(ERRORS)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Run b compared with run a. `notes` are cautions to show before the figures."""

    a: Recorded
    b: Recorded
    quantities: tuple[Quantity, ...]
    notes: tuple[str, ...]


def compare(a: Recorded, b: Recorded, *, seed: int, margin: float) -> Comparison:
    """Compares every quantity. A rate or latency differs if its whole interval is beyond `margin`, a fraction."""
    places = cut(a, b)
    sides = (Paired(a, fill(a, places[0])), Paired(b, fill(b, places[1])))
    pair = Pair(*sides, whole=same_ramp(a, b), seed=seed, margin=margin)
    return Comparison(a, b, tuple(pair.quantities()), tuple(pair.notes()))


@dataclass(frozen=True, slots=True)
class Paired:
    """One of the two runs, and its counts by bin."""

    run: Recorded
    bins: Bins


class Pair:
    """Two runs, cut into the same bins. `whole`: the ramps are the same, so the summaries' figures can be compared."""

    def __init__(self, a: Paired, b: Paired, *, whole: bool, seed: int, margin: float) -> None:
        self._a, self._b, self._in_a, self._in_b = a.run, b.run, a.bins, b.bins
        self._whole, self._margin = whole, margin
        self._bins = len(self._in_a.seconds)
        self._weights = draws(self._bins, seed) if self._bins else np.ones((1, 0))

    def quantities(self) -> Iterator[Quantity]:
        """Yields all quantities: rate, latencies, error rate, errors by class."""
        yield self._rate()
        for group in GROUPS:
            yield from self._latencies(group)
        yield self._error_rate()
        for name in sorted({*self._a.summary.errors, *self._b.summary.errors}):
            yield self._errors(name)

    def notes(self) -> Iterator[str]:
        """Yields what the reader must know before the figures."""
        for run in (self._a, self._b):
            if not run.summary.pulled:
                yield f"{run.file} pulled nothing"
            if run.interrupted:
                yield f"{run.file} was interrupted"
            if run.summary.limited_by:
                yield f"{run.file} was limited by its {run.summary.limited_by}, not only by the server"
        if not self._whole:
            seconds = float(self._in_a.seconds.sum())
            yield (
                f"the loads differ: rate and latencies cover only the {seconds:.6g} seconds of each run with the same "
                "number of workers in the same direction, or with the same schedule"
            )
        if self._bins < LEAST_BINS:
            yield (
                f"only {counted(self._bins, 'interval')} can be paired, too few to tell a difference "
                "from noise: use a smaller --tally-seconds, or give --events"
            )
        if self._in_a.first is None or self._in_b.first is None:
            yield NEEDS_EVENTS

    def _rate(self) -> Quantity:
        pulled = [self._weights @ bins.pulled for bins in (self._in_a, self._in_b)]
        seconds = float(self._in_a.seconds.sum())
        if self._whole:
            a, b = self._a.summary.rate, self._b.summary.rate
        elif seconds > 0:
            a, b = (float(each[0]) / seconds for each in pulled)
        else:
            return _quantity(RATE, None, None)
        return self._relative(RATE, a, b, pulled[0], pulled[1], more_is_better=True)

    def _latencies(self, group: str) -> Iterator[Quantity]:
        """Yields the latencies: from the summaries if the ramps are the same or nothing is paired, else by bin."""
        in_a, in_b = self._of(self._in_a, group), self._of(self._in_b, group)
        drawn = None
        if in_a is not None and in_b is not None and self._bins:
            drawn = tuple(statistics(self._weights, each, QUANTILES) for each in (in_a, in_b))
        measured = [run.summary.latency(group) for run in (self._a, self._b)]
        for name in LATENCIES:
            a, b = (None if each is None else each.value(name) for each in measured)
            if drawn is None:
                yield _quantity(group + name, a, b)
                continue
            one, other = drawn[0][name], drawn[1][name]
            if not self._whole:
                a, b = (float(each[0]) if np.isfinite(each[0]) else None for each in (one, other))
            yield self._relative(group + name, a, b, one, other, more_is_better=False)

    @staticmethod
    def _of(bins: Bins, group: str) -> Latencies | None:
        return {"": bins.every, "first.": bins.first, "repeat.": bins.repeat}[group]

    def _relative(
        self, name: str, a: float | None, b: float | None, in_a: Floats, in_b: Floats, *, more_is_better: bool
    ) -> Quantity:
        if a is None or b is None or a <= 0 or b <= 0:
            return _quantity(name, a, b)
        with np.errstate(divide="ignore", invalid="ignore"):
            away = spread(np.log(in_b) - np.log(in_a), self._bins)
        if away is None:
            return _quantity(name, a, b)
        low, high = (expm1(log(b / a) + end) for end in away)
        verdict = NOISE
        if low > self._margin:
            verdict = FASTER if more_is_better else SLOWER
        elif high < -self._margin:
            verdict = SLOWER if more_is_better else FASTER
        return Quantity(name=name, a=a, b=b, change=b / a - 1, low=low, high=high, verdict=verdict)

    def _error_rate(self) -> Quantity:
        counts = [(run.summary.failed, run.ended) for run in (self._a, self._b)]
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (
                self._weights @ bins.failed / (self._weights @ (bins.failed + bins.pulled))
                for bins in (self._in_a, self._in_b)
            )
            away = spread(other - one, self._bins)
        return _errors(ERROR_RATE, counts, away)

    def _errors(self, error: str) -> Quantity:
        counts = [(run.summary.errors.get(error, 0), run.ended) for run in (self._a, self._b)]
        return _errors(ERRORS + error, counts, None)


def _quantity(name: str, a: float | None, b: float | None) -> Quantity:
    """Returns a quantity without interval and verdict."""
    change = None if a is None or b is None or a <= 0 else b / a - 1
    return Quantity(name=name, a=a, b=b, change=change, low=None, high=None, verdict=None)


def _errors(
    name: str,
    counts: list[tuple[int, int]],
    away: tuple[float, float] | None,
) -> Quantity:
    """Returns a quantity with the wider of Newcombe's and the bootstrap's (`away`) intervals.

    Newcombe's interval assumes independent failures, but failures come in bursts. `counts` are (failed, ended) of both
    runs.
    """
    a, b = (failed / ended if ended else None for failed, ended in counts)
    if a is None or b is None:
        return Quantity(name=name, a=a, b=b, change=None, low=None, high=None, verdict=None)
    low, high = _difference(*counts)
    if away is not None:
        low, high = min(low, b - a + away[0]), max(high, b - a + away[1])
    verdict = SLOWER if low > 0 else FASTER if high < 0 else NOISE
    return Quantity(name=name, a=a, b=b, change=b - a, low=low, high=high, verdict=verdict)


def _difference(a: tuple[int, int], b: tuple[int, int]) -> tuple[float, float]:
    """Returns Newcombe's interval of the difference of two proportions, b - a, from Wilson's interval of each.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions" (Statistics in Medicine,
    1998), method 10 without continuity correction. `a` and `b` are (count, total).
    """
    (low_a, high_a), (low_b, high_b) = _wilson(*a), _wilson(*b)
    share_a, share_b = a[0] / a[1], b[0] / b[1]
    change = share_b - share_a
    low = change - sqrt((share_b - low_b) ** 2 + (high_a - share_a) ** 2)
    return low, change + sqrt((high_b - share_b) ** 2 + (share_a - low_a) ** 2)


def _wilson(some: int, of: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = some / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)
