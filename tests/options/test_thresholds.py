"""Threshold expressions: reading and judging them."""

from __future__ import annotations

from typing import Any

import pytest

from lib.errors import UsageError
from lib.options.thresholds import parse_threshold

CLASSES = frozenset({"rate-limited", "timeout"})
LATENCY = {"min": 1.0, "mean": 2.0, "p50": 3.0, "p90": 4.0, "p95": 5.0, "p99": 6.0, "max": 7.0}
SUMMARY: dict[str, Any] = {
    "error_rate": 0.02,
    "rate": 50.0,
    "pulled": 98,
    "failed": 2,
    "interrupted_pulls": 0,
    "pruned": 0,
    "prune_failed": 0,
    "retried": None,
    "errors": {"timeout": 2},
    "prune_errors": {},
    "latency_ms": LATENCY,
    "first_latency_ms": None,
    "repeat_latency_ms": LATENCY,
}


@pytest.mark.parametrize(
    ("expression", "value", "passed"),
    [
        ("error_rate<1%", 0.02, False),
        ("error_rate<=2%", 0.02, True),
        ("error_rate < 0.03", 0.02, True),
        ("rate>50", 50.0, False),
        ("rate>=50", 50.0, True),
        ("p95<5.1ms", 5.0, True),
        ("p95<0.005s", 5.0, False),
        ("repeat.p99<1s", 6.0, True),
        ("first.p99<2s", None, False),
        ("retried<5", None, False),
        ("errors.rate-limited<=5", 0.0, True),
        ("errors.timeout==2", 2.0, True),
        ("prune_errors.timeout>0", 0.0, False),
    ],
)
def test_judging(expression: str, value: float | None, passed: bool) -> None:
    assert parse_threshold(expression, CLASSES).judge(SUMMARY) == (value, passed)


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("p95", "cannot read"),
        ("p95<fast", "cannot read"),
        ("p97<1ms", "no quantity 'p97'"),
        ("errors.tomato<1", "no quantity"),
        ("p95<250", "needs 'ms' or 's'"),
        ("rate>5ms", "needs no unit"),
        ("error_rate<1ms", "needs '%'"),
        ("", "cannot read"),
    ],
)
def test_wrong_expressions(expression: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_threshold(expression, CLASSES)


def test_nothing_attempted_misses_an_error_rate() -> None:
    assert parse_threshold("error_rate<1%", CLASSES).judge({**SUMMARY, "error_rate": None}) == (None, False)
