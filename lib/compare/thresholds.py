"""`--threshold` of a comparison: how much a quantity may change before a pipeline fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..latency import GROUPS
from ..options.thresholds import Threshold, Vocabulary, parse
from ..outcomes import ErrorClass
from .quantities import ERROR_RATE, ERRORS, LATENCIES, NOISE, RATE, Quantity

_NAMES: Final = (
    *(RATE, ERROR_RATE),
    *(group + name for group in GROUPS for name in LATENCIES),
    *(ERRORS + each.value for each in ErrorClass),
)
_CHANGES: Final = Vocabulary(
    dict.fromkeys(_NAMES, ("%",)),
    listed=f"{RATE}, {', '.join(LATENCIES)} (also first.p95, repeat.p95), {ERROR_RATE} or errors.CLASS",
    examples="rate>-5%, p95<+10% or error_rate<+1%",
    signed=True,
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of a threshold. `within`: the change is within the limit. A change that is noise passes anyway."""

    threshold: Threshold
    value: float | None
    passed: bool
    within: bool


def parse_limit(text: str) -> Threshold:
    """Parses a condition on a change, such as `rate>-5%`. Raises `UsageError` if it is not valid.

    The limit is a fraction. For errors, it is a fraction of all pulls.
    """
    return parse(text, _CHANGES)


def judge(threshold: Threshold, quantities: Sequence[Quantity]) -> Judgement:
    """Judges a threshold. It is missed if the change is beyond the limit and not noise, or was not measured."""
    quantity = next((each for each in quantities if each.name == threshold.quantity), None)
    if quantity is None:
        # a class of errors that neither run had
        value: float | None = 0.0
        noise = False
    else:
        value, noise = quantity.change, quantity.verdict == NOISE
    within = value is not None and threshold.holds(value)
    return Judgement(threshold, value, within or (noise and value is not None), within)
