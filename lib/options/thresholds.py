"""Parses `--threshold` expressions: a quantity, a comparison, and a limit with its unit.

A run and `compare` share the grammar. This module has the quantities of a run; those of `compare` are in
`compare/thresholds.py`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from ..errors import UsageError
from ..figures import DIGITS, data, data_rate, digits_apart, digits_of, milliseconds, percent, rate, three
from ..outcomes import ErrorClass

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_WORDS: Final[Mapping[str, str]] = {
    "<": "under",
    "<=": "at most",
    ">": "over",
    ">=": "at least",
    "==": "exactly",
}
_EXPRESSION: Final = re.compile(
    r"\s*(?P<quantity>[a-z_.\-]+[a-z0-9]*)\s*(?P<comparison><=|>=|==|<|>)"
    r"\s*(?P<number>[+\-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\s*(?P<unit>%|ms|s|[a-zA-Z]*[bB](?:/s)?|)\s*",
    re.ASCII,
)
# Prefixes of the counts of failures. An error class follows.
ERROR_GROUPS: Final = ("errors.", "prune_errors.")
# Prefixes of the figures of the summary's `peak` and `knee`, and those of them that have no unit.
PEAK, KNEE = "peak.", "knee."
PEAK_FIELDS: Final = ("rate", "workers", "bytes_per_second")
KNEE_FIELDS: Final = ("workers",)
# Fields of the summary that are quantities under their own names.
FIELDS: Final = (
    *("error_rate", "rate", "pulled", "failed", "interrupted_pulls"),
    *("pruned", "prune_failed", "retried", "retry_rate"),
    *("bytes", "bytes_per_second"),
)
# The units of bytes, each in bytes. A limit without a unit is in bytes, too.
BYTES: Final[Mapping[str, int]] = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", 1)},
    **{f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}
BYTES_PER_SECOND: Final[Mapping[str, int]] = {
    **BYTES,
    **{f"{unit}/s": size for unit, size in BYTES.items() if unit},
}


# Those of them that are shares from 0 to 1.
SHARES: Final = ("error_rate", "retry_rate")


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition. `limit` is in the quantity's unit: a fraction, milliseconds, a rate, bytes or a count."""

    expression: str
    quantity: str
    comparison: str
    limit: float

    def holds(self, value: float) -> bool:
        """Returns whether a value, in the quantity's unit, meets the condition."""
        return _COMPARISONS[self.comparison](value, self.limit)

    def shown(self, value: float) -> str:
        """Returns a value of the quantity with its unit."""
        return named(self.quantity)[1](value, DIGITS)

    def told(self, value: float | None) -> str:
        """Returns what was measured and what it must be: `p95 was 43.8 ms, must be under 1 ms`.

        The limit has all its digits, and the value as many as it takes to see on which side of the limit it is.
        """
        name, show = named(self.quantity)
        must = f"must be {_WORDS[self.comparison]} {show(self.limit, digits_of(self.limit))}"
        if value is None:
            return f"{name} was not measured, {must}"
        return f"{name} was {show(value, digits_apart(value, self.limit))}, {must}"


def named(quantity: str) -> tuple[str, Callable[[float, int], str]]:
    """Returns a quantity's name in words, and how its values are shown with so many digits."""
    group, _, name = quantity.rpartition(".")
    if f"{group}." in ERROR_GROUPS:
        return f"the number of {name} {'prunes' if group.startswith('prune') else 'failures'}", _count
    if quantity in SHARES:
        return quantity.replace("_", " "), percent
    if name == "bytes_per_second":
        return f"{group} bytes per second".strip(), data_rate
    if name == "bytes":
        return "bytes", data
    if name == "rate":
        return f"{group} rate".strip(), rate
    if name == "workers":
        return f"the number of workers at the {group}", _count
    if name in FIELDS:
        return f"{group} {name}".strip().replace("_", " "), _count
    group_words = {"first": " of first pulls", "repeat": " of repeat pulls", "peak": " at the peak"}
    return f"{name}{group_words.get(group, '')}", milliseconds


def _count(value: float, digits: int) -> str:
    return f"{value:,.0f}" if value == int(value) else three(value, digits)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The expressions that a command allows. `units` has the units of each quantity's limit, `""` for no unit.

    `listed` names the quantities in an error message, and `examples` shows valid expressions. `signed` limits are
    changes: they may have a sign, and `==` is not allowed.
    """

    units: Mapping[str, tuple[str, ...]]
    listed: str
    examples: str
    signed: bool = False


def parse(text: str, allowed: Vocabulary, option: str = "--threshold") -> Threshold:
    """Parses a condition such as `p95<250ms`. Raises `UsageError`, which says what is allowed, if it is not valid."""
    match = _EXPRESSION.fullmatch(text)
    if match is None or not _fits(match, allowed):
        raise UsageError(f"{option}: cannot read '{text}'; write it like {allowed.examples}")
    quantity, unit = match["quantity"], match["unit"]
    if quantity not in allowed.units:
        raise UsageError(f"{option}: '{quantity}' is not a quantity; use {allowed.listed}")
    units = allowed.units[quantity]
    if unit not in units:
        wanted = " or ".join(f"'{each}'" if each else "no unit" for each in units)
        raise UsageError(f"{option}: '{text}' needs {wanted} after the number")
    return Threshold(text.strip(), quantity, match["comparison"], _in_own_unit(float(match["number"]), unit))


def _in_own_unit(number: float, unit: str) -> float:
    if unit in BYTES_PER_SECOND:
        return number * BYTES_PER_SECOND[unit]
    return number / 100 if unit == "%" else number * 1000 if unit == "s" else number


def _fits(match: re.Match[str], allowed: Vocabulary) -> bool:
    """Returns whether sign and comparison fit: a change may have a sign and no `==`; other limits have no sign."""
    return match["comparison"] != "==" if allowed.signed else match["number"][0] not in "+-"


def parse_threshold(text: str) -> Threshold:
    """Parses a condition of a run. Raises `UsageError` if it is not valid."""
    return parse(text, _of_a_run())


def parse_slo(text: str) -> Threshold:
    """Parses an SLO of the capacity search. Raises `UsageError` if it is not valid, or if no trial can show it."""
    slo = parse(text, _of_a_run(), "--slo")
    if slo.quantity.startswith((PEAK, KNEE, "prune", "interrupted", "bytes")):
        raise UsageError(f"--slo: a trial has no {slo.quantity}; use error_rate, p95, rate or errors.CLASS")
    return slo


@cache
def _of_a_run() -> Vocabulary:
    # imported here, because `--help` does not need it
    from ..latency import GROUPS, LATENCIES

    return Vocabulary(
        {
            **dict.fromkeys(FIELDS, ("",)),
            **dict.fromkeys(SHARES, ("%", "")),
            "bytes": tuple(BYTES),
            "bytes_per_second": tuple(BYTES_PER_SECOND),
            **dict.fromkeys((group + name for group in (*GROUPS, PEAK) for name in LATENCIES), ("ms", "s")),
            **dict.fromkeys((PEAK + name for name in PEAK_FIELDS), ("",)),
            f"{PEAK}bytes_per_second": tuple(BYTES_PER_SECOND),
            **dict.fromkeys((KNEE + name for name in KNEE_FIELDS), ("",)),
            **dict.fromkeys((group + each.value for group in ERROR_GROUPS for each in ErrorClass), ("",)),
        },
        listed=f"{', '.join((*FIELDS, *LATENCIES))} (also first.p95, repeat.p95), peak.rate, peak.workers, "
        "peak.bytes_per_second, peak.p95, "
        "knee.workers, errors.CLASS or prune_errors.CLASS",
        examples="error_rate<1%, p95<250ms or rate>50",
    )
