"""Threshold expressions: reading them, and what holds."""

from __future__ import annotations

import pytest

from lib.compare.thresholds import parse_limit
from lib.errors import UsageError
from lib.options.thresholds import Threshold, parse_threshold


@pytest.mark.parametrize(
    ("expression", "read"),
    [
        (" error_rate < 0.03 ", Threshold("error_rate < 0.03", "error_rate", "<", 0.03)),
        ("error_rate<=57%", Threshold("error_rate<=57%", "error_rate", "<=", 0.57)),
        ("first.p99<1.5s", Threshold("first.p99<1.5s", "first.p99", "<", 1500.0)),
        ("p50<.5 ms", Threshold("p50<.5 ms", "p50", "<", 0.5)),
        ("errors.rate-limited<=5", Threshold("errors.rate-limited<=5", "errors.rate-limited", "<=", 5.0)),
        *(
            (
                f"bytes_per_second>{text}",
                Threshold(f"bytes_per_second>{text}", "bytes_per_second", ">", limit),
            )
            for text, limit in (
                ("100MB", 1e8),
                ("1.5 GB/s", 1.5e9),
                ("2MiB/s", 2.0 * (1 << 20)),
                ("3KiB", 3072.0),
                ("4kB", 4000.0),
                ("1TiB", float(1 << 40)),
                ("5B", 5.0),
                ("6", 6.0),
            )
        ),
        ("bytes>=2GB", Threshold("bytes>=2GB", "bytes", ">=", 2e9)),
        (
            "peak.bytes_per_second>1MB/s",
            Threshold("peak.bytes_per_second>1MB/s", "peak.bytes_per_second", ">", 1e6),
        ),
    ],
)
def test_reading(expression: str, read: Threshold) -> None:
    assert parse_threshold(expression) == read


@pytest.mark.parametrize(
    ("expression", "value", "told"),
    [
        ("p95<250ms", 43.812, "p95 was 43.8 ms, must be under 250 ms"),
        ("p95<=250ms", 250.4, "p95 was 250.4 ms, must be at most 250 ms"),
        ("p95<250ms", 250.0, "p95 was 250 ms, must be under 250 ms"),
        ("p95<1234ms", 1300.0, "p95 was 1,300 ms, must be under 1,234 ms"),
        ("p95<=12.345s", 12345.6, "p95 was 12.35 s, must be at most 12.345 s"),
        ("error_rate<=1%", 0.010004, "error rate was 1.0004 %, must be at most 1 %"),
        ("error_rate<0.1234%", 1 / 3, "error rate was 33.3 %, must be under 0.1234 %"),
        ("rate>1234.5", 1234.1, "rate was 1,230 pulls/s, must be over 1,234.5 pulls/s"),
        ("bytes>1.2345GB", 1.2344e9, "bytes was 1.23 GB, must be over 1.2345 GB"),
        ("bytes_per_second>=2MB/s", 1_999_900.0, "bytes per second was 1.9999 MB/s, must be at least 2 MB/s"),
        ("retried<=2.5", 3.0, "retried was 3, must be at most 2.5"),
        ("pulled>=1234567", 0.0, "pulled was 0, must be at least 1,234,567"),
        ("mean<0ms", 0.0, "mean was 0 ms, must be under 0 ms"),
    ],
)
def test_a_missed_threshold_never_reads_as_one_that_is_met(expression: str, value: float, told: str) -> None:
    assert parse_threshold(expression).told(value) == told


@pytest.mark.parametrize(
    ("comparison", "below", "equal", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_what_holds(comparison: str, below: bool, equal: bool, above: bool) -> None:
    threshold = parse_threshold(f"rate{comparison}50")
    assert [threshold.holds(value) for value in (49.9, 50.0, 50.1)] == [below, equal, above]


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("p95", "cannot read"),
        ("p95<fast", "cannot read"),
        ("p97<1ms", "'p97' is not a quantity"),
        ("errors.tomato<1", "is not a quantity"),
        ("p95<250", "needs 'ms' or 's'"),
        ("rate>5ms", "needs no unit"),
        ("error_rate<1ms", "needs '%'"),
        ("peak.rate>5ms", "needs no unit"),
        ("peak.p95<250", "needs 'ms' or 's'"),
        ("knee.p95<250ms", "is not a quantity"),
        ("knee.rate>5", "is not a quantity"),
        ("", "cannot read"),
        ("p95<+5ms", "cannot read"),
        ("rate>-5", "cannot read"),
        ("rate>5MB", "needs no unit"),
        ("bytes_per_second>5Mb", "needs no unit or 'B' or 'kB' or 'MB'"),
        ("bytes_per_second>5ms", "needs no unit or 'B'"),
        ("bytes_per_second>5%", "needs no unit or 'B'"),
        ("bytes>5MB/s", "needs no unit or 'B'"),
        ("bytes>5XB", "needs no unit or 'B'"),
        ("p95<5MB", "needs 'ms' or 's'"),
    ],
)
def test_wrong_expressions(expression: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_threshold(expression)


def test_a_run_and_a_comparison_allow_different_things() -> None:
    """The same grammar: each refuses what only the other has a meaning for, and lists its own."""
    for text in ("p95<250ms", "pulled>5", "rate==50"):
        parse_threshold(text)
        with pytest.raises(UsageError, match="--threshold: "):
            parse_limit(text)
    for text in ("rate>-5%", "mean<+10%"):
        parse_limit(text)
        with pytest.raises(UsageError, match="--threshold: "):
            parse_threshold(text)
    with pytest.raises(UsageError, match=r"use error_rate, rate, .* min, mean, p50, p90, p95, p99, max "):
        parse_threshold("speed>1")
    with pytest.raises(UsageError, match="use rate, bytes_per_second, mean, p50, p90, p95, p99 "):
        parse_limit("speed>1%")
