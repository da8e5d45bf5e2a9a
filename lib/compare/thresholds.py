"""`--threshold` of a comparison: how much a quantity may change before a pipeline is to fail."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..outcomes import ErrorClass
from .quantities import ERROR_RATE, ERRORS, GROUPS, LATENCIES, NOISE, RATE, Quantity

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_SHAPE = re.compile(
    r"\s*([a-z_.\-]+[a-z0-9]*)\s*(<=|>=|<|>)\s*([+\-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\s*%\s*", re.ASCII
)
_NAMES = frozenset(
    (
        RATE,
        ERROR_RATE,
        *(group + name for group in GROUPS for name in LATENCIES),
        *(ERRORS + each.value for each in ErrorClass),
    )
)


@dataclass(frozen=True, slots=True)
class Limit:
    """A condition on the change of a quantity, `limit` being a fraction (of errors: of the pulls)."""

    expression: str
    quantity: str
    comparison: str
    limit: float

    def judge(self, quantities: Sequence[Quantity]) -> Judgement:
        """Missed where the change is beyond the limit and not noise; also where there is nothing to judge."""
        quantity = next((each for each in quantities if each.name == self.quantity), None)
        if quantity is None:
            # a class of errors that neither run had
            value: float | None = 0.0
            noise = False
        else:
            value, noise = quantity.change, quantity.verdict == NOISE
        within = value is not None and _COMPARISONS[self.comparison](value, self.limit)
        return Judgement(self, value, within or (noise and value is not None), within)


@dataclass(frozen=True, slots=True)
class Judgement:
    """`within`: the change keeps to the limit; a change that does not and is noise has passed all the same."""

    limit: Limit
    value: float | None
    passed: bool
    within: bool


def parse_limit(text: str) -> Limit:
    """`rate>-5%` to a Limit; a quantity that does not exist is wrong usage."""
    match = _SHAPE.fullmatch(text)
    if not match:
        raise UsageError(
            f"--threshold: cannot read '{text}'; write it like rate>-5%, p95<+10% or error_rate<+1%"
        )
    quantity, comparison, number = match.groups()
    if quantity not in _NAMES:
        raise UsageError(
            f"--threshold: no quantity '{quantity}'; there are {RATE}, {', '.join(LATENCIES)} (also first.p95, "
            f"repeat.p95), {ERROR_RATE} and errors.CLASS"
        )
    return Limit(text.strip(), quantity, comparison, float(number) / 100)
