"""`--threshold` of a comparison: how much a quantity may change before a pipeline fails.

It is a test of non-inferiority. The confidence interval has to exclude a change beyond the limit. It is not enough that
the interval includes a change within the limit: the noisier the runs, the more changes it includes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..latency import GROUPS
from ..options.thresholds import Threshold, Vocabulary, parse
from ..outcomes import ErrorClass
from .quantities import BYTES_RATE, ERROR_RATE, ERRORS, LATENCIES, RATE, RETRY_RATE, Quantity

MET, MISSED, INCONCLUSIVE = "met", "missed", "inconclusive"
_NAMES: Final = (
    *(RATE, BYTES_RATE, ERROR_RATE, RETRY_RATE),
    *(group + name for group in GROUPS for name in LATENCIES),
    *(ERRORS + each.value for each in ErrorClass),
)
_CHANGES: Final = Vocabulary(
    dict.fromkeys(_NAMES, ("%",)),
    listed=f"{RATE}, {BYTES_RATE}, {', '.join(LATENCIES)} (also first.p95, repeat.p95), {ERROR_RATE}, {RETRY_RATE} "
    "or errors.CLASS",
    examples="rate>-5%, p95<+10% or error_rate<+1%",
    signed=True,
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of a threshold: `MET`, `MISSED` or `INCONCLUSIVE`. `quantity` is None if it was not measured: missed.

    `longer` says how many times as long the runs have to be to decide it, infinite if no length does. It is None if
    that is not known. `passed`: the pipeline may go on.
    """

    threshold: Threshold
    quantity: Quantity | None
    verdict: str
    longer: float | None
    passed: bool

    @property
    def value(self) -> float | None:
        return self.quantity.change if self.quantity else None


def parse_limit(text: str) -> Threshold:
    """Parses a condition on a change, such as `rate>-5%`. Raises `UsageError` if it is not valid.

    The limit is a fraction. For errors and retries, it is a fraction of all pulls.
    """
    return parse(text, _CHANGES)


def error_classes(limits: Sequence[Threshold]) -> frozenset[str]:
    """Returns the error classes that the thresholds name."""
    return frozenset(
        each.quantity.removeprefix(ERRORS) for each in limits if each.quantity.startswith(ERRORS)
    )


def judge(threshold: Threshold, quantities: Sequence[Quantity], *, lenient: bool = False) -> Judgement:
    """Judges a threshold by the confidence interval. `lenient`: an inconclusive one passes.

    A rate of 0 needs no interval: all is lost.
    """
    quantity = next((each for each in quantities if each.name == threshold.quantity), None)
    verdict, longer = _judged(threshold, quantity)
    passed = verdict == MET or (lenient and verdict == INCONCLUSIVE)
    return Judgement(threshold=threshold, quantity=quantity, verdict=verdict, longer=longer, passed=passed)


def _judged(threshold: Threshold, quantity: Quantity | None) -> tuple[str, float | None]:
    if quantity is None or quantity.change is None:
        return MISSED, None
    if quantity.low is None or quantity.high is None:
        lost = (
            quantity.name in (RATE, BYTES_RATE)
            and quantity.change == -1
            and not threshold.holds(quantity.change)
        )
        return MISSED if lost else INCONCLUSIVE, None
    low, high = (threshold.holds(end) for end in (quantity.low, quantity.high))
    if low != high:
        return INCONCLUSIVE, quantity.longer(threshold.limit)
    contradicted = quantity.equally is not None and threshold.holds(quantity.equally) != low
    return INCONCLUSIVE if contradicted else MET if low else MISSED, None
