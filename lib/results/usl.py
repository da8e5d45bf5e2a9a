"""Fits the Universal Scalability Law to throughput against workers, and says how sure its figures are.

X(N) = λN / (1 + σ(N - 1) + κN(N - 1)), after N. J. Gunther, "Guerrilla Capacity Planning" (Springer, 2007), chapters
4 to 6. λ is the rate of one worker alone, in pulls per second. σ is the share of work that waits for a shared resource
(contention). κ is the cost of keeping workers consistent with each other (coherency).

The intervals come from a parametric bootstrap: the rates are drawn again with their errors, and fitted each time
(B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 6). Knee and peak are reported only if
nearly all of these fits have them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .summary import LEAST_DIFFERENT

# There is a knee if the last worker adds less than this share of λ.
_LAST_GAIN: Final = 0.25
# There is a peak only if the rate falls by more than this share from there to the most workers.
_LEAST_FALL: Final = 0.02
# The last third of the points counts as the end of the ramp, at least this many.
_LEAST_TAIL: Final = 3
# The number of draws, and the share of them that must have a knee or a peak.
_DRAWS, _SURE = 200, 0.95
# More different numbers of workers than this are averaged in groups.
_MOST_POINTS: Final = 40
_GRID, _ROUNDS, _SHRINK = 9, 36, 0.72
# A smaller κ is a rounding error of the search and counts as 0.
_LEAST_KAPPA: Final = 1e-9

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


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted law. `lam`, `sigma` and `kappa` are λ, σ and κ; `most` is the largest measured number of workers.

    `knee` is the number of workers at which perfect scaling would meet the plateau: more workers mostly wait. None if
    the rate still grew with the last worker, or if that is not sure. `peak`, N* = √((1 - σ)/κ), has more workers: there
    the curve begins to fall. None if the rate does not fall, or if that is not sure. `plateau` is the highest rate of
    the curve. `demands` has the (workers, demand) of the points, if workers pull images of different speed.
    """

    lam: float
    sigma: Interval
    kappa: Interval
    most: int
    plateau: float
    knee: Interval | None
    peak: Interval | None
    demands: tuple[tuple[float, float], ...] = ()

    def rate(self, workers: float) -> float:
        """Returns the fitted rate for this number of workers, in pulls per second."""
        hindered = 1 + self.sigma.value * (workers - 1) + self.kappa.value * workers * (workers - 1)
        return self.perfect(workers) / hindered

    def perfect(self, workers: float) -> float:
        """Returns the rate of this number of workers if none hindered another, in pulls per second."""
        if not self.demands:
            return self.lam * workers
        places, demands = zip(*self.demands, strict=True)
        share = float(np.interp(workers, (0.0, *places), (0.0, *demands)))
        return float(self.lam * share * self.most / demands[-1])


def fit(points: Sequence[Point], seed: int = 1) -> Fit | None:
    """Returns the least-squares fit with σ in [0, 1] and κ ≥ 0; None if there are too few different numbers of workers.

    The best λ follows from σ and κ. So the search covers only these two: a grid shrinks around its best point.
    """
    if len({point.workers for point in points}) < LEAST_DIFFERENT or not any(p.rate > 0 for p in points):
        return None
    workers, rates, errors, demands = _grouped(points)
    most = workers[-1]
    # as if all workers pulled images of the same speed
    alike = workers / demands * demands[-1] / most
    rates, errors = rates * alike, errors * alike
    best = _search(workers, rates[None, :])
    sigma, kappa, lam = (float(each[0]) for each in best)
    errors = np.maximum(errors, _scatter(workers, rates, points) * rates)
    drawn = rates + errors * np.random.default_rng(seed).standard_normal((_DRAWS, len(rates)))
    others = _search(workers, drawn)
    knees, peaks = _knees(others, workers, drawn), _peaks(others, workers, drawn)
    even = np.allclose(demands / workers, demands[0] / workers[0])
    return Fit(
        lam=lam,
        sigma=_around(sigma, others[0]),
        kappa=_around(kappa, others[1]),
        most=int(most),
        plateau=float(_plateau(sigma, kappa, lam, most)),
        knee=_if_sure(_knees(best, workers, rates[None, :])[0], knees),
        peak=_if_sure(_peaks(best, workers, rates[None, :])[0], peaks),
        demands=() if even else tuple(zip(workers.tolist(), demands.tolist(), strict=True)),
    )


def _grouped(points: Sequence[Point]) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns workers, rates, errors and demands: one value per number of workers, or per group of numbers."""
    by_workers: dict[int, list[Point]] = {}
    for point in points:
        by_workers.setdefault(point.workers, []).append(point)
    numbers = sorted(by_workers)
    groups = np.array_split(np.array(numbers), min(len(numbers), _MOST_POINTS))
    rows = []
    for group in groups:
        members = [point for number in group.tolist() for point in by_workers[number]]
        rows.append(
            (
                sum(each.workers for each in members) / len(members),
                sum(each.rate for each in members) / len(members),
                math.sqrt(sum(each.error**2 for each in members)) / len(members),
                sum(each.workers if each.demand is None else each.demand for each in members) / len(members),
            )
        )
    table = np.array(rows, dtype=np.float64)
    return table[:, 0], table[:, 1], table[:, 2], np.maximum(table[:, 3], 1e-12)


def _search(workers: Floats, rates: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns the best σ, κ and λ for each row of rates, shape (rows, workers)."""
    rows = np.arange(len(rates))
    sigma, root, width = np.full(len(rates), 0.5), np.full(len(rates), 0.5), 0.5
    around = np.linspace(-1.0, 1.0, _GRID)
    for _ in range(_ROUNDS):
        sigmas = np.clip(sigma[:, None] + width * around, 0.0, 1.0)
        roots = np.clip(root[:, None] + width * around, 0.0, 1.0)
        squares, _ = _squares(workers, rates, sigmas[:, :, None], roots[:, None, :] ** 2)
        at = squares.reshape(len(rates), -1).argmin(axis=1)
        sigma, root = sigmas[rows, at // _GRID], roots[rows, at % _GRID]
        width *= _SHRINK
    kappa = np.where(root**2 > _LEAST_KAPPA, root**2, 0.0)
    _, lam = _squares(workers, rates, sigma[:, None, None], kappa[:, None, None])
    return sigma, kappa, lam[:, 0, 0]


def _squares(workers: Floats, rates: Floats, sigma: Floats, kappa: Floats) -> tuple[Floats, Floats]:
    """Returns (sum of squared residuals, best λ) for each row of rates and each σ and κ of its grid."""
    n = workers
    shape = n / (1 + sigma[..., None] * (n - 1) + kappa[..., None] * n * (n - 1))
    wanted = rates[:, None, None, :]
    lam = (shape * wanted).sum(axis=-1) / (shape**2).sum(axis=-1)
    residuals = wanted - lam[..., None] * shape
    return (residuals**2).sum(axis=-1), lam


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


def _unhindered(workers: Floats, rates: Floats) -> Floats:
    """Returns the median rate per worker in the lowest quarter of the ramp, in pulls per second, for each row.

    λ can be up to a fifth too high: if a server has a hard limit, the fitted curve rounds off the corner.
    """
    few = workers <= max(1.0, workers.max() / 4, workers.min())
    found: Floats = np.median(rates[:, few] / workers[few], axis=1)
    return np.where(found > 0, found, (rates / workers).max(axis=1))


def _plateau(sigma: Floats | float, kappa: Floats | float, lam: Floats | float, most: float) -> Floats:
    """Returns the highest rate of the curve up to the most workers, in pulls per second."""
    with np.errstate(divide="ignore", invalid="ignore"):
        top = np.where(np.asarray(kappa) > 0, np.sqrt((1 - np.asarray(sigma)) / np.asarray(kappa)), np.inf)
    at = np.clip(top, 1.0, most)
    plateau: Floats = lam * at / (1 + sigma * (at - 1) + kappa * at * (at - 1))
    return plateau


def _knees(fits: tuple[Floats, Floats, Floats], workers: Floats, rates: Floats) -> Floats:
    """Returns the knee of each fit; NaN if the rate still grew with the last workers.

    Neither the curve nor the last third of the measured rates may grow much. The curve alone rounds off the corner of a
    hard limit, and then still grows where the rates do not.
    """
    (sigma, kappa, lam), most, unhindered = fits, workers[-1], _unhindered(workers, rates)

    def curve(n: float) -> Floats:
        return n / (1 + sigma * (n - 1) + kappa * n * (n - 1))

    tail = max(_LEAST_TAIL, -(-len(workers) // 3))
    away = workers[-tail:] - workers[-tail:].mean()
    slope = (rates[:, -tail:] * away).sum(axis=1) / (away**2).sum()
    grew = np.minimum(curve(most) - curve(most - 1), slope / np.maximum(unhindered, 1e-12)) > _LAST_GAIN
    knee = np.clip(_plateau(sigma, kappa, lam, most) / np.maximum(unhindered, 1e-12), 1.0, most)
    return np.where(grew, np.nan, knee)


def _peaks(fits: tuple[Floats, Floats, Floats], workers: Floats, rates: Floats) -> Floats:
    """Returns the peak of each fit; NaN if the measured rates do not fall from there to the most workers.

    The curve alone does not decide: it also turns down a little where it rounds off the corner of a hard limit.
    """
    sigma, kappa, _ = fits
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = np.where(kappa > 0, np.sqrt((1 - sigma) / kappa), np.inf)
    nearest = np.abs(workers[None, :] - np.minimum(peak, workers[-1])[:, None]).argmin(axis=1)
    before, last = rates[np.arange(len(rates)), nearest], rates[:, -1]
    return np.where((peak < workers[-1]) & (last < (1 - _LEAST_FALL) * before), peak, np.nan)


def _around(value: float, drawn: Floats) -> Interval:
    low, high = (float(each) for each in np.quantile(drawn, ((1 - _SURE) / 2, (1 + _SURE) / 2)))
    return Interval(value, min(low, value), max(high, value))


def _if_sure(value: float, drawn: Floats) -> Interval | None:
    """Returns the value with its interval; None if it is missing, or missing in more than a few of the draws."""
    found = drawn[np.isfinite(drawn)]
    if not math.isfinite(value) or len(found) < _SURE * len(drawn):
        return None
    return _around(float(value), found)
