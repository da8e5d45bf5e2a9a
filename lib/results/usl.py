"""Fits scalability laws to throughput against workers, and says how sure the knee is.

Each law is X(N) = λN / W(N). λ is the rate of one worker alone, in pulls per second. W says how much longer a pull
takes with N workers. k is the limit of the server: so many workers alone would have the highest rate of the server.

- A corner: W(N) = (1 + (N^p - 1) / k^p)^(1/p) + κN(N - 1). p says how sharply the rate turns at the limit, and κ what
  it costs to keep workers consistent with each other (coherency). With p = 1, this is the Universal Scalability Law,
  and 1/k is its contention σ (N. J. Gunther, "Guerrilla Capacity Planning", Springer, 2007, chapters 4 to 6). With
  p = ∞ and κ = 0, it is a hard limit: X(N) = λ·min(N, k).
- Contention before a hard limit: W(N) = max(1 + σ(N - 1), N / k).
- A fall beyond a hard limit: W(N) = max(1, N / k)·(1 + φ·max(0, N - k)).

The Universal Scalability Law alone cannot follow a hard limit, and then has a wrong λ.

The knee is the highest rate of the law, up to the most measured workers, divided by λ: there, perfect scaling would
meet the plateau.

The intervals are profile likelihoods (D. Bates and D. Watts, "Nonlinear Regression Analysis and Its Applications",
1988, chapter 6): they contain the knees of all laws that fit hardly worse than the best one, of whatever kind. If the
best law fits worse than the errors of the rates allow, the intervals are wider by as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..student import reach
from .summary import LEAST_DIFFERENT

# There is a knee if the last worker adds less than this share of λ.
_LAST_GAIN: Final = 0.25
# There is a peak only if the rate falls by more than this share from there to the most workers.
_LEAST_FALL: Final = 0.02
# The parameters of a law: λ, k and its cost.
_PARAMETERS: Final = 3
# Numbers of workers that differ by less than a twelfth are averaged.
_GROUPS_PER_E: Final = 12
# The least error of a rate, as a share of it. Of rates below a share of the highest, the error is that of this share.
_LEAST_ERROR, _LEAST_RATE = 1e-3, 0.05
# The search for the best fit, and for the region of good fits.
_GRID, _ROUNDS, _SHRINK = 17, 30, 0.6
_REGION_GRID, _REGION_ROUNDS, _REGION_START, _REGION_LEAST = 31, 40, 0.02, 1e-7
# A smaller cost is a rounding error of the search and counts as 0.
_LEAST_COST: Final = 1e-9
# A smaller 1/k counts as no limit.
_LEAST_SHARE: Final = 1e-12
# Places at which the highest rate of a law is looked for.
_PLACES: Final = 64

Floats = NDArray[np.float64]


class Point(NamedTuple):
    """A measured throughput: `rate` in pulls per second with this number of workers, and its standard error.

    `demand` is the rate that these workers would have if none hindered another, in any unit; by default it grows with
    their number. Workers that pull slower images have less of it.
    """

    workers: int
    rate: float
    error: float = 0.0
    demand: float | None = None


class Interval(NamedTuple):
    """A value with the ends of its confidence interval of 95 %."""

    value: float
    low: float
    high: float


class _Kind(NamedTuple):
    """A kind of law: how sharply the rate turns (p), and where the cost counts."""

    sharpness: float
    cost: Literal["everywhere", "before the limit", "beyond the limit"] = "everywhere"


_USL: Final = _Kind(1.0)
_KINDS: Final = (
    _USL,
    *(_Kind(sharpness) for sharpness in (1.5, 2.0, 3.0, 5.0, 10.0, math.inf)),
    _Kind(math.inf, "before the limit"),
    _Kind(math.inf, "beyond the limit"),
)


class _Shapes(NamedTuple):
    """Laws of one kind with λ = 1, as arrays of one shape: `limited` is √(1/k), `costly` is √κ, √σ or √φ; 0 to 1.

    Small values matter most. So the search goes over the roots.
    """

    kind: _Kind
    limited: Floats
    costly: Floats

    @property
    def costs(self) -> Floats:
        return np.where(self.costly**2 > _LEAST_COST, self.costly**2, 0.0)

    def rates(self, workers: Floats) -> Floats:
        """Returns the rates; the last axis is that of the workers."""
        (power, where), share, cost = self.kind, self.limited[..., None] ** 2, self.costs[..., None]
        if where == "before the limit":
            longer = np.maximum(1 + cost * (workers - 1), share * workers)
        elif where == "beyond the limit":
            beyond = np.maximum(0.0, workers - 1 / np.maximum(share, _LEAST_SHARE))
            longer = np.maximum(1.0, share * workers) * (1 + cost * beyond)
        elif math.isinf(power):
            longer = np.maximum(1.0, share * workers) + cost * workers * (workers - 1)
        else:
            longer = (1 + share**power * (workers**power - 1)) ** (1 / power) + cost * workers * (workers - 1)
        found: Floats = workers / longer
        return found

    def tops(self, most: float) -> tuple[Floats, Floats]:
        """Returns the number of workers with the highest rate, up to the most, and this rate."""
        even = np.broadcast_to(np.geomspace(1.0, most, _PLACES), (*self.limited.shape, _PLACES))
        with np.errstate(divide="ignore", invalid="ignore"):
            corner = 1 / self.limited**2
            turn = np.sqrt((1 - (self.limited**2 if self.kind == _USL else 0)) / self.costs)
        sharp = np.clip(np.nan_to_num(np.stack([corner, turn], axis=-1), nan=1.0), 1.0, most)
        places = np.concatenate([even, sharp], axis=-1)
        rates = self.rates(places)
        best = rates.argmax(axis=-1)[..., None]
        return np.take_along_axis(places, best, -1)[..., 0], np.take_along_axis(rates, best, -1)[..., 0]

    def gains(self, most: float) -> Floats:
        """Returns what the last worker adds, as a share of λ."""
        last = self.rates(np.array([most - 1, most]))
        return np.asarray(last[..., 1] - last[..., 0])


@dataclass(frozen=True, slots=True)
class Law:
    """The law that fits best. `most` is the largest measured number of workers.

    `demands` has the (workers, demand) of the points, if workers pull images of different speed.
    """

    lam: float
    shape: _Shapes
    most: int
    demands: tuple[tuple[float, float], ...] = ()

    def rate(self, workers: float) -> float:
        """Returns the fitted rate for this number of workers, in pulls per second."""
        if workers <= 1:
            return self.perfect(workers)
        return self.perfect(workers) * float(self.shape.rates(np.array([workers]))[0]) / workers

    def perfect(self, workers: float) -> float:
        """Returns the rate of this number of workers if none hindered another, in pulls per second."""
        if not self.demands:
            return self.lam * workers
        places, demands = zip(*self.demands, strict=True)
        share = float(np.interp(workers, (0.0, *places), (0.0, *demands)))
        return float(self.lam * share * self.most / demands[-1])

    @property
    def plateau(self) -> float:
        """The highest rate of the law, in pulls per second, with at most the measured workers."""
        return float(self.lam * self.shape.tops(self.most)[1])


@dataclass(frozen=True, slots=True)
class Fit:
    """The law that fits best, with what is sure about it.

    `sigma` and `kappa` are those of the Universal Scalability Law. `usl` says if it fits hardly worse than the best.

    `knee` is None if the rate still grew with the last worker, or if that is not sure. `peak` is the number of workers
    from which on the rate falls; None if it does not fall, or if that is not sure.
    """

    law: Law
    sigma: Interval
    kappa: Interval
    usl: bool
    knee: Interval | None
    peak: Interval | None

    @property
    def lam(self) -> float:
        """λ, the rate of one worker alone, in pulls per second."""
        return self.law.lam

    @property
    def plateau(self) -> float:
        """The highest rate of the law, in pulls per second, with at most the measured workers."""
        return self.law.plateau

    def rate(self, workers: float) -> float:
        """Returns the fitted rate for this number of workers, in pulls per second."""
        return self.law.rate(workers)


class _Measured(NamedTuple):
    """Numbers of workers, with the mean rate of each, its weight (1 / its variance), and its demand."""

    workers: Floats
    rates: Floats
    weights: Floats
    demands: Floats
    most: int

    def squares(self, shapes: _Shapes) -> tuple[Floats, Floats]:
        """Returns (weighted sum of squared residuals, best λ) of each shape."""
        shape = shapes.rates(self.workers)
        lam = (self.weights * self.rates * shape).sum(axis=-1) / (self.weights * shape**2).sum(axis=-1)
        residuals = self.rates - lam[..., None] * shape
        return (self.weights * residuals**2).sum(axis=-1), lam

    def worst(self, least: float) -> float:
        """Returns the largest sum of squares of a law that fits hardly worse than the best one, which has `least`."""
        free = len(self.rates) - _PARAMETERS
        return least + max(1.0, least / free) * reach(free) ** 2


def best_law(points: Sequence[Point]) -> Law | None:
    """Returns the law that fits best; None with too few different numbers of workers, or without a positive rate."""
    measured = _measured(points)
    return None if measured is None else _law(measured, _least(_bests(measured))[1])


def fit(points: Sequence[Point]) -> Fit | None:
    """Returns the law that fits best with its intervals; None in the cases of `best_law`."""
    measured = _measured(points)
    if measured is None:
        return None
    bests = _bests(measured)
    least, best = _least(bests)
    (usl_squares, usl), *_ = bests
    limit = measured.worst(least)
    good = [shape for squares, shape in bests if squares <= limit]
    regions = [cache(partial(_region, measured, shape, limit)) for shape in good]
    like_usl = _region(measured, usl, measured.worst(usl_squares))
    return Fit(
        law=_law(measured, best),
        sigma=_around(float(usl.limited**2), like_usl.limited**2),
        kappa=_around(float(usl.costs), like_usl.costs),
        usl=usl_squares <= limit,
        knee=_if_sure(_knees, best, regions, measured.most),
        peak=_if_sure(_peaks, best, regions, measured.most),
    )


def _measured(points: Sequence[Point]) -> _Measured | None:
    """Returns what is fitted, as if all workers pulled images of the same speed."""
    if len({point.workers for point in points}) < LEAST_DIFFERENT or not any(p.rate > 0 for p in points):
        return None
    workers, rates, errors, demands = _grouped(points)
    if len(workers) < LEAST_DIFFERENT:
        return None
    alike = workers / demands * demands[-1] / workers[-1]
    rates, errors = rates * alike, errors * alike
    weights = 1 / _spread(workers, rates, errors, points) ** 2
    return _Measured(
        workers=workers,
        rates=rates,
        weights=weights,
        demands=demands,
        most=max(point.workers for point in points),
    )


def _law(measured: _Measured, shape: _Shapes) -> Law:
    workers, demands = measured.workers, measured.demands
    even = np.allclose(demands / workers, demands[0] / workers[0])
    return Law(
        lam=float(measured.squares(shape)[1]),
        shape=shape,
        most=measured.most,
        demands=() if even else tuple(zip(workers.tolist(), demands.tolist(), strict=True)),
    )


def _grouped(points: Sequence[Point]) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns workers, rates, errors and demands: one value per number of workers, or per group of large numbers."""
    groups: dict[tuple[int, int], list[Point]] = {}
    for point in points:
        few = point.workers <= _GROUPS_PER_E
        group = (point.workers, 0) if few else (_GROUPS_PER_E, int(_GROUPS_PER_E * math.log(point.workers)))
        groups.setdefault(group, []).append(point)
    rows = [
        (
            sum(each.workers for each in members) / len(members),
            sum(each.rate for each in members) / len(members),
            math.sqrt(sum(each.error**2 for each in members)) / len(members),
            sum(each.workers if each.demand is None else each.demand for each in members) / len(members),
        )
        for _, members in sorted(groups.items())
    ]
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2], np.maximum(table[:, 3], 1e-12)


def _spread(workers: Floats, rates: Floats, errors: Floats, points: Sequence[Point]) -> Floats:
    """Returns the standard error of each rate: its own, or what is usual for these rates if that is more.

    Steps are cut into few parts, so their own errors are uncertain.
    """
    base = np.maximum(rates, _LEAST_RATE * rates.max())
    usual = max(float(np.median(errors / base)), _scatter(workers, rates, points), _LEAST_ERROR)
    found: Floats = np.maximum(errors, usual * base)
    return found


def _scatter(workers: Floats, rates: Floats, points: Sequence[Point]) -> float:
    """Returns the standard deviation of the rates from one step to another, as a share of them.

    It comes from the steps with the same number of workers (up and down). Without them, it comes from the distance of
    each rate to the line between its neighbours; its median passes over the corner of a hard limit.
    """
    by_workers: dict[int, list[float]] = {}
    for point in points:
        by_workers.setdefault(point.workers, []).append(point.rate)
    away = [
        (rate * len(group) / sum(group) - 1) ** 2
        for group in by_workers.values()
        if len(group) > 1 and sum(group) > 0
        for rate in group
    ]
    if away:
        together = [group for group in by_workers.values() if len(group) > 1]
        free = sum(len(group) - 1 for group in together)
        return math.sqrt(sum(away) / free / (sum(map(len, together)) / len(together)))
    share = (workers[1:-1] - workers[:-2]) / (workers[2:] - workers[:-2])
    line = rates[:-2] * (1 - share) + rates[2:] * share
    residuals = np.abs(rates[1:-1] - line) / np.maximum(rates[1:-1], 1e-12)
    # 1.4826: a standard deviation from a median of distances; 1.5: the variance of a rate minus the mean of two others
    return float(1.4826 * np.median(residuals) / math.sqrt(1.5))


def _bests(measured: _Measured) -> list[tuple[float, _Shapes]]:
    """Returns (sum of squares, shape) of the best law of each kind."""
    shapes = (_best(measured, kind) for kind in _KINDS)
    return [(float(measured.squares(shape)[0]), shape) for shape in shapes]


def _least(bests: Sequence[tuple[float, _Shapes]]) -> tuple[float, _Shapes]:
    return min(bests, key=lambda each: each[0])


def _best(measured: _Measured, kind: _Kind) -> _Shapes:
    """Returns the best law of this kind: a grid shrinks around its best point. λ follows from the shape."""
    middle, width = [0.5, 0.5], 0.5
    around = np.linspace(-1.0, 1.0, _GRID)
    for _ in range(_ROUNDS):
        shapes = _mesh(kind, *(np.clip(each + width * around, 0.0, 1.0) for each in middle))
        at = int(measured.squares(shapes)[0].argmin())
        middle = [float(shapes.limited.flat[at]), float(shapes.costly.flat[at])]
        width *= _SHRINK
    return _Shapes(kind, *map(np.array, middle))


def _mesh(kind: _Kind, limited: Floats, costly: Floats) -> _Shapes:
    return _Shapes(kind, *np.meshgrid(limited, costly, indexing="ij"))


def _region(measured: _Measured, best: _Shapes, limit: float) -> _Shapes:
    """Returns a mesh of the laws around the best of its kind whose sum of squares is within the limit.

    The mesh grows until all of these laws lie inside, and shrinks if they fill only a small part of it.
    """
    center = (float(best.limited), float(best.costly))
    ends = [(each - _REGION_START, each + _REGION_START) for each in center]
    along = np.linspace(0.0, 1.0, _REGION_GRID)
    for _ in range(_REGION_ROUNDS):
        axes = [
            np.unique(np.clip([*(low + (high - low) * along), middle], 0.0, 1.0))
            for (low, high), middle in zip(ends, center, strict=True)
        ]
        shapes = _mesh(best.kind, *axes)
        good = measured.squares(shapes)[0] <= limit
        fitted = [
            _fitted(end, axis, np.asarray(good.any(axis=1 - k)))
            for k, (end, axis) in enumerate(zip(ends, axes, strict=True))
        ]
        if fitted == ends:
            break
        ends = fitted
    return _Shapes(best.kind, shapes.limited[good], shapes.costly[good])


def _fitted(ends: tuple[float, float], values: Floats, good: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the ends of one axis of the mesh, closer to the good values, or further away."""
    low, high = ends
    first, last = (int(each) for each in np.flatnonzero(good)[[0, -1]])
    up_to_low = first == 0 and values[0] > 0
    up_to_high = last == len(values) - 1 and values[-1] < 1
    if up_to_low or up_to_high:
        reach_out = (high - low) / 2
        return low - up_to_low * reach_out, high + up_to_high * reach_out
    if values[last] - values[first] < (high - low) / 3 and high - low > _REGION_LEAST:
        return float(values[max(first - 2, 0)]), float(values[min(last + 2, len(values) - 1)])
    return ends


def _knees(shapes: _Shapes, most: float) -> Floats:
    """Returns the knee of each shape; NaN if the last worker still added much."""
    return np.where(shapes.gains(most) > _LAST_GAIN, np.nan, shapes.tops(most)[1])


def _peaks(shapes: _Shapes, most: float) -> Floats:
    """Returns the number of workers from which on each law falls; NaN if it does not fall much."""
    places, tops = shapes.tops(most)
    last = shapes.rates(np.array([most]))[..., 0]
    return np.where(last < (1 - _LEAST_FALL) * tops, places, np.nan)


def _around(value: float, good: Floats) -> Interval:
    return Interval(value, min(float(good.min()), value), max(float(good.max()), value))


def _if_sure(
    figure: Callable[[_Shapes, float], Floats],
    best: _Shapes,
    regions: Sequence[Callable[[], _Shapes]],
    most: float,
) -> Interval | None:
    """Returns the figure of the best law with its interval; None if a law that fits hardly worse has none."""
    value = float(figure(best, most))
    if not math.isfinite(value):
        return None
    found = [value]
    for region in regions:
        others = figure(region(), most)
        if not np.isfinite(others).all():
            return None
        found += [float(others.min()), float(others.max())]
    return Interval(value, min(found), max(found))
