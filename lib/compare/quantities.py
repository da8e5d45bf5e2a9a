"""What is compared, and the verdict on each change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import expm1, log, log1p
from typing import Final

from ..latency import LEAST, PERCENTILES

FASTER, SLOWER, FEWER, MORE = "faster", "slower", "fewer", "more"
SAME, INCONCLUSIVE = "same", "inconclusive"
GOOD: Final = (FASTER, FEWER)
BAD: Final = (SLOWER, MORE)
QUANTILES: Final = {name: percent / 100 for name, percent in PERCENTILES.items()}
LATENCIES: Final = ("mean", *QUANTILES)
RATE, ERROR_RATE, ERRORS, RETRY_RATE = "rate", "error_rate", "errors.", "retry_rate"
# With fewer latencies in either run, a percentile has no verdict.
LEAST_PULLS: Final = {**LEAST, "p99": 200}


@dataclass(frozen=True, slots=True)
class Margins:
    """Changes that do not matter: of rates and latencies as a fraction, of shares of the pulls as a difference."""

    relative: float = 0.02
    share: float = 0.005


@dataclass(frozen=True, slots=True)
class Quantity:
    """One compared quantity. `a` and `b` are in pulls per second, milliseconds or a fraction of the pulls.

    `change` is relative; for errors and retries, it is the difference. `low` and `high` are the ends of its confidence
    interval. They are None if there is too little data. `why` says what would give an interval, if that is known.
    `equally` is the change if all images weigh the same. It is None unless the runs pulled different mixes of images.
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

    def without_interval(self) -> Quantity:
        return replace(self, low=None, high=None, verdict=INCONCLUSIVE)


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
    return Quantity(name=name, a=a, b=b, change=change, why=why)


def relative(name: str, a: float, b: float, away: tuple[float, float] | None, margins: Margins) -> Quantity:
    """Returns a rate or a latency. `away` are the ends of the interval of log(b / a), relative to it."""
    if away is None or a <= 0 or b <= 0:
        return unknown(name, a, b)
    low, high = (expm1(log(b / a) + end) for end in away)
    found = _verdict(name, low, high, margins.relative)
    return Quantity(name=name, a=a, b=b, change=b / a - 1, low=low, high=high, verdict=found)


def share(name: str, a: float, b: float, ends: tuple[float, float] | None, margins: Margins) -> Quantity:
    """Returns a share of the pulls. `ends` are those of the interval of b - a."""
    if ends is None:
        return unknown(name, a, b)
    low, high = ends
    found = _verdict(name, low, high, margins.share)
    return Quantity(name=name, a=a, b=b, change=b - a, low=low, high=high, verdict=found)


def _verdict(name: str, low: float, high: float, margin: float) -> str:
    if -margin <= low and high <= margin:
        return SAME
    more, less = (MORE, FEWER) if is_share(name) else (FASTER, SLOWER) if name == RATE else (SLOWER, FASTER)
    return more if low > margin else less if high < -margin else INCONCLUSIVE


def weigh(quantity: Quantity, ratio: float, margins: Margins) -> Quantity:
    """Returns a rate or latency with its change if all images weigh the same, and pulls take `ratio` times as long.

    It has no verdict if that change contradicts it.
    """
    if quantity.is_share or quantity.change is None:
        return quantity
    equally = 1 / ratio - 1 if quantity.name == RATE else ratio - 1
    supported = {
        SAME: 1 / (1 + margins.relative) <= ratio <= 1 + margins.relative,
        FASTER: ratio <= 1,
        SLOWER: ratio >= 1,
    }
    verdict = quantity.verdict if supported.get(quantity.verdict, True) else INCONCLUSIVE
    return replace(quantity, equally=equally, verdict=verdict)
