"""`--threshold` expressions: a quantity of the summary, a comparison, a limit with its unit."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_UNITS = {"": 1.0, "%": 0.01, "ms": 1.0, "s": 1000.0}
_LATENCIES = ("min", "mean", "p50", "p90", "p95", "p99", "max")
_GROUPS = {"": "latency_ms", "first.": "first_latency_ms", "repeat.": "repeat_latency_ms"}
_COUNTS = ("rate", "pulled", "failed", "interrupted_pulls", "pruned", "prune_failed", "retried")
_CLASS_GROUPS = {"errors.": "errors", "prune_errors.": "prune_errors"}
_SHAPE = re.compile(r"\s*([a-z_.\-]+[a-z0-9]*)\s*(<=|>=|==|<|>)\s*([0-9]*\.?[0-9]+)\s*(%|ms|s|)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition on the summary. `limit` is in the quantity's own unit: a fraction, ms, pulls/s, a count."""

    expression: str
    quantity: str
    comparison: str
    limit: float

    def judge(self, summary: Mapping[str, Any]) -> tuple[float | None, bool]:
        """(value, passed); a quantity that was not measured is None and missed."""
        value = _value(self.quantity, summary)
        if value is None:
            return None, False
        return value, _COMPARISONS[self.comparison](value, self.limit)


def parse_threshold(text: str, error_classes: frozenset[str]) -> Threshold:
    """`p95<250ms` to a Threshold; a quantity or unit that does not exist is wrong usage."""
    match = _SHAPE.fullmatch(text)
    if not match:
        raise UsageError(
            f"--threshold: cannot read '{text}'; write it like error_rate<1%, p95<250ms or rate>50"
        )
    quantity, comparison, number, unit = match.groups()
    units = _allowed_units(quantity, error_classes)
    if units is None:
        raise UsageError(
            f"--threshold: no quantity '{quantity}'; there are error_rate, {', '.join(_COUNTS)}, "
            f"{', '.join(_LATENCIES)} (also first.p95, repeat.p95) and errors.CLASS"
        )
    if unit not in units:
        wanted = " or ".join(f"'{u}'" if u else "no unit" for u in units)
        raise UsageError(f"--threshold: '{text}' needs {wanted} after the number")
    return Threshold(text.strip(), quantity, comparison, float(number) * _UNITS[unit])


def _allowed_units(quantity: str, error_classes: frozenset[str]) -> tuple[str, ...] | None:
    if quantity == "error_rate":
        return ("%", "")
    if quantity in _COUNTS:
        return ("",)
    group, dot, name = quantity.rpartition(".")
    if name in _LATENCIES and group + dot in _GROUPS:
        return ("ms", "s")
    if group + dot in _CLASS_GROUPS and name in error_classes:
        return ("",)
    return None


def _value(quantity: str, summary: Mapping[str, Any]) -> float | None:
    if quantity == "error_rate" or quantity in _COUNTS:
        value = summary[quantity]
        return None if value is None else float(value)
    group, dot, name = quantity.rpartition(".")
    if group + dot in _CLASS_GROUPS:
        return float(summary[_CLASS_GROUPS[group + dot]].get(name, 0))
    measured = summary[_GROUPS[group + dot]]
    return None if measured is None else measured[name]
