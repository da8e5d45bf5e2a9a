"""How far chance alone moves the difference of two runs: a block bootstrap over their paired bins.

Neighbouring bins are alike (a busy machine stays busy for a while), so they are drawn in blocks, and the spread is
widened by Student's t for as few blocks as there are. Both runs get the same draw: that leaves the ramp out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from .pairing import Floats, Latencies, milliseconds

DRAWS = 1000
CONFIDENCE = 0.95
# With fewer bins nothing can be said of noise.
LEAST_BINS = 6


def draws(bins: int, seed: int) -> Floats:
    """How often each bin is in each of the draws, a row a draw; in the first row each bin is there once."""
    length = _block(bins)
    blocks = -(-bins // length)
    starts = np.random.default_rng(seed).integers(0, bins, size=(DRAWS, blocks))
    chosen = ((starts[:, :, None] + np.arange(length)) % bins).reshape(DRAWS, -1)[:, :bins]
    weights = np.zeros((DRAWS + 1, bins))
    weights[0] = 1.0
    np.add.at(weights, (np.arange(1, DRAWS + 1)[:, None], chosen), 1.0)
    return weights


def _block(bins: int) -> int:
    """Long, as what disturbs a short run lasts for a good part of it."""
    return max(1, round(math.sqrt(bins)))


def spread(values: Floats, bins: int) -> tuple[float, float] | None:
    """(low, high) of the draws' values, relative to the first; None if it cannot be told."""
    if bins < LEAST_BINS:
        return None
    centre = values[0]
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(centre) or len(drawn) < 0.9 * DRAWS:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.quantile(drawn - centre, (tail, 1 - tail)))
    wider = _widening(bins)
    return min(0.0, low * wider), max(0.0, high * wider)


def _widening(bins: int) -> float:
    """Student's t over the normal quantile (Cornish-Fisher), and the variance that drawing from few blocks loses."""
    length = _block(bins)
    free = bins / length - 1
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return float(t / z * np.sqrt(bins / (bins - length)))


def statistics(weights: Floats, latencies: Latencies, shares: Mapping[str, float]) -> dict[str, Floats]:
    """The mean of each draw, and the latencies that these shares of its pulls stayed under; NaN without pulls."""
    used = np.flatnonzero(latencies.histogram.any(axis=0))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    below = np.cumsum(weights @ latencies.histogram[:, first:last], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"mean": (weights @ latencies.total) / (weights @ latencies.counted)}
        return found | {name: _quantile(below, share, first) for name, share in shares.items()}


def _quantile(below: Floats, share: float, first: int) -> Floats:
    """Within the bucket where the cumulated pulls, a row a draw, pass the share; `first` is the first column's."""
    wanted = share * below[:, -1]
    bucket = np.minimum((below < wanted[:, None]).sum(axis=1), below.shape[1] - 1)
    rows = np.arange(len(below))
    upper = below[rows, bucket]
    lower = np.where(bucket > 0, below[rows, np.maximum(bucket - 1, 0)], 0.0)
    value = milliseconds(first + bucket + (wanted - lower) / (upper - lower))
    return np.where(below[:, -1] > 0, value, np.nan)
