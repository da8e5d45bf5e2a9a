"""Fits the Universal Scalability Law to throughput against workers.

X(N) = λN / (1 + σ(N - 1) + κN(N - 1)), after N. J. Gunther, "Guerrilla Capacity Planning" (Springer, 2007), chapters
4 to 6. λ is the rate of one worker alone, in pulls per second. σ is the share of work that waits for a shared resource
(contention). κ is the cost of keeping workers consistent with each other (coherency).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A fit of three parameters needs more than three different numbers of workers: with three, R² means nothing.
LEAST_DIFFERENT = 4
# There is a knee if the last worker adds less than this share of λ.
_LAST_GAIN = 0.25
_GRID = 33
_ROUNDS = 60
_SHRINK = 0.75
# A smaller κ is a rounding error of the search and counts as 0.
_LEAST_KAPPA = 1e-9

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """A measured throughput: `rate` in pulls per second with this number of workers."""

    workers: int
    rate: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted law. `lam`, `sigma` and `kappa` are λ, σ and κ; `most` is the largest measured number of workers.

    `unhindered` is the rate of one worker, measured with few workers, in pulls per second. λ can be up to a fifth too
    high: if a server has a hard limit, the fitted curve rounds off the corner.
    """

    lam: float
    sigma: float
    kappa: float
    r_squared: float
    most: int
    unhindered: float

    def rate(self, workers: float) -> float:
        """Returns the fitted rate for this number of workers, in pulls per second."""
        return self.lam * workers / (1 + self.sigma * (workers - 1) + self.kappa * workers * (workers - 1))

    @property
    def peak(self) -> float | None:
        """N* = √((1 - σ)/κ), the number of workers with the highest rate; None if the curve has no peak."""
        return math.sqrt((1 - self.sigma) / self.kappa) if self.kappa > 0 else None

    @property
    def plateau(self) -> float:
        """The highest rate of the curve up to `most` workers, in pulls per second."""
        peak = self.peak
        return self.rate(self.most if peak is None else min(max(peak, 1.0), float(self.most)))

    @property
    def knee(self) -> float | None:
        """The number of workers at which perfect scaling would meet the plateau. More workers mostly wait.

        None if the rate still grew with the last worker. The peak has more workers: there the curve begins to fall.
        """
        if self.most > 1 and self.rate(self.most) - self.rate(self.most - 1) > _LAST_GAIN * self.lam:
            return None
        return min(max(self.plateau / self.unhindered, 1.0), float(self.most))


def fit(points: Sequence[Point]) -> Fit | None:
    """Returns the least-squares fit of the rates with σ in [0, 1] and κ ≥ 0, or None if there are too few points.

    The best λ follows from σ and κ. So the search covers only these two: a grid shrinks around its best point.
    """
    if len({point.workers for point in points}) < LEAST_DIFFERENT or not any(p.rate > 0 for p in points):
        return None
    workers = np.array([point.workers for point in points], dtype=np.float64)
    rates = np.array([point.rate for point in points], dtype=np.float64)
    sigma, root = 0.5, 0.5
    width = 0.5
    for _ in range(_ROUNDS):
        sigmas = np.clip(np.linspace(sigma - width, sigma + width, _GRID), 0.0, 1.0)
        roots = np.clip(np.linspace(root - width, root + width, _GRID), 0.0, 1.0)
        squares, _ = _squares(workers, rates, sigmas[:, None], roots[None, :] ** 2)
        at = np.unravel_index(int(np.argmin(squares)), squares.shape)
        sigma, root = float(sigmas[at[0]]), float(roots[at[1]])
        width *= _SHRINK
    kappa = root**2 if root**2 > _LEAST_KAPPA else 0.0
    left, lam = _squares(workers, rates, np.array([[sigma]]), np.array([[kappa]]))
    spread = float(((rates - rates.mean()) ** 2).sum())
    r_squared = 1 - float(left[0, 0]) / spread if spread > 0 else 1.0
    return Fit(
        lam=float(lam[0, 0]),
        sigma=sigma,
        kappa=kappa,
        r_squared=r_squared,
        most=int(workers.max()),
        unhindered=_unhindered(workers, rates),
    )


def _unhindered(workers: Floats, rates: Floats) -> float:
    """Returns the median rate per worker in the lowest quarter of the ramp, in pulls per second."""
    few = workers <= max(1.0, workers.max() / 4, workers.min())
    return float(np.median(rates[few] / workers[few])) or float((rates / workers).max())


def _squares(workers: Floats, rates: Floats, sigma: Floats, kappa: Floats) -> tuple[Floats, Floats]:
    """Returns (sum of squared residuals, best λ) for each σ and κ of a grid."""
    n = workers[None, None, :]
    shape = n / (1 + sigma[..., None] * (n - 1) + kappa[..., None] * n * (n - 1))
    lam = (shape * rates).sum(axis=-1) / (shape**2).sum(axis=-1)
    residuals = rates - lam[..., None] * shape
    return (residuals**2).sum(axis=-1), lam
