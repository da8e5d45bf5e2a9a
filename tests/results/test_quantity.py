"""Thresholds judged on a summary."""

from __future__ import annotations

from typing import Any

import pytest

from lib.latency import GROUPS, LATENCIES
from lib.options.thresholds import ERROR_GROUPS, FIELDS, parse_threshold
from lib.outcomes import ErrorClass
from lib.results.quantity import judge, quantity
from lib.results.summary import ThresholdResult
from tests.support.summaries import a_summary

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
    judged = judge(parse_threshold(expression), a_summary(**SUMMARY))
    assert judged == ThresholdResult(expression=expression, value=value, passed=passed)


def test_nothing_attempted_misses_an_error_rate() -> None:
    judged = judge(parse_threshold("error_rate<1%"), a_summary(**{**SUMMARY, "error_rate": None}))
    assert (judged.value, judged.passed) == (None, False)
    assert str(judged) == "error_rate<1% (it was not measured)"


def test_every_quantity_that_can_be_named_has_a_value() -> None:
    summary = a_summary(**{**SUMMARY, "first_latency_ms": LATENCY, "retried": 4})
    names = (
        *FIELDS,
        *(group + name for group in GROUPS for name in LATENCIES),
        *(group + each.value for group in ERROR_GROUPS for each in ErrorClass),
    )
    assert all(isinstance(quantity(summary, name), float) for name in names)
