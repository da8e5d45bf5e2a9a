"""How far chance alone moves the difference of two runs: a block bootstrap over their paired bins.

Neighbouring bins are alike (a busy machine stays busy for a while), so they are drawn in blocks, and the spread is
widened by Student's t for as few blocks as there are. Both runs get the same draw: that leaves the ramp out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from .bins import Floats, Latencies, milliseconds

DRAWS = 1000
CONFIDENCE = 0.95
# With fewer bins nothing can be said of noise.
LEAST_BINS = 6

Statistic = Callable[[Floats], Floats]


def draws(bins: int, seed: int) -> Floats:
    """How often each bin is in each of the draws, a row a draw."""
    length = _block(bins)
    blocks = -(-bins // length)
    starts = np.random.default_rng(seed).integers(0, bins, size=(DRAWS, blocks))
    chosen = ((starts[:, :, None] + np.arange(length)) % bins).reshape(DRAWS, -1)[:, :bins]
    weights = np.zeros((DRAWS, bins))
    np.add.at(weights, (np.arange(DRAWS)[:, None], chosen), 1.0)
    return weights


def _block(bins: int) -> int:
    return max(1, round(math.pow(bins, 1 / 3)))


def spread(weights: Floats, difference: Statistic) -> tuple[float, float] | None:
    """(low, high) of `difference`, relative to its value where each bin counts once; None if it cannot be told."""
    bins = weights.shape[1]
    if bins < LEAST_BINS:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = float(difference(np.ones((1, bins)))[0])
        away = difference(weights) - centre
    away = away[np.isfinite(away)]
    if not np.isfinite(centre) or len(away) < 0.9 * DRAWS:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.quantile(away, (tail, 1 - tail)))
    wider = _widening(bins)
    return min(0.0, low * wider), max(0.0, high * wider)


def _widening(bins: int) -> float:
    """Student's t over the normal quantile (Cornish-Fisher), and the variance that drawing from few blocks loses."""
    length = _block(bins)
    free = bins / length - 1
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return float(t / z * np.sqrt(bins / (bins - length)))


def mean_of(latencies: Latencies) -> Statistic:
    """The mean latency of each draw."""
    return lambda weights: (weights @ latencies.total) / (weights @ latencies.pulled)


def quantile_of(latencies: Latencies, share: float) -> Statistic:
    """The latency that `share` of the pulls of each draw stayed under."""
    used = np.flatnonzero(latencies.histogram.any(axis=0))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    histogram = latencies.histogram[:, first:last]

    def statistic(weights: Floats) -> Floats:
        below = np.cumsum(weights @ histogram, axis=1)
        wanted = share * below[:, -1]
        bucket = np.minimum((below < wanted[:, None]).sum(axis=1), below.shape[1] - 1)
        rows = np.arange(len(below))
        upper = below[rows, bucket]
        lower = np.where(bucket > 0, below[rows, np.maximum(bucket - 1, 0)], 0.0)
        value = milliseconds(first + bucket + (wanted - lower) / (upper - lower))
        return np.where(below[:, -1] > 0, value, np.nan)

    return statistic
