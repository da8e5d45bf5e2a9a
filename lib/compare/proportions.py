"""The interval of the difference of two shares of independent pulls."""

from __future__ import annotations

from math import sqrt
from statistics import NormalDist

from ..student import CONFIDENCE


def difference(a: tuple[int, int], b: tuple[int, int]) -> tuple[float, float]:
    """Returns Newcombe's interval of the difference of two proportions, b - a, from Wilson's interval of each.

    R. G. Newcombe, "Interval estimation for the difference between independent proportions" (Statistics in Medicine,
    1998), method 10 without continuity correction. `a` and `b` are (count, total). A count above its total, as of
    retries, counts as the total.
    """
    (low_a, high_a), (low_b, high_b) = _wilson(*a), _wilson(*b)
    share_a, share_b = min(1.0, a[0] / a[1]), min(1.0, b[0] / b[1])
    change = b[0] / b[1] - a[0] / a[1]
    low = change - sqrt((share_b - low_b) ** 2 + (high_a - share_a) ** 2)
    return low, change + sqrt((high_b - share_b) ** 2 + (share_a - low_a) ** 2)


def _wilson(some: int, of: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    share = min(1.0, some / of)
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)
