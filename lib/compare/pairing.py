"""Pairs two runs: cuts both at the same places of their ramps, so that the ramp does not count as noise.

A step is paired with the other run's step that has the same number of workers and the same direction. The shorter of
the two sets the length, which is cut into equal parts, the bins. With a schedule, all steps have the same workers: so
the schedules must be the same, and the n-th step is paired with the n-th. Bin i has the same length and the same place
in both runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..latency import Latency
from .recorded_run import Key, Pull, Recorded, Span

Floats = NDArray[np.float64]

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
    """The counts of one run by bin. `first` and `repeat` need events. Images that share a launch have one latency."""

    seconds: Floats
    pulled: Floats
    failed: Floats
    every: Latencies
    first: Latencies | None = None
    repeat: Latencies | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The begin and end of each bin of one run, in seconds since its ramp began."""

    starts: Floats
    ends: Floats


def same_ramp(a: Recorded, b: Recorded) -> bool:
    """Returns whether both runs completed the same steps, with lengths within 5 %.

    The length of the last step is not compared, as it lasts until the last pull ends.
    """
    if a.interrupted or b.interrupted or [s.key for s in a.steps] != [s.key for s in b.steps]:
        return False
    pairs = list(zip(a.steps, b.steps, strict=True))
    return all(
        abs(_length(one) - _length(other)) <= 0.05 * max(_length(one), _length(other))
        for one, other in pairs[:-1]
    )


def cut(a: Recorded, b: Recorded) -> tuple[Cut, Cut]:
    """Returns the bins of both runs, in the same order. There are none if the runs have no step in common."""
    pairs = _common(a.steps, b.steps)
    events = a.pulls is not None and b.pulls is not None
    at_most = max(1, _MOST // max(1, len(pairs)))
    places: list[tuple[float, float, float]] = []
    for one, other in pairs:
        length = min(_length(one), _length(other))
        parts = min(_intervals_in(a, one.start, length), _intervals_in(b, other.start, length))
        if events:
            parts = max(parts, -(-_WANTED // len(pairs)))
        parts = max(1, min(parts, at_most))
        width = length / parts
        places += [(one.start + k * width, other.start + k * width, width) for k in range(parts)]
    table = np.array(places, dtype=np.float64).reshape(len(places), 3)
    starts_a, starts_b, widths = table[:, 0], table[:, 1], table[:, 2]
    return Cut(starts_a, starts_a + widths), Cut(starts_b, starts_b + widths)


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


def _intervals_in(run: Recorded, start: float, length: float) -> int:
    """Returns how many tally intervals fit into this many seconds. A short last interval hardly counts."""
    widths = [each.end - each.start for each in run.intervals]
    typical = float(np.median(widths)) if widths else 0.0
    return round(length / typical) if typical > 0 else 0


def fill(run: Recorded, place: Cut) -> Bins:
    """Counts the run's pulls by bin: from its events, or else from the share of each tally interval in a bin."""
    return _by_intervals(run, place) if run.pulls is None else _by_events(run.pulls, place)


def _by_intervals(run: Recorded, place: Cut) -> Bins:
    count = len(place.starts)
    failed, pulled, counted, total = (np.zeros(count) for _ in range(4))
    histogram = np.zeros((count, _BUCKETS))
    for each in run.intervals:
        inside = np.minimum(place.ends, each.end) - np.maximum(place.starts, each.start)
        rows = np.flatnonzero(inside > 0)
        share = inside[rows] / (each.end - each.start)
        failed[rows] += share * each.failed
        pulled[rows] += share * each.pulled
        if each.latency is not None:
            counted[rows] += share * each.pulled
            total[rows] += share * each.pulled * each.latency.mean
            histogram[rows] += np.outer(share * each.pulled, _spread(each.latency))
    return Bins(place.ends - place.starts, pulled, failed, Latencies(counted, total, histogram))


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


def _by_events(pulls: Sequence[Pull], place: Cut) -> Bins:
    count = len(place.starts)
    if not count:
        pulls = ()
    at = np.array([pull.at for pull in pulls], dtype=np.float64)
    order = np.argsort(place.starts)
    found = order[np.clip(np.searchsorted(place.starts[order], at, "right") - 1, 0, None)]
    # the summary's times are rounded to a millisecond
    inside = (at >= place.starts[found] - 0.002) & (at < place.ends[found])
    good = np.array([pull.error is None for pull in pulls], dtype=bool)
    first = np.array([pull.first for pull in pulls], dtype=bool)
    timed = np.array([pull.timed for pull in pulls], dtype=bool)
    taken = np.array([pull.milliseconds for pull in pulls], dtype=np.float64)

    def latencies(chosen: NDArray[np.bool_]) -> Latencies:
        rows, values = found[chosen], taken[chosen]
        histogram = np.zeros((count, _BUCKETS))
        np.add.at(histogram, (rows, _place(values).astype(np.intp)), 1.0)
        total = np.bincount(rows, weights=values, minlength=count).astype(np.float64)
        return Latencies(histogram.sum(axis=1), total, histogram)

    def counts(chosen: NDArray[np.bool_]) -> Floats:
        return np.bincount(found[chosen], minlength=count).astype(np.float64)

    measured = inside & good & timed
    return Bins(
        seconds=place.ends - place.starts,
        pulled=counts(inside & good),
        failed=counts(inside & ~good),
        every=latencies(measured),
        first=latencies(measured & first),
        repeat=latencies(measured & ~first),
    )
