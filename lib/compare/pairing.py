"""Pairs two runs: cuts both at the same places of their loads, so that the ramp does not count as chance.

A step is paired with the other run's step that has the same number of workers and the same direction. With a schedule,
all steps have the same workers: so the schedules must be the same, and the n-th step is paired with the n-th. Steps
that follow each other in both runs, and last as long in both, make one stretch. If a step is longer in one run, only
its beginning is paired, and the stretch ends there.

A stretch is cut into bins, at the same places in both runs. A bin holds whole tally intervals of the run that has fewer
of them there. Several short steps share a bin. What lies within an interval is not known, so there are never more bins
than intervals. Single pulls (events) have no such limit.

Fixed work is paired by progress instead: a bin begins and ends at the same share of a step, so it may be longer in one
of the runs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .pulls import Flags, Floats, Numbers, Pulls
from .recorded_run import Interval, Key, Recorded, Span

# Latencies are counted in buckets of a width of 0.5 %, from 10 µs to 28 hours.
_LEAST, _WIDTH, _BUCKETS = np.log(0.01), 0.005, 4606
# With events, bins can be finer than the tally intervals: at least _WANTED bins. More than _MOST bins gain nothing.
_WANTED, _MOST = 24, 600
# The timer of an interval may be late, so nearly an interval counts as a whole one.
_WHOLE = 0.9


@dataclass(frozen=True, slots=True)
class Latencies:
    """Latencies by bin: their number, their sum in milliseconds, and their histogram, shape (bins, buckets).

    The histogram needs events. `counted` and `total` do not cover pulls that ended after the planned end, while the
    histogram has them in the last bin, as the percentiles of a summary do.
    """

    counted: Floats
    total: Floats
    histogram: Floats | None

    @property
    def number(self) -> float:
        """How many latencies the percentiles cover."""
        return float((self.counted if self.histogram is None else self.histogram).sum())


@dataclass(frozen=True, slots=True)
class Bins:
    """The counts of one run by bin. `first` and `repeat` need events. Images that share a launch have one latency.

    `errors` has the failures by class. `retried` is None if the retries of an interval are not known, `bytes`
    (what was pulled) if the size of a pull is not.
    """

    seconds: Floats
    pulled: Floats
    failed: Floats
    errors: Mapping[str, Floats]
    retried: Floats | None
    every: Latencies
    first: Latencies | None = None
    repeat: Latencies | None = None
    bytes: Floats | None = None

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
        _as_long(_length(one), _length(other)) for one, other in zip(a.steps, b.steps, strict=True)
    )


def _by_progress(a: Recorded, b: Recorded) -> bool:
    """Returns whether both runs finished a fixed amount of work."""
    return all(each.is_fixed_work and not each.interrupted for each in (a, b))


def in_common(a: Recorded, b: Recorded) -> bool:
    """Returns whether a part of one load is also in the other."""
    return bool(_stretches(a, b))


def cut(a: Recorded, b: Recorded) -> tuple[Cut, Cut]:
    """Returns the bins of both runs, in the same order. There are none if the runs have no whole interval in common."""
    stretches = _stretches(a, b)
    events = a.pulls is not None and b.pulls is not None
    at_most = max(1, _MOST // max(1, len(stretches)))
    total = sum(_over(each.a) for each in stretches)
    clocks = _Clock.of(a), _Clock.of(b)
    cuts: list[tuple[Floats, Floats]] = []
    for each in stretches:
        edges = _by_tally(*clocks, each)
        if events:
            wanted = max(1, min(at_most, math.ceil(_WANTED * _over(each.a) / total - 1e-9)))
            if len(edges) - 1 < wanted:
                edges = np.linspace(each.a[0], each.a[-1], wanted + 1)
        if len(edges) > 1:
            edges = _thinned(edges, at_most)
            cuts.append((edges, np.interp(edges, each.a, each.b)))
    return _bins([one for one, _ in cuts]), _bins([other for _, other in cuts])


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of the load that both runs have: the edges of its steps, in seconds since the load of each run began."""

    a: Floats
    b: Floats


def _over(edges: Floats) -> float:
    return float(edges[-1] - edges[0])


def _stretches(a: Recorded, b: Recorded) -> list[_Stretch]:
    others = {key: (place, step) for place, (key, step) in enumerate(_numbered(b.steps))}
    found: list[tuple[list[float], list[float]]] = []
    follows: tuple[int, int] | None = None
    for place, (key, step) in enumerate(_numbered(a.steps)):
        there, other = others.get(key, (-1, None))
        if other is None or min(_length(step), _length(other)) <= 0:
            follows = None
            continue
        lengths = _length(step), _length(other)
        as_long = _by_progress(a, b) or _as_long(*lengths)
        if not as_long:
            lengths = min(lengths), min(lengths)
        if follows != (place, there):
            found.append(([step.start], [other.start]))
        for edges, begin, length in zip(found[-1], (step.start, other.start), lengths, strict=True):
            edges.append(begin + length)
        follows = (place + 1, there + 1) if as_long else None
    return [_Stretch(np.array(one), np.array(other)) for one, other in found]


def _as_long(one: float, other: float) -> bool:
    return abs(one - other) <= 0.05 * max(one, other)


def _length(step: Span) -> float:
    return step.end - step.start


def _numbered(steps: Sequence[Span]) -> Iterator[tuple[tuple[Key, int], Span]]:
    """Yields each step with (its key, the number of earlier steps with the same key)."""
    seen: Counter[Key] = Counter()
    for step in steps:
        yield (step.key, seen[step.key]), step
        seen[step.key] += 1


@dataclass(frozen=True, slots=True)
class _Clock:
    """Counts the tally intervals of a run: `passed` of them at each of the `edges`. A short one counts in part."""

    edges: Floats
    passed: Floats

    @staticmethod
    def of(run: Recorded) -> _Clock:
        widths = _column([each.end - each.start for each in run.intervals])
        typical = float(np.median(widths)) if len(widths) else 0.0
        if typical <= 0:
            return _Clock(np.zeros(1), np.zeros(1))
        passed = np.cumsum(np.minimum(widths / typical, 1.0))
        return _Clock(_column([0.0, *(each.end for each in run.intervals)]), np.append(0.0, passed))

    def at(self, seconds: Floats) -> Floats:
        """Returns how many intervals have passed."""
        found: Floats = np.interp(seconds, self.edges, self.passed)
        return found


def _by_tally(one: _Clock, other: _Clock, stretch: _Stretch) -> Floats:
    """Returns the edges of bins that hold at least one interval of each run, in seconds of the first run."""
    starts_and_ends = stretch.a[[0, -1]], stretch.b[[0, -1]]
    fewer = np.diff(one.at(starts_and_ends[0])) <= np.diff(other.at(starts_and_ends[1]))
    ticks = one.edges if fewer else np.interp(other.edges, stretch.b, stretch.a)
    inside = ticks[(ticks > stretch.a[0]) & (ticks < stretch.a[-1])]
    edges = np.concatenate([stretch.a[:1], inside, stretch.a[-1:]])
    in_one, in_other = one.at(edges), other.at(np.interp(edges, stretch.a, stretch.b))
    chosen = [0]
    for place in range(1, len(edges)):
        last = chosen[-1]
        if min(in_one[place] - in_one[last], in_other[place] - in_other[last]) >= _WHOLE:
            chosen.append(place)
    if len(chosen) > 1:
        chosen[-1] = len(edges) - 1  # the rest belongs to the last bin
    return np.take(edges, chosen)


def _thinned(edges: Floats, at_most: int) -> Floats:
    """Joins neighbouring bins if there are more than `at_most`."""
    step = -(-(len(edges) - 1) // at_most)
    return np.append(edges[:-1:step], edges[-1])


def _bins(edges: Sequence[Floats]) -> Cut:
    nothing = [np.zeros(0)]
    return Cut(
        np.concatenate([each[:-1] for each in edges] or nothing),
        np.concatenate([each[1:] for each in edges] or nothing),
    )


def fill(run: Recorded, place: Cut, *, whole: bool = False) -> Bins:
    """Counts the run's pulls by bin: from its events, or else from the share of each tally interval in a bin.

    `whole`: the bins cover the whole run, so the percentiles are those of all its pulls.
    """
    return _by_intervals(run, place) if run.pulls is None else _by_events(run, run.pulls, place, whole=whole)


def _by_intervals(run: Recorded, place: Cut) -> Bins:
    count = len(place.starts)
    pulled, counted, total = (np.zeros(count) for _ in range(3))
    shares = _shares(run.intervals, place)
    for each, share in zip(run.intervals, shares.T, strict=True):
        rows = np.flatnonzero(share)
        pulled[rows] += share[rows] * each.pulled
        if each.latency is not None:
            # images that share a launch have one latency; files of earlier versions do not have its count
            latencies = each.latency.count or each.pulled
            counted[rows] += share[rows] * latencies
            total[rows] += share[rows] * latencies * each.latency.mean
    classes = {name for each in run.intervals for name in each.errors}
    retried = [each.retried for each in run.intervals if each.retried is not None]
    sizes = [each.bytes for each in run.intervals if each.bytes is not None]
    return Bins(
        seconds=place.ends - place.starts,
        pulled=pulled,
        failed=shares @ _column([each.failed for each in run.intervals]),
        errors={
            name: shares @ _column([each.errors.get(name, 0) for each in run.intervals]) for name in classes
        },
        retried=shares @ _column(retried) if len(retried) == len(run.intervals) else None,
        every=Latencies(counted, total, None),
        bytes=shares @ _column(sizes) if len(sizes) == len(run.intervals) else None,
    )


def _column(values: Sequence[float]) -> Floats:
    return np.array(values, dtype=np.float64)


def _shares(intervals: Sequence[Interval], place: Cut) -> Floats:
    """Returns the share of each interval that lies in each bin, shape (bins, intervals)."""
    starts, ends = _column([each.start for each in intervals]), _column([each.end for each in intervals])
    inside = np.minimum.outer(place.ends, ends) - np.maximum.outer(place.starts, starts)
    shares: Floats = np.maximum(inside, 0.0) / np.maximum(ends - starts, 1e-9)
    return shares


def _place(milliseconds: Floats) -> Floats:
    place: Floats = (np.log(np.maximum(milliseconds, 1e-9)) - _LEAST) / _WIDTH
    clipped: Floats = np.clip(place, 0.0, _BUCKETS - 1e-6)
    return clipped


def milliseconds(place: Floats) -> Floats:
    """Returns the latency in milliseconds at a place in the buckets. A place may be a fraction."""
    back: Floats = np.exp(place * _WIDTH + _LEAST)
    return back


def _by_events(run: Recorded, pulls: Pulls, place: Cut, *, whole: bool) -> Bins:
    count = len(place.starts)
    if not count:
        pulls = pulls.none()
    end = run.steps[-1].end if run.steps else 0.0
    drained = (pulls.at >= end) & (run.summary.drain is not None)
    # what ended in the drain counts for the last bin: failures as in the intervals, and latencies in the percentiles
    at = np.minimum(pulls.at, end - 0.001)
    order = np.argsort(place.starts)
    found = order[np.clip(np.searchsorted(place.starts[order], at, "right") - 1, 0, None)]
    # the summary's times are rounded to a millisecond
    inside = (at >= place.starts[found] - 0.002) & (at < place.ends[found])

    def latencies(chosen: Flags) -> Latencies:
        rows, values = found[chosen & planned], pulls.milliseconds[chosen & planned]
        histogram = np.zeros((count, _BUCKETS))
        ranked = chosen if whole else chosen & planned
        np.add.at(histogram, (found[ranked], _place(pulls.milliseconds[ranked]).astype(np.intp)), 1.0)
        return Latencies(counts(chosen & planned), _summed(rows, values, count), histogram)

    def counts(chosen: Flags) -> Floats:
        return np.bincount(found[chosen], minlength=count).astype(np.float64)

    planned = inside & ~drained
    measured = inside & pulls.ok & pulls.timed
    retried, sizes = pulls.retries, pulls.sizes
    return Bins(
        seconds=place.ends - place.starts,
        pulled=counts(planned & pulls.ok),
        failed=counts(inside & ~pulls.ok),
        errors={name: counts(inside & (pulls.error == k)) for k, name in enumerate(pulls.errors)},
        retried=None if retried is None else _summed(found[inside], retried[inside], count),
        every=latencies(measured),
        first=latencies(measured & pulls.first),
        repeat=latencies(measured & ~pulls.first),
        bytes=None if sizes is None else _summed(found[planned], sizes[planned], count),
    )


def _summed(rows: Numbers, values: Floats, count: int) -> Floats:
    """Returns the sum of the values of each row."""
    return np.bincount(rows, weights=values, minlength=count).astype(np.float64)
