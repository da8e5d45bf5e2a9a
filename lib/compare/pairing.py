"""Pairs two runs: cuts both at the same places of their ramps, so that the ramp does not count as chance.

A step is paired with the other run's step that has the same number of workers and the same direction. The shorter of
the two sets the length, which is cut into equal parts, the bins. With a schedule, all steps have the same workers: so
the schedules must be the same, and the n-th step is paired with the n-th. Bin i has the same length and the same place
in both runs.

Fixed work is paired by progress instead: the whole steps are cut into as many bins in both runs, so bin i may be longer
in one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..latency import Latency
from .pulls import Flags, Floats, Numbers, Pulls
from .recorded_run import Interval, Key, Recorded, Span

# Latencies are counted in buckets of a width of 0.5 %, from 10 µs to 28 hours.
_LEAST, _WIDTH, _BUCKETS = np.log(0.01), 0.005, 4606
# With events, bins can be finer than the tally intervals: at least _WANTED bins. More than _MOST bins gain nothing.
_WANTED, _MOST = 24, 600


@dataclass(frozen=True, slots=True)
class Latencies:
    """Latencies by bin: their number, their sum in milliseconds, and their histogram, shape (bins, buckets)."""

    counted: Floats
    total: Floats
    histogram: Floats


@dataclass(frozen=True, slots=True)
class Bins:
    """The counts of one run by bin. `first` and `repeat` need events. Images that share a launch have one latency.

    `errors` has the failures by class. `retried` is None if the retries of an interval are not known.
    """

    seconds: Floats
    pulled: Floats
    failed: Floats
    errors: Mapping[str, Floats]
    retried: Floats | None
    every: Latencies
    first: Latencies | None = None
    repeat: Latencies | None = None

    def latencies(self, group: str) -> Latencies | None:
        """The latencies of one of the `GROUPS`."""
        return {"": self.every, "first.": self.first, "repeat.": self.repeat}[group]


@dataclass(frozen=True, slots=True)
class Cut:
    """The begin and end of each bin of one run, in seconds since its ramp began."""

    starts: Floats
    ends: Floats


def same_ramp(a: Recorded, b: Recorded) -> bool:
    """Returns whether both runs completed the same steps, with lengths within 5 %. Fixed work takes its time."""
    if a.interrupted or b.interrupted or [s.key for s in a.steps] != [s.key for s in b.steps]:
        return False
    return _by_progress(a, b) or all(
        abs(_length(one) - _length(other)) <= 0.05 * max(_length(one), _length(other))
        for one, other in zip(a.steps, b.steps, strict=True)
    )


def _by_progress(a: Recorded, b: Recorded) -> bool:
    """Returns whether both runs finished a fixed amount of work."""
    return all(each.is_fixed_work and not each.interrupted for each in (a, b))


def cut(a: Recorded, b: Recorded) -> tuple[Cut, Cut]:
    """Returns the bins of both runs, in the same order. There are none if the runs have no step in common."""
    pairs = _common(a.steps, b.steps)
    events = a.pulls is not None and b.pulls is not None
    at_most = max(1, _MOST // max(1, len(pairs)))
    places: list[tuple[float, float, float, float]] = []
    for one, other in pairs:
        lengths = _length(one), _length(other)
        if not _by_progress(a, b):
            lengths = min(lengths), min(lengths)
        parts = min(_intervals_in(a, lengths[0]), _intervals_in(b, lengths[1]))
        if events:
            parts = max(parts, -(-_WANTED // len(pairs)))
        parts = max(1, min(parts, at_most))
        width_a, width_b = (length / parts for length in lengths)
        places += [
            (one.start + k * width_a, other.start + k * width_b, width_a, width_b) for k in range(parts)
        ]
    starts_a, starts_b, widths_a, widths_b = np.array(places, dtype=np.float64).reshape(len(places), 4).T
    return Cut(starts_a, starts_a + widths_a), Cut(starts_b, starts_b + widths_b)


def _length(step: Span) -> float:
    return step.end - step.start


def _common(a: Sequence[Span], b: Sequence[Span]) -> list[tuple[Span, Span]]:
    others = dict(_numbered(b))
    pairs = [(step, others[key]) for key, step in _numbered(a) if key in others]
    return [(one, other) for one, other in pairs if min(_length(one), _length(other)) > 0]


def _numbered(steps: Sequence[Span]) -> Iterator[tuple[tuple[Key, int], Span]]:
    """Yields each step with (its key, the number of earlier steps with the same key)."""
    seen: Counter[Key] = Counter()
    for step in steps:
        yield (step.key, seen[step.key]), step
        seen[step.key] += 1


def _intervals_in(run: Recorded, length: float) -> int:
    """Returns how many tally intervals fit into this many seconds. A short last interval hardly counts."""
    widths = [each.end - each.start for each in run.intervals]
    typical = float(np.median(widths)) if widths else 0.0
    return round(length / typical) if typical > 0 else 0


def fill(run: Recorded, place: Cut) -> Bins:
    """Counts the run's pulls by bin: from its events, or else from the share of each tally interval in a bin."""
    return _by_intervals(run, place) if run.pulls is None else _by_events(run, run.pulls, place)


def _by_intervals(run: Recorded, place: Cut) -> Bins:
    count = len(place.starts)
    pulled, counted, total = (np.zeros(count) for _ in range(3))
    histogram = np.zeros((count, _BUCKETS))
    shares = _shares(run.intervals, place)
    for each, share in zip(run.intervals, shares.T, strict=True):
        rows = np.flatnonzero(share)
        pulled[rows] += share[rows] * each.pulled
        if each.latency is not None:
            counted[rows] += share[rows] * each.pulled
            total[rows] += share[rows] * each.pulled * each.latency.mean
            histogram[rows] += np.outer(share[rows] * each.pulled, _spread(each.latency))
    classes = {name for each in run.intervals for name in each.errors}
    retried = [each.retried for each in run.intervals if each.retried is not None]
    return Bins(
        seconds=place.ends - place.starts,
        pulled=pulled,
        failed=shares @ _column([each.failed for each in run.intervals]),
        errors={
            name: shares @ _column([each.errors.get(name, 0) for each in run.intervals]) for name in classes
        },
        retried=shares @ _column(retried) if len(retried) == len(run.intervals) else None,
        every=Latencies(counted, total, histogram),
    )


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def _shares(intervals: Sequence[Interval], place: Cut) -> Floats:
    """Returns the share of each interval that lies in each bin, shape (bins, intervals)."""
    starts, ends = _column([each.start for each in intervals]), _column([each.end for each in intervals])
    inside = np.minimum.outer(place.ends, ends) - np.maximum.outer(place.starts, starts)
    shares: Floats = np.maximum(inside, 0.0) / np.maximum(ends - starts, 1e-9)
    return shares


def _spread(latency: Latency) -> Floats:
    """Returns a distribution over the buckets that has these percentiles and is even between them."""
    shares, values = (np.array(column, dtype=np.float64) for column in zip(*latency.points(), strict=True))
    places = np.maximum.accumulate(_place(values)) + np.arange(len(values)) * 1e-9
    edges = np.arange(_BUCKETS + 1, dtype=np.float64)
    spread: Floats = np.diff(np.interp(edges, places, shares, left=0.0, right=1.0))
    return spread


def _place(milliseconds: Floats) -> Floats:
    place: Floats = (np.log(np.maximum(milliseconds, 1e-9)) - _LEAST) / _WIDTH
    clipped: Floats = np.clip(place, 0.0, _BUCKETS - 1e-6)
    return clipped


def milliseconds(place: Floats) -> Floats:
    """Returns the latency in milliseconds at a place in the buckets. A place may be a fraction."""
    back: Floats = np.exp(place * _WIDTH + _LEAST)
    return back


def _by_events(run: Recorded, pulls: Pulls, place: Cut) -> Bins:
    count = len(place.starts)
    if not count:
        pulls = pulls.none()
    # failures of the drain count for the last bin, as in the intervals
    at = np.where(pulls.ok, pulls.at, np.minimum(pulls.at, (run.steps[-1].end if run.steps else 0.0) - 0.001))
    order = np.argsort(place.starts)
    found = order[np.clip(np.searchsorted(place.starts[order], at, "right") - 1, 0, None)]
    # the summary's times are rounded to a millisecond
    inside = (at >= place.starts[found] - 0.002) & (at < place.ends[found])

    def latencies(chosen: Flags) -> Latencies:
        rows, values = found[chosen], pulls.milliseconds[chosen]
        histogram = np.zeros((count, _BUCKETS))
        np.add.at(histogram, (rows, _place(values).astype(np.intp)), 1.0)
        return Latencies(histogram.sum(axis=1), _summed(rows, values, count), histogram)

    def counts(chosen: Flags) -> Floats:
        return np.bincount(found[chosen], minlength=count).astype(np.float64)

    measured = inside & pulls.ok & pulls.timed
    retried = pulls.retries
    return Bins(
        seconds=place.ends - place.starts,
        pulled=counts(inside & pulls.ok),
        failed=counts(inside & ~pulls.ok),
        errors={name: counts(inside & (pulls.error == k)) for k, name in enumerate(pulls.errors)},
        retried=None if retried is None else _summed(found[inside], retried[inside], count),
        every=latencies(measured),
        first=latencies(measured & pulls.first),
        repeat=latencies(measured & ~pulls.first),
    )


def _summed(rows: Numbers, values: Floats, count: int) -> Floats:
    """Returns the sum of the values of each row."""
    return np.bincount(rows, weights=values, minlength=count).astype(np.float64)
