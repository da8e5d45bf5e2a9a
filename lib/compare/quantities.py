"""What is compared, and the verdict on each change."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import copysign, expm1, inf, log, log1p, nextafter, sqrt
from typing import Final

from ..latency import LEAST, PERCENTILES

FASTER, SLOWER, FEWER, MORE = "faster", "slower", "fewer", "more"
SAME, INCONCLUSIVE = "same", "inconclusive"
# Why a quantity has no interval.
TOO_FEW: Final = "too few pulls"
NOTHING: Final = "a run pulled nothing before its planned end"
OTHER_LOADS: Final = "the loads differ"
OTHER_KINDS: Final = "first pulls of different kinds"
NOT_REPORTED: Final = "not reported; a client does not report its retries"
HUNG: Final = "pulls that hung past the planned end are in it"
GOOD: Final = (FASTER, FEWER)
BAD: Final = (SLOWER, MORE)
QUANTILES: Final = {name: percent / 100 for name, percent in PERCENTILES.items()}
LATENCIES: Final = ("mean", *QUANTILES)
RATE, ERROR_RATE, ERRORS, RETRY_RATE = "rate", "error_rate", "errors.", "retry_rate"
BYTES_RATE: Final = "bytes_per_second"
# The quantities of which more is faster.
_RATES: Final = (RATE, BYTES_RATE)
# With fewer latencies in either run, a percentile has no verdict.
LEAST_PULLS: Final = {**LEAST, "p99": 200}
# No run is this many times as long, and no version has so many times as many runs.
LONGEST: Final = 1000
# The logarithm of a ratio that is beyond all reason, but not beyond a float.
_MOST: Final = 700.0


@dataclass(frozen=True, slots=True)
class Margins:
    """Changes that do not matter: of rates and latencies as a fraction, of shares of the pulls as a difference."""

    relative: float = 0.02
    share: float = 0.005


class Ends(tuple[float, float]):
    """The ends of a confidence interval that comes from `number` tally intervals of each run, or runs of each version.

    `width` returns how wide it usually is with so many of them, in some unit. It falls as the number grows.
    """

    number: int
    width: Callable[[int], float]

    def __new__(cls, low: float, high: float, number: int, width: Callable[[int], float]) -> Ends:
        ends = super().__new__(cls, (low, high))
        ends.number, ends.width = number, width
        return ends

    def longer(self, part: float) -> float:
        """Returns how many times as many it takes to leave only this part of the width."""
        now = self.width(self.number)
        numbers = range(self.number, LONGEST * self.number + 1)
        place = bisect_left(numbers, -part, key=lambda number: -self.width(number) / now)
        return numbers[place] / self.number if place < len(numbers) else part**-2

    def around(self, middle: float, least: tuple[float, float]) -> Ends:
        """Returns the interval around `middle`, at least as wide as `least`, which shrinks with the square root."""
        low, high = middle + self[0], middle + self[1]
        here, there = (high - low) / self.width(self.number), (least[1] - least[0]) * sqrt(self.number)

        def width(number: int) -> float:
            return max(here * self.width(number), there / sqrt(number))

        return Ends(min(low, least[0]), max(high, least[1]), self.number, width)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One compared quantity. `a` and `b` are in pulls or bytes per second, milliseconds or a fraction of the pulls.

    `change` is relative; for errors and retries, it is the difference. `low` and `high` are the ends of its confidence
    interval. They are None without one, and `why` says why, if that is known. `equally` is the change if all images
    weigh the same. It is None unless the runs pulled different mixes of images. `ends` is what the interval comes from,
    if that is known.
    """

    name: str
    a: float | None
    b: float | None
    change: float | None
    low: float | None = None
    high: float | None = None
    verdict: str = INCONCLUSIVE
    equally: float | None = None
    why: str | None = None
    ends: Ends | None = None

    @property
    def is_share(self) -> bool:
        """Whether it counts errors or retries per pull."""
        return is_share(self.name)

    @property
    def is_first(self) -> bool:
        """Whether it is a latency of first pulls."""
        return self.name.startswith("first.")

    def on_its_scale(self, change: float) -> float:
        """Returns a change on the scale on which the interval is about symmetric: logarithmic for rate and latency."""
        return change if self.is_share else log1p(change)

    def longer_to_tell(self, margins: Margins) -> float | None:
        """Returns how many times as much data it takes for a verdict, infinite if none; None if that is not known.

        The interval must lie beyond the margin, or within it if the change does.
        """
        if self.change is None or self.low is None or self.high is None:
            return None
        margin = margins.share if self.is_share else margins.relative
        beyond = abs(self.change) > margin
        limits = (copysign(margin, self.change),) if beyond else (-margin, margin)
        times = [self.longer(limit) for limit in limits if self.low <= limit <= self.high]
        return max(times, default=None)

    def without_interval(self, why: str) -> Quantity:
        return replace(self, low=None, high=None, verdict=INCONCLUSIVE, ends=None, why=why)

    def longer(self, limit: float) -> float:
        """Returns how many times as much data it takes for the interval to end at a limit inside it; infinite if none.

        The change is assumed to stay. If it is not known what the interval comes from, its width is taken to shrink
        with the square root of the data.
        """
        change, low, high = (self.on_its_scale(each or 0.0) for each in (self.change, self.low, self.high))
        away = self.on_its_scale(limit) - change
        if not away:
            return inf
        part = away / (high - change) if away > 0 else away / (low - change)
        return self.ends.longer(part) if self.ends else part**-2


def is_share(name: str) -> bool:
    return name in (ERROR_RATE, RETRY_RATE) or name.startswith(ERRORS)


def unknown(name: str, a: float | None, b: float | None, why: str | None = None) -> Quantity:
    """Returns a quantity without an interval."""
    if a is None or b is None:
        change = None
    elif is_share(name):
        change = b - a
    else:
        change = b / a - 1 if a > 0 else None
    if name in _RATES and (a == 0 or b == 0):
        why = NOTHING
    return Quantity(name=name, a=a, b=b, change=change, why=why)


def relative(name: str, a: float, b: float, away: tuple[float, float] | None, margins: Margins) -> Quantity:
    """Returns a rate or a latency. `away` are the ends of the interval of log(b / a), relative to it."""
    if away is None or a <= 0 or b <= 0:
        return unknown(name, a, b)
    middle = log(b) - log(a)
    change, low, high = (_grown(middle + end) for end in (0.0, *away))
    found = _verdict(name, low, high, margins.relative)
    ends = away if isinstance(away, Ends) else None
    return Quantity(name=name, a=a, b=b, change=change, low=low, high=high, verdict=found, ends=ends)


def _grown(ratio: float) -> float:
    """Returns a change from the logarithm of a ratio. It is never a loss of all, however far the interval reaches."""
    return max(nextafter(-1.0, 0.0), expm1(min(ratio, _MOST)))


def share(name: str, a: float, b: float, ends: tuple[float, float] | None, margins: Margins) -> Quantity:
    """Returns a share of the pulls. `ends` are those of the interval of b - a."""
    if ends is None:
        return unknown(name, a, b)
    low, high = ends
    found = _verdict(name, low, high, margins.share)
    known = ends if isinstance(ends, Ends) else None
    return Quantity(name=name, a=a, b=b, change=b - a, low=low, high=high, verdict=found, ends=known)


def _verdict(name: str, low: float, high: float, margin: float) -> str:
    if -margin <= low and high <= margin:
        return SAME
    more, less = (MORE, FEWER) if is_share(name) else (FASTER, SLOWER) if name in _RATES else (SLOWER, FASTER)
    return more if low > margin else less if high < -margin else INCONCLUSIVE


def weigh(quantity: Quantity, ratio: float, margins: Margins) -> Quantity:
    """Returns a rate or latency with its change if all images weigh the same, and pulls take `ratio` times as long.

    It has no verdict if that change contradicts it.
    """
    if quantity.is_share or quantity.change is None:
        return quantity
    equally = 1 / ratio - 1 if quantity.name in _RATES else ratio - 1
    supported = {
        SAME: 1 / (1 + margins.relative) <= ratio <= 1 + margins.relative,
        FASTER: ratio <= 1,
        SLOWER: ratio >= 1,
    }
    verdict = quantity.verdict if supported.get(quantity.verdict, True) else INCONCLUSIVE
    return replace(quantity, equally=equally, verdict=verdict)
