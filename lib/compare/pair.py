"""Compares two runs, by a bootstrap over the bins that both have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..counted import counted
from ..latency import GROUPS, LEAST
from .bootstrap import LEAST_BINS, draws, likeness, spread, statistics
from .notes import FEW, LOADS, METHOD, Note, drained
from .pairing import Bins, cut, fill, in_common, same_ramp
from .proportions import difference
from .pulls import Floats
from .quantities import (
    BYTES_RATE,
    ERROR_RATE,
    ERRORS,
    LATENCIES,
    LEAST_PULLS,
    NOT_REPORTED,
    OTHER_LOADS,
    QUANTILES,
    RATE,
    RETRY_RATE,
    Ends,
    Margins,
    Quantity,
    relative,
    share,
    unknown,
)
from .recorded_run import Recorded

TWO_RUNS = Note(
    "this compares two runs, not two versions: repeat each version, and give all runs with --a and --b",
    "two runs, not two versions",
    METHOD,
)
NEEDS_EVENTS = Note(
    "percentiles, and first and repeat latencies, have a confidence interval "
    "only if you give --events for each run",
    "percentiles need --events",
    METHOD,
)
# Why a row has no interval. What follows the semicolon is what to do.
_NEEDS = "needs --events"
_FEW = "too few intervals; give a shorter --tally-seconds, or --events"
_NOT_LONG = "too few intervals; give runs with more time in common"
_FEW_PULLS = "too few pulls"
# Intervals whose neighbours are more alike than this tell less than their number promises.
_ALIKE = 0.5


@dataclass(frozen=True, slots=True)
class Paired:
    """One of the two runs, and its counts by bin."""

    run: Recorded
    bins: Bins


class Pair:
    """Two runs, cut into the same bins. If the loads are the same, the summaries' own figures are compared."""

    def __init__(self, a: Recorded, b: Recorded, *, seed: int, margins: Margins) -> None:
        places, whole = cut(a, b), same_ramp(a, b)
        self._a = Paired(a, fill(a, places[0], whole=whole))
        self._b = Paired(b, fill(b, places[1], whole=whole))
        self._whole, self._margins = whole, margins
        self._in_common = whole or in_common(a, b)
        self._events = a.pulls is not None and b.pulls is not None
        self._bins = len(self._a.bins.seconds)
        self._weights = draws(self._bins, seed) if self._bins else np.ones((1, 0))

    def quantities(self, classes: frozenset[str] = frozenset()) -> Iterator[Quantity]:
        """Yields all quantities. `classes` are error classes to have a row even if neither run has failures of it."""
        yield self._rate()
        yield from self._bytes_rate()
        for group in GROUPS:
            yield from self._latencies(group)
        yield self._errors(ERROR_RATE, None)
        for name in sorted({*self._a.run.summary.errors, *self._b.run.summary.errors, *classes}):
            yield self._errors(ERRORS + name, name)
        yield self._retries()

    def notes(self) -> Iterator[Note]:
        """Yields what the reader must know about the method besides the figures."""
        if not self._in_common:
            yield Note(
                "the loads have no step in common (the same number of workers in the same direction, or the same "
                "schedule), so nothing has a verdict: repeat one run with the load of the other",
                "the loads have no step in common",
                LOADS,
            )
            yield TWO_RUNS
            return
        if not self._whole:
            seconds = float(self._a.bins.seconds.sum())
            yield Note(
                f"the loads differ: rate and latencies cover only the {seconds:.6g} seconds of each run with the same "
                "number of workers in the same direction, or with the same schedule",
                f"the loads have {seconds:.6g} s in common",
                LOADS,
            )
        yield from self._drains()
        if self._bins < LEAST_BINS:
            intervals = counted(self._bins, "interval")
            yield Note(
                f"only {intervals} can be paired, too few to tell a difference from chance: "
                f"{self._few.partition('; ')[2]}",
                f"only {intervals} can be paired",
                FEW,
            )
        elif (alike := self._likeness()) > _ALIKE:
            yield Note(
                f"neighbouring intervals are alike (autocorrelation {alike:.2f}), so the confidence intervals may be "
                "too narrow: make the runs longer, or repeat them and use --a and --b",
                f"neighbouring intervals are alike ({alike:.2f})",
                FEW,
            )
        if not self._events:
            yield NEEDS_EVENTS
        elif few := [name for name, least in LEAST_PULLS.items() if 0 < self._fewest("") < least]:
            yield Note(
                f"{' and '.join(few)}: no verdict, because a run has only {self._fewest(''):.0f} pulls to compare",
                f"too few pulls for {' and '.join(few)}",
                METHOD,
            )
        yield TWO_RUNS

    def _drains(self) -> Iterator[Note]:
        runs = self._a.run, self._b.run
        covers = (
            "rate and mean latency cover the planned time only"
            if self._whole
            else "rate and latencies cover the planned time only"
        )
        pulls = [(run.file, run.drained) for run in runs if run.drained]
        if pulls:
            yield drained(pulls, covers)
        for run, other in (runs, runs[::-1]):
            if other.drained and run.is_older:
                yield Note(
                    f"{run.file}: an earlier version wrote it, so its rate and mean latency may cover pulls that ended "
                    "after the planned end: repeat the run",
                    f"an earlier version wrote {run.file}",
                    FEW,
                )

    @property
    def _few(self) -> str:
        if not self._in_common:
            return OTHER_LOADS
        return _NOT_LONG if self._events else _FEW

    def _likeness(self) -> float:
        one, other = (side.bins.pulled for side in (self._a, self._b))
        if not one.sum() or not other.sum():
            return 0.0
        return likeness(other / other.mean() - one / one.mean())

    def _rate(self) -> Quantity:
        pulled = [self._weights @ side.bins.pulled for side in (self._a, self._b)]
        seconds = [float(side.bins.seconds.sum()) for side in (self._a, self._b)]
        if self._whole:
            a, b = self._a.run.summary.rate, self._b.run.summary.rate
        elif min(seconds) > 0:
            a, b = (float(each[0]) / length for each, length in zip(pulled, seconds, strict=True))
        else:
            return unknown(RATE, None, None, self._few)
        return self._relative(RATE, a, b, self._away(*pulled))

    def _bytes_rate(self) -> Iterator[Quantity]:
        """Yields the bytes per second, if both runs know them."""
        a, b = (side.run.summary.bytes_per_second for side in (self._a, self._b))
        in_a, in_b = self._a.bins.bytes, self._b.bins.bytes
        if a is None or b is None or in_a is None or in_b is None:
            return
        drawn = [self._weights @ each for each in (in_a, in_b)]
        seconds = [float(side.bins.seconds.sum()) for side in (self._a, self._b)]
        if not self._whole and min(seconds) > 0:
            a, b = (float(each[0]) / length for each, length in zip(drawn, seconds, strict=True))
        elif not self._whole:
            yield unknown(BYTES_RATE, None, None, self._few)
            return
        yield self._relative(BYTES_RATE, a, b, self._away(*drawn))

    def _latencies(self, group: str) -> Iterator[Quantity]:
        """Yields the latencies. Percentiles are the run's own if the loads are the same, else those of the bins.

        The mean leaves out what ended after the planned end. A percentile has an interval only with events.
        """
        in_a, in_b = (side.bins.latencies(group) for side in (self._a, self._b))
        own = [side.run.summary.latency(group) for side in (self._a, self._b)]
        drawn: list[dict[str, Floats]] = []
        if in_a is not None and in_b is not None and self._bins:
            drawn = [statistics(self._weights, each, QUANTILES) for each in (in_a, in_b)]
        fewest = self._fewest(group)
        for name in LATENCIES:
            a, b = (None if each is None or not self._whole else each.value(name) for each in own)
            if not drawn or name not in drawn[0] or name not in drawn[1]:
                yield unknown(
                    group + name, a, b, self._few if self._events or group + name == "mean" else _NEEDS
                )
                continue
            one, other = drawn[0][name], drawn[1][name]
            drained = self._a.run.drained or self._b.run.drained
            if not self._whole or (name == "mean" and drained):
                known = fewest >= LEAST.get(name, 0)
                a, b = (float(each[0]) if known and np.isfinite(each[0]) else None for each in (one, other))
            if a is None or b is None or fewest < LEAST_PULLS.get(name, 0):
                yield unknown(group + name, a, b, _FEW_PULLS)
            else:
                yield self._relative(group + name, a, b, self._away(one, other))

    def _fewest(self, group: str) -> float:
        """Returns the number of latencies in the bins, of the run that has fewer. Launches count, not images."""
        found = [side.bins.latencies(group) for side in (self._a, self._b)]
        return min(0.0 if each is None else each.number for each in found)

    def _relative(self, name: str, a: float, b: float, away: tuple[float, float] | None) -> Quantity:
        if away is None:
            return unknown(name, a, b, self._few if self._bins < LEAST_BINS else _FEW_PULLS)
        return relative(name, a, b, away, self._margins)

    def _away(self, in_a: Floats, in_b: Floats) -> tuple[float, float] | None:
        with np.errstate(divide="ignore", invalid="ignore"):
            return spread(np.log(in_b) - np.log(in_a), self._bins)

    def _errors(self, row: str, error: str | None) -> Quantity:
        """Returns the share of the pulls that failed, of all classes or of one."""
        counts = [
            side.run.summary.failed if error is None else side.run.summary.errors.get(error, 0)
            for side in (self._a, self._b)
        ]
        nothing = np.zeros(self._bins)
        in_bins = [
            side.bins.failed if error is None else side.bins.errors.get(error, nothing)
            for side in (self._a, self._b)
        ]
        return self._share(row, counts, in_bins)

    def _retries(self) -> Quantity:
        sides = (self._a, self._b)
        a, b = (side.run.summary.retried for side in sides)
        if a is None or b is None:
            in_a, in_b = (side.run.summary.retry_rate for side in sides)
            return unknown(RETRY_RATE, in_a, in_b, NOT_REPORTED)
        return self._share(RETRY_RATE, [a, b], [side.bins.retried for side in sides])

    def _share(self, row: str, counts: Sequence[int], in_bins: Sequence[Floats | None]) -> Quantity:
        """Returns a count per pull, with the wider of Newcombe's and the bootstrap's intervals.

        Newcombe's interval assumes independent failures, but failures come in bursts.
        """
        ended = self._a.run.ended, self._b.run.ended
        if not all(ended):
            shares = [some / of if of else None for some, of in zip(counts, ended, strict=True)]
            return unknown(row, shares[0], shares[1])
        a, b = (some / of for some, of in zip(counts, ended, strict=True))
        away = self._share_away(in_bins)
        if away is None:
            return unknown(row, a, b, self._few if self._bins < LEAST_BINS else None)
        independent = difference((counts[0], ended[0]), (counts[1], ended[1]))
        return share(row, a, b, away.around(b - a, independent), self._margins)

    def _share_away(self, in_bins: Sequence[Floats | None]) -> Ends | None:
        drawn = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for side, found in zip((self._a, self._b), in_bins, strict=True):
                if found is None:
                    return None
                drawn.append(self._weights @ found / (self._weights @ (side.bins.failed + side.bins.pulled)))
            return spread(drawn[1] - drawn[0], self._bins)
