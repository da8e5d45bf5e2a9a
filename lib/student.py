"""Quantiles of Student's t, also for fractions of degrees of freedom, as Welch's interval needs them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

CONFIDENCE: Final = 0.95
# Parts of Simpson's rule, and halvings of the search. Both leave errors far below 1e-9.
_PARTS, _HALVINGS = 400, 80
# More than any result: with one degree of freedom, it is 12.7.
_MOST = 20.0


@lru_cache(maxsize=1024)
def reach(free: float) -> float:
    """Returns how many standard errors the two-sided `CONFIDENCE` interval reaches, with `free` degrees of freedom.

    `free` is at least 1. With t = sqrt(free) * tan(angle), the density is a power of the cosine, which is smooth.
    """
    whole = math.sqrt(math.pi) * math.exp(math.lgamma(free / 2) - math.lgamma((free + 1) / 2))
    low, high = 0.0, math.atan(_MOST / math.sqrt(free))
    for _ in range(_HALVINGS):
        angle = (low + high) / 2
        if 2 * _under_cosine(free - 1, angle) < CONFIDENCE * whole:
            low = angle
        else:
            high = angle
    return math.sqrt(free) * math.tan(low)


def usual(free: float) -> float:
    """Returns the median of how far the interval reaches, in true standard errors.

    With few degrees of freedom, most samples spread less than their source. The median of their variance is that of a
    chi-square (E. Wilson and M. Hilferty, "The distribution of chi-square", 1931).
    """
    return reach(free) * math.pow(1 - 2 / (9 * free), 1.5)


def _under_cosine(power: float, angle: float) -> float:
    """Returns the integral of cos(x) ** power from 0 to `angle`, by Simpson's rule."""
    width = angle / _PARTS
    inner = sum((4 if k % 2 else 2) * math.pow(math.cos(k * width), power) for k in range(1, _PARTS))
    return (1 + inner + math.pow(math.cos(angle), power)) * width / 3
