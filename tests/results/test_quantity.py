"""Thresholds judged on a summary."""

from __future__ import annotations

from typing import Any

import pytest

from lib.latency import GROUPS, LATENCIES
from lib.options.thresholds import (
    ERROR_GROUPS,
    FIELDS,
    KNEE,
    KNEE_FIELDS,
    PEAK,
    PEAK_FIELDS,
    parse_threshold,
)
from lib.outcomes import ErrorClass
from lib.results.quantity import judge, quantity
from lib.results.summary import ThresholdResult
from tests.support.summaries import a_summary

LATENCY = {"min": 1.0, "mean": 2.0, "p50": 3.0, "p90": 4.0, "p95": 5.0, "p99": 6.0, "max": 7.0}
FEW = {**LATENCY, "p99": None}
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
    "peak": {"rate": 60.0, "low": 55.0, "high": 65.0, "workers": 9, "latency_ms": FEW},
    "knee": {"workers": 8.25, "low": 7.0, "high": 9.5},
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
        ("peak.rate>50", 60.0, True),
        ("peak.workers<=8", 9.0, False),
        ("peak.p95<250ms", 5.0, True),
        ("peak.p99<10s", None, False),
        ("knee.workers>=8", 8.25, True),
    ],
)
def test_judging(expression: str, value: float | None, passed: bool) -> None:
    judged = judge(parse_threshold(expression), a_summary(**SUMMARY))
    assert judged == ThresholdResult(expression=expression, value=value, passed=passed)


@pytest.mark.parametrize("expression", ["peak.rate>=0", "peak.p50<9s", "knee.workers>=0"])
def test_a_run_without_peak_and_knee_misses_their_thresholds(expression: str) -> None:
    judged = judge(parse_threshold(expression), a_summary(**{**SUMMARY, "peak": None, "knee": None}))
    assert (judged.value, judged.passed) == (None, False)


def test_nothing_attempted_misses_an_error_rate() -> None:
    judged = judge(parse_threshold("error_rate<1%"), a_summary(**{**SUMMARY, "error_rate": None}))
    assert (judged.value, judged.passed) == (None, False)
    assert judged.told == "error rate was not measured, must be under 1 %"
    few = judge(parse_threshold("peak.p99<2s"), a_summary(**SUMMARY))
    assert few.told == "p99 at the peak was not measured, must be under 2,000 ms (p99 needs 100 pulls)"


def test_every_quantity_that_can_be_named_has_a_value() -> None:
    peak = {**SUMMARY["peak"], "latency_ms": LATENCY, "bytes_per_second": 3.0}
    sizes = {"bytes": 100, "bytes_per_second": 2.5}
    summary = a_summary(**{**SUMMARY, **sizes, "first_latency_ms": LATENCY, "retried": 4, "peak": peak})
    names = (
        *FIELDS,
        *(group + name for group in (*GROUPS, PEAK) for name in LATENCIES),
        *(PEAK + name for name in PEAK_FIELDS),
        *(KNEE + name for name in KNEE_FIELDS),
        *(group + each.value for group in ERROR_GROUPS for each in ErrorClass),
    )
    assert all(isinstance(quantity(summary, name), float) for name in names)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("error_rate<1%", "error rate was 2 %, must be under 1 %"),
        ("error_rate<0.01", "error rate was 2 %, must be under 1 %"),
        ("p95<0.001s", "p95 was 5 ms, must be under 1 ms"),
        ("repeat.p99<1ms ", "p99 of repeat pulls was 6 ms, must be under 1 ms"),
        ("rate>51", "rate was 50 pulls/s, must be over 51 pulls/s"),
        ("errors.timeout<1", "the number of timeout failures was 2, must be under 1"),
        ("bytes>1GB", "bytes was 123 MB, must be over 1 GB"),
        ("bytes_per_second>=100MiB/s", "bytes per second was 2.5 MB/s, must be at least 104.8576 MB/s"),
        ("peak.bytes_per_second>5MB", "peak bytes per second was 3 MB/s, must be over 5 MB/s"),
    ],
)
def test_a_missed_threshold_shows_the_value_with_its_unit(expression: str, words: str) -> None:
    peak = {**SUMMARY["peak"], "bytes_per_second": 3e6}
    summary = a_summary(**{**SUMMARY, "bytes": 123_000_000, "bytes_per_second": 2.5e6, "peak": peak})
    assert judge(parse_threshold(expression), summary).told == words


@pytest.mark.parametrize("name", ["bytes", "bytes_per_second", "peak.bytes_per_second"])
def test_a_threshold_on_unknown_bytes_says_why(name: str) -> None:
    """Of an older file or a run without sizes, and of one with sizes of which some are unknown."""
    threshold = parse_threshold(f"{name}>1MB")
    judged = judge(threshold, a_summary(**SUMMARY))
    assert (judged.value, judged.passed) == (None, False)
    assert judged.why == "no sizes of images were read (see --sizes)"
    judged = judge(threshold, a_summary(**SUMMARY, images=3, sized_images=1))
    assert judged.why == "the sizes of 2 of 3 images are unknown"
