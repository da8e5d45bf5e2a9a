"""Fits a scalability law to throughput against workers, and says how sure its knee is.

    X(N) = λN / ((1 + (N^p - 1) / k^p)^(1/p) + κN(N - 1))

λ is the rate of one worker alone, in pulls per second. k is the limit: so many unhindered workers would have the rate
at which the server stops growing. p is how sharply the rate turns there. κ is the cost of keeping workers consistent
with each other (coherency).

With p = 1, this is the Universal Scalability Law, and 1/k is its contention σ: the share of work that waits for a
shared resource (N. J. Gunther, "Guerrilla Capacity Planning", Springer, 2007, chapters 4 to 6). With a large p, it is a
hard limit: X(N) = λ·min(N, k). The Universal Scalability Law cannot follow this corner, and then has a wrong λ.

The knee is the highest rate of the law, up to the most measured workers, divided by λ: there, perfect scaling would
meet the plateau.

The intervals are profile likelihoods (D. Bates and D. Watts, "Nonlinear Regression Analysis and Its Applications",
1988, chapter 6): they contain the knees of all laws that fit hardly worse than the best one, whatever their p. If the
best law fits worse than the errors of the rates allow, the intervals are wider by as much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..student import reach
from .summary import LEAST_DIFFERENT

# There is a knee if the last worker adds less than this share of λ.
_LAST_GAIN: Final = 0.25
# There is a peak only if the rate falls by more than this share from there to the most workers.
_LEAST_FALL: Final = 0.02
# How sharply the rate may turn: from the Universal Scalability Law to a hard limit.
_SHARPNESSES: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0, math.inf)
# Parameters that a fit has besides the sharpness: λ, k and κ.
_PARAMETERS: Final = 3
# Numbers of workers that differ by less than a twelfth are averaged.
_GROUPS_PER_E: Final = 12
# The least error of a rate, as a share of it, and the least rate that this share is taken of, as a share of the highest.
_LEAST_ERROR, _LEAST_RATE = 1e-3, 0.05
# The search for the best fit, and for the region of good fits.
_GRID, _ROUNDS, _SHRINK = 17, 40, 0.6
_REGION_GRID, _REGION_ROUNDS, _REGION_START = 41, 40, 1e-3
# A smaller κ is a rounding error of the search and counts as 0.
_LEAST_KAPPA: Final = 1e-9
# Places at which the highest rate of a law is looked for.
_PLACES: Final = 128

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


class _Shapes(NamedTuple):
    """Laws with λ = 1, as arrays of one shape: `limited` is √(1/k), `costly` is √κ, both from 0 to 1.

    Near 0, small changes matter; so the search goes over the roots.
    """

    limited: Floats
    costly: Floats
    sharpness: float

    @property
    def kappa(self) -> Floats:
        return np.where(self.costly**2 > _LEAST_KAPPA, self.costly**2, 0.0)

    def rates(self, workers: Floats) -> Floats:
        """Returns the rates; the last axis is that of the workers."""
        share, power = self.limited[..., None] ** 2, self.sharpness
        if math.isinf(power):
            waiting = np.maximum(1.0, share * workers)
        else:
            waiting = (1 + share**power * (workers**power - 1)) ** (1 / power)
        found: Floats = workers / (waiting + self.kappa[..., None] * workers * (workers - 1))
        return found

    def tops(self, most: float) -> tuple[Floats, Floats]:
        """Returns the number of workers with the highest rate, up to the most, and this rate."""
        even = np.broadcast_to(np.geomspace(1.0, most, _PLACES), (*self.limited.shape, _PLACES))
        with np.errstate(divide="ignore", invalid="ignore"):
            corner = 1 / self.limited**2
            turn = np.sqrt((1 - (self.limited**2 if self.sharpness == 1 else 0)) / self.kappa)
        places = np.concatenate([even, np.clip(np.nan_to_num(np.stack([corner, turn], axis=-1)), 1.0, most)], axis=-1)
        rates = _each(self, places)
        best = rates.argmax(axis=-1)[..., None]
        return np.take_along_axis(places, best, -1)[..., 0], np.take_along_axis(rates, best, -1)[..., 0]

    def gains(self, most: float) -> Floats:
        """Returns what the last worker adds, as a share of λ."""
        last = self.rates(np.array([most - 1, most]))
        return np.asarray(last[..., 1] - last[..., 0])


def _each(shapes: _Shapes, places: Floats) -> Floats:
    return shapes.rates(places)


@dataclass(frozen=True, slots=True)
class Fit:
    """The fitted laws. `most` is the largest measured number of workers.

    The best law has `lam` (λ), `limit` (k), `sharpness` (p), `coherency` (κ) and `plateau`, its highest rate. `sigma`
    and `kappa` are those of the Universal Scalability Law, which is the best law if `sharpness` is 1; `usl_fits` says
    if it fits hardly worse than the best one.

    `knee` is None if the rate still grew with the last worker, or if that is not sure. `peak` is the number of workers
    from which on the rate falls; None if it does not fall, or if that is not sure. `demands` has the (workers, demand)
    of the points, if workers pull images of different speed.
    """

    lam: float
    limit: float
    sharpness: float
    coherency: float
    sigma: Interval
    kappa: Interval
    usl_fits: bool
    most: int
    plateau: float
    knee: Interval | None
    peak: Interval | None
    demands: tuple[tuple[float, float], ...] = ()

    def rate(self, workers: float) -> float:
        """Returns the fitted rate for this number of workers, in pulls per second."""
        if workers <= 1:
            return self.perfect(workers)
        shape = _Shapes(np.sqrt(1 / np.array(self.limit)), np.sqrt(np.array(self.coherency)), self.sharpness)
        return self.perfect(workers) * float(shape.rates(np.array([workers]))[0]) / workers

    def perfect(self, workers: float) -> float:
        """Returns the rate of this number of workers if none hindered another, in pulls per second."""
        if not self.demands:
            return self.lam * workers
        places, demands = zip(*self.demands, strict=True)
        share = float(np.interp(workers, (0.0, *places), (0.0, *demands)))
        return float(self.lam * share * self.most / demands[-1])


class _Measured(NamedTuple):
    """Numbers of workers, with the mean rate of each, and its weight: 1 / its variance."""

    workers: Floats
    rates: Floats
    weights: Floats

    def squares(self, shapes: _Shapes) -> tuple[Floats, Floats]:
        """Returns (weighted sum of squared residuals, best λ) of each shape."""
        shape = shapes.rates(self.workers)
        lam = (self.weights * self.rates * shape).sum(axis=-1) / (self.weights * shape**2).sum(axis=-1)
        residuals = self.rates - lam[..., None] * shape
        return (self.weights * residuals**2).sum(axis=-1), lam


def fit(points: Sequence[Point]) -> Fit | None:
    """Returns the least-squares fit; None if there are too few different numbers of workers, or if no rate is positive."""
    if len({point.workers for point in points}) < LEAST_DIFFERENT or not any(p.rate > 0 for p in points):
        return None
    workers, rates, errors, demands = _grouped(points)
    most = float(max(point.workers for point in points))
    # as if all workers pulled images of the same speed
    alike = workers / demands * demands[-1] / workers[-1]
    rates, errors = rates * alike, errors * alike
    measured = _Measured(workers, rates, 1 / _spread(workers, rates, errors, points) ** 2)
    found = [_best(measured, sharpness) for sharpness in _SHARPNESSES]
    squares = [float(measured.squares(each)[0]) for each in found]
    best = found[int(np.argmin(squares))]
    usl, usl_squares = found[0], squares[0]
    good = [_region(measured, each, _limit(measured, min(squares))) for each in found]
    like_usl = _region(measured, usl, _limit(measured, usl_squares))
    even = np.allclose(demands / workers, demands[0] / workers[0])
    _, lam = measured.squares(best)
    return Fit(
        lam=float(lam),
        limit=float(1 / np.maximum(best.limited, 1e-6) ** 2),
        sharpness=best.sharpness,
        coherency=float(best.kappa),
        sigma=_around(float(usl.limited**2), like_usl.limited**2),
        kappa=_around(float(usl.kappa), like_usl.kappa),
        usl_fits=usl_squares <= _limit(measured, min(squares)),
        most=int(most),
        plateau=float(lam * best.tops(most)[1]),
        knee=_if_sure(_knees(best, most), np.concatenate([_knees(each, most) for each in good])),
        peak=_if_sure(_peaks(best, most), np.concatenate([_peaks(each, most) for each in good])),
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
    return np.maximum(errors, usual * base)


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


def _best(measured: _Measured, sharpness: float) -> _Shapes:
    """Returns the best shape of this sharpness: a grid shrinks around its best point. λ follows from the shape."""
    limited, costly, width = 0.5, 0.5, 0.5
    around = np.linspace(-1.0, 1.0, _GRID)
    for _ in range(_ROUNDS):
        shapes = _mesh(limited, costly, width * around, width * around, sharpness)
        at = int(measured.squares(shapes)[0].argmin())
        limited, costly = float(shapes.limited.flat[at]), float(shapes.costly.flat[at])
        width *= _SHRINK
    return _Shapes(np.array(limited), np.array(costly), sharpness)


def _mesh(limited: float, costly: float, along: Floats, across: Floats, sharpness: float) -> _Shapes:
    limits, costs = np.clip(limited + along, 0.0, 1.0), np.clip(costly + across, 0.0, 1.0)
    return _Shapes(*np.meshgrid(limits, costs, indexing="ij"), sharpness)


def _limit(measured: _Measured, least: float) -> float:
    """Returns the largest sum of squares of a law that fits hardly worse than the best one, which has `least`."""
    free = len(measured.rates) - _PARAMETERS
    return least + max(1.0, least / free) * reach(free) ** 2


def _region(measured: _Measured, best: _Shapes, limit: float) -> _Shapes:
    """Returns a mesh of the shapes, around the best of this sharpness, whose sum of squares is within the limit."""
    center = (float(best.limited), float(best.costly))
    if float(measured.squares(best)[0]) > limit:
        return _Shapes(np.empty(0), np.empty(0), best.sharpness)
    low, high = ([each + sign * _REGION_START for each in center] for sign in (-1, 1))
    around = np.linspace(0.0, 1.0, _REGION_GRID)
    shapes, good = best, np.array(True)
    for _ in range(_REGION_ROUNDS):
        axes = [
            np.unique(np.clip(np.append(a + (b - a) * around, middle), 0.0, 1.0))
            for a, b, middle in zip(low, high, center, strict=True)
        ]
        shapes = _Shapes(*np.meshgrid(*axes, indexing="ij"), best.sharpness)
        good = measured.squares(shapes)[0] <= limit
        settled = True
        for axis, values in enumerate(axes):
            inside = np.flatnonzero(good.any(axis=1 - axis))
            first, last, size = int(inside[0]), int(inside[-1]), high[axis] - low[axis]
            if (first == 0 and values[0] > 0) or (last == len(values) - 1 and values[-1] < 1):
                low[axis] -= size / 2 if first == 0 else 0.0
                high[axis] += size / 2 if last == len(values) - 1 else 0.0
                settled = False
            elif values[last] - values[first] < size / 3 and size > 1e-7:
                low[axis], high[axis] = (
                    float(values[max(first - 2, 0)]),
                    float(values[min(last + 2, len(values) - 1)]),
                )
                settled = False
        if settled:
            break
    return _Shapes(shapes.limited[good], shapes.costly[good], best.sharpness)


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


def _if_sure(value: Floats, good: Floats) -> Interval | None:
    """Returns the value with its interval; None if it is missing, or missing in a law that fits hardly worse."""
    if not np.isfinite(value) or not np.isfinite(good).all():
        return None
    return _around(float(value), good)
