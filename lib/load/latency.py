"""Latencies in a mergeable HDR histogram of fixed size, with three significant digits for any number of pulls."""

from __future__ import annotations

import ctypes
import math
import sys
import weakref
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from hdrh.histogram import HdrHistogram

from ..latency import LEAST, PERCENTILES, Latency, rank

_LONGEST_US = 24 * 3600 * 1_000_000
_DIGITS = 3
# What a rank may lie above a whole number by rounding alone.
_ROUNDING = 1e-6
# Significant digits of a histogram that takes a tenth of the memory.
COARSE = 2
# A count of a histogram takes four bytes; decoded ones take eight. Adding one kind to the other is slow.
COUNT_BYTES, DECODED_COUNT_BYTES = 4, 8
# Characters of an encoded histogram: one with every count set has fewer.
_LONGEST_TEXT = 200_000
# Inclusive upper bounds of buckets, in seconds: from a cached pull of a small image to the default --pull-timeout.
BOUNDS = (
    *(0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0),
)
# Called with the GIL held. Otherwise the thread that closes an interval would queue for the GIL behind all workers.
_memset = ctypes.PyDLL(None).memset


class Packed(NamedTuple):
    """Latencies as text: the histogram in microseconds, encoded as HdrHistogram V2 (compressed, in base64).

    `total`, `least` and `most` are seconds, and exact.
    """

    histogram: str
    number: int
    total: float
    least: float
    most: float


class Latencies:
    """Accumulates latencies in seconds. Minimum, maximum and mean are exact; percentiles are accurate to 0.1 %.

    With `digits` of `COARSE`, percentiles are accurate to 1 %. Only histograms with the same digits can be merged.
    `count_bytes`: take `DECODED_COUNT_BYTES` where unpacked latencies are merged.
    """

    def __init__(self, digits: int = _DIGITS, count_bytes: int = COUNT_BYTES) -> None:
        self._digits = digits
        self._count_bytes = count_bytes
        self._histogram: HdrHistogram | None = None
        self._count = 0
        self._sum = 0.0
        self._least = 0.0
        self._most = 0.0

    def add(self, seconds: float) -> None:
        if self._histogram is None:
            self._histogram = _freed_at_once(HdrHistogram(1, _LONGEST_US, self._digits, self._count_bytes))
        if not self._count:
            self._least = self._most = seconds
        self._histogram.record_value(min(max(1, round(seconds * 1e6)), _LONGEST_US))
        self._count += 1
        self._sum += seconds
        self._least = min(self._least, seconds)
        self._most = max(self._most, seconds)

    def merge(self, other: Latencies) -> None:
        """Adds all latencies of `other`, which stays as it is."""
        if other._histogram is None or not other._count:
            return
        if self._histogram is None:
            self._histogram = _freed_at_once(HdrHistogram(1, _LONGEST_US, self._digits, self._count_bytes))
        if not self._count:
            self._least, self._most = other._least, other._most
        self._histogram.add(other._histogram)
        self._count += other._count
        self._sum += other._sum
        self._least = min(self._least, other._least)
        self._most = max(self._most, other._most)

    def clear(self) -> None:
        """Removes all latencies and keeps the histogram.

        A histogram takes 100 KB and is part of a reference cycle, so a new one each time would fill memory.
        """
        if self._histogram is not None and self._count:
            _reset(self._histogram)
        self._count, self._sum, self._least, self._most = 0, 0.0, 0.0, 0.0

    def result(self) -> Latency | None:
        """Returns the distribution in milliseconds; None if there are no latencies."""
        if self._histogram is None or not self._count:
            return None
        least, most = self._least * 1000, self._most * 1000
        found = {
            name: min(max(microseconds / 1000, least), most)
            for name, microseconds in _percentiles(self._histogram).items()
        }
        return Latency(
            count=self._count,
            min=least,
            mean=self._sum / self._count * 1000,
            p50=found["p50"],
            p90=self._if_enough(found, "p90"),
            p95=self._if_enough(found, "p95"),
            p99=self._if_enough(found, "p99"),
            max=most,
        )

    def packed(self) -> Packed | None:
        """Returns the latencies as text; None if there are none."""
        if self._histogram is None or not self._count:
            return None
        return Packed(
            histogram=self._histogram.encode().decode("ascii"),
            number=self._count,
            total=self._sum,
            least=self._least,
            most=self._most,
        )

    @classmethod
    def unpacked(cls, packed: Packed, digits: int = _DIGITS) -> Latencies:
        """Returns the latencies of a text. Raises `ValueError` if the text is not valid."""
        found = cls(digits, DECODED_COUNT_BYTES)
        found._histogram = _decoded(packed.histogram, digits)
        if found._histogram.get_total_count() != packed.number:
            raise ValueError("the histogram has another number of latencies than its text says")
        found._count, found._sum = packed.number, packed.total
        found._least, found._most = packed.least, packed.most
        return found

    @property
    def count(self) -> int:
        """The number of latencies."""
        return self._count

    def buckets(self) -> Buckets:
        """Returns the counts per bucket of `BOUNDS`. A latency within 0.1 % of a bound may be on its other side.

        Other threads may call this while latencies are added.
        """
        found = Buckets()
        if self._histogram is None:
            return found
        found.sum = self._sum
        totals = _totals(self._histogram)
        below = 0
        for place, bound in enumerate(BOUNDS):
            index = self._histogram.get_counts_array_index(round(bound * 1e6))
            until = totals[min(index, len(totals) - 1)]
            found.counts[place], below = until - below, until
        found.counts[-1] = totals[-1] - below
        return found

    def spectrum(self, per_decade: int = 40) -> list[tuple[float, float]]:
        """Returns (share, milliseconds): so many latencies took at most so long. A share is from 0 to below 1.

        The shares are equally spaced in log(1 / (1 - share)), as HdrHistogram plots them. Each latency is a nearest
        rank. The last point is the maximum.
        """
        if self._histogram is None or not self._count:
            return []
        totals = _totals(self._histogram)
        steps = math.ceil(per_decade * math.log10(self._count))
        shares = [1 - 10 ** (-step / per_decade) for step in range(steps)]
        least, most = self._least * 1000, self._most * 1000
        ranks = [math.ceil(share * self._count - _ROUNDING) for share in shares]
        found = [_at(self._histogram, totals, place) / 1000 for place in ranks]
        points = [(share, min(max(each, least), most)) for share, each in zip(shares, found, strict=True)]
        return [*points, (1 - 1 / max(self._count, 2), most)]

    def _if_enough(self, found: Mapping[str, float], name: str) -> float | None:
        return found[name] if self._count >= LEAST[name] else None


def _decoded(text: str, digits: int) -> HdrHistogram:
    """Returns the histogram of a text. Raises `ValueError` if it is not valid, or not one of this class's."""
    if len(text) > _LONGEST_TEXT:  # it is compressed
        raise ValueError(f"the histogram has more than {_LONGEST_TEXT:,} characters")
    try:
        found = HdrHistogram.decode(text)
    except Exception as error:  # hdrh raises its own, those of zlib and of base64, and IndexError
        raise ValueError(f"the histogram is not valid: {error}") from None
    shape = (found.lowest_trackable_value, found.highest_trackable_value, found.significant_figures)
    if shape != (1, _LONGEST_US, digits):
        raise ValueError("the histogram has other bounds, or another number of digits")
    return _freed_at_once(found)


def _freed_at_once(histogram: HdrHistogram) -> HdrHistogram:
    """Returns the histogram, which is freed with its last reference.

    hdrh's histogram and its encoder refer to each other. So only the garbage collector frees them, and it waits for
    thousands of objects. A controller of many hosts decodes a hundred histograms per second.
    """
    histogram.encoder.histogram = weakref.proxy(histogram)
    return histogram


def _percentiles(histogram: HdrHistogram) -> dict[str, int]:
    """Returns the nearest ranks in microseconds, by name. hdrh's own percentiles round the rank instead."""
    totals = _totals(histogram)
    return {name: _at(histogram, totals, rank(percent, totals[-1])) for name, percent in PERCENTILES.items()}


def _totals(histogram: HdrHistogram) -> list[int]:
    return list(accumulate(histogram.counts[: histogram.get_counts_array_index(histogram.max_value) + 1]))


def _at(histogram: HdrHistogram, totals: Sequence[int], place: int) -> int:
    """Returns the latency of this rank in microseconds."""
    index = bisect_left(totals, max(1, place))
    found: int = histogram.get_highest_equivalent_value(histogram.get_value_from_index(index))
    return found


def _reset(histogram: HdrHistogram) -> None:
    """Resets the histogram as hdrh's `reset` does, which loops in Python and takes a hundred times as long."""
    _memset(histogram.counts, 0, ctypes.c_size_t(ctypes.sizeof(histogram.counts)))
    histogram.total_count = 0
    histogram.min_value = sys.maxsize
    histogram.max_value = 0


class Buckets:
    """Exact counts of latencies per bucket of `BOUNDS`; the last count is for latencies above all bounds."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds
