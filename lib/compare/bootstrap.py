"""Estimates how much chance alone changes the difference of two runs: a block bootstrap over their paired bins.

Neighbouring bins are correlated, because a busy machine stays busy for a while. So bins are drawn in blocks, and
Student's t widens the spread if there are few blocks. Both runs get the same draw, which cancels the ramp.
`benchmarks/verdicts.py` measures how often this errs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from ..student import CONFIDENCE, reach, usual
from .pairing import Latencies, milliseconds
from .pulls import Floats, Numbers
from .quantities import Ends

DRAWS = 1000
_EXPONENT, _SHORTER = 0.6, 0.93
# With fewer bins, chance cannot be estimated.
LEAST_BINS = 6


@lru_cache(maxsize=4)
def draws(bins: int, seed: int, length: float | None = None) -> Floats:
    """Returns how often each draw contains each bin: shape (DRAWS + 1, bins). Row 0 is the original, all ones.

    Blocks have `length` bins, if it is given.
    """
    begins = _begins(bins, length or _length(bins))
    blocks = np.searchsorted(begins, np.arange(bins), "right") - 1
    starts = np.random.default_rng(seed).integers(0, bins, size=(DRAWS, len(begins)))
    chosen = (starts[:, blocks] + np.arange(bins) - begins[blocks]) % bins
    weights = np.zeros((DRAWS + 1, bins))
    weights[0] = 1.0
    np.add.at(weights, (np.arange(1, DRAWS + 1)[:, None], chosen), 1.0)
    weights.flags.writeable = False
    return weights


def _length(bins: int) -> float:
    """Returns the block length, in bins: from 2 of 6 to 16.8 of 120.

    Shorter blocks find more changes. Longer ones err less if a disturbance lasts for several intervals. It is a
    fraction, as a whole number would make the intervals of a slightly longer run half as wide again.
    """
    return max(1.0, float(bins**_EXPONENT) - _SHORTER)


def _begins(bins: int, length: float) -> Numbers:
    """Returns where in a draw each block begins. Blocks differ by one bin if the length is a fraction."""
    begins: Numbers = np.floor(np.arange(0, bins - 1e-9, length) + 1e-9).astype(np.intp)
    return begins


def spread(values: Floats, bins: int, length: float | None = None) -> Ends | None:
    """Returns the ends of the confidence interval relative to `values[0]`, or None if it cannot be estimated.

    `values` has the statistic of each draw, the original first. `length` is that of `draws`.
    """
    if bins < LEAST_BINS:
        return None
    centre = values[0]
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(centre) or len(drawn) < 0.9 * DRAWS:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(value) for value in np.quantile(drawn - centre, (tail, 1 - tail)))
    wider = _widening(bins, length or _length(bins))
    return Ends(min(0.0, low * wider), max(0.0, high * wider), bins, width)


@lru_cache
def _widening(bins: int, length: float) -> float:
    """Returns the factor that corrects the interval for few blocks.

    It is Student's t over the normal quantile, for as many degrees of freedom as there are blocks, less one. Draws in
    blocks of l of n bins also vary less than the data: the variance lacks the sum of l²/n² over the blocks.
    """
    normal = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    blocks = np.diff(np.append(_begins(bins, length), bins))
    lacking = float((blocks**2).sum()) / bins**2
    return reach(bins / length - 1) / normal / math.sqrt(1 - lacking)


def width(bins: int) -> float:
    """Returns how wide the interval of `spread` usually is with so many bins, in some unit."""
    return usual(bins / _length(bins) - 1) / math.sqrt(bins)


def statistics(weights: Floats, latencies: Latencies, shares: Mapping[str, float]) -> dict[str, Floats]:
    """Returns the mean latency and the quantiles (`shares`, 0 to 1) of each draw in milliseconds; NaN without pulls.

    Without a histogram, there is only the mean: where latencies lie between known quantiles of an interval is unknown.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = {"mean": (weights @ latencies.total) / (weights @ latencies.counted)}
        if latencies.histogram is None:
            return found
        used = np.flatnonzero(latencies.histogram.any(axis=0))
        used = used if len(used) else np.zeros(1, dtype=np.intp)
        below = weights @ np.cumsum(latencies.histogram[:, used], axis=1)
        return found | {name: _quantile(below, share, used) for name, share in shares.items()}


def _quantile(below: Floats, share: float, used: Numbers) -> Floats:
    """Returns the quantile of each row of cumulated pulls, interpolated in its bucket.

    The columns are the buckets `used`; the others hold no pull of any draw.
    """
    wanted = share * below[:, -1]
    column = np.minimum((below < wanted[:, None]).sum(axis=1), below.shape[1] - 1)
    rows = np.arange(len(below))
    upper = below[rows, column]
    lower = np.where(column > 0, below[rows, np.maximum(column - 1, 0)], 0.0)
    value = milliseconds(used[column] + (wanted - lower) / (upper - lower))
    return np.where(below[:, -1] > 0, value, np.nan)


def likeness(values: Floats) -> float:
    """Returns the autocorrelation of neighbouring values, from -1 to 1; 0 if they do not vary."""
    away = values - values.mean() if len(values) else values
    total = float(away @ away)
    return float(away[:-1] @ away[1:]) / total if total > 0 else 0.0
