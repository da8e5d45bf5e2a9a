"""Finds the value of a `--threshold` in the summary, and judges it."""

from __future__ import annotations

from msgspec import UNSET

from ..options.thresholds import ERROR_GROUPS, FIELDS, KNEE, KNEE_FIELDS, PEAK, PEAK_FIELDS, Threshold
from .hosts import why_no_peak
from .summary import Knee, Peak, Summary, ThresholdResult


def quantity(summary: Summary, name: str) -> float | None:
    """Returns a quantity in its unit (a share, milliseconds, a rate, bytes or a count), or None if not measured."""
    if name in FIELDS:
        value = getattr(summary, name)
        return None if value is None else float(value)
    group, dot, rest = name.rpartition(".")
    if group + dot in ERROR_GROUPS:
        counts = summary.errors if group == "errors" else summary.prune_errors
        return float(counts.get(rest, 0))
    if group + dot == KNEE and rest in KNEE_FIELDS:
        return _field(summary.knee, rest)
    if group + dot == PEAK and rest in PEAK_FIELDS:
        return _field(summary.peak, rest)
    if group + dot == PEAK:
        latency = summary.peak.latency_ms if summary.peak else None
    else:
        latency = summary.latency(group + dot)
    return None if latency is None else latency.value(rest)


def _field(part: Knee | Peak | None, name: str) -> float | None:
    value = UNSET if part is None else getattr(part, name)
    return None if value is UNSET else float(value)


def judge(threshold: Threshold, summary: Summary) -> ThresholdResult:
    """Judges a threshold. A quantity that was not measured misses it."""
    value = quantity(summary, threshold.quantity)
    passed = value is not None and threshold.holds(value)
    why = None
    if value is None and threshold.quantity.endswith(("bytes", "bytes_per_second")):
        why = _why_no_bytes(summary)
    if value is None and threshold.quantity.startswith(PEAK) and summary.peak is None:
        why = why_no_peak(summary)
    return ThresholdResult(expression=threshold.expression, value=value, passed=passed, why=why)


def _why_no_bytes(summary: Summary) -> str | None:
    """Returns why the bytes are not known; None if they are."""
    if summary.bytes is not None:
        return None
    if summary.sized_images is UNSET:
        return "no sizes of images were read (see --sizes)"
    return f"the sizes of {summary.images - summary.sized_images} of {summary.images} images are unknown"
