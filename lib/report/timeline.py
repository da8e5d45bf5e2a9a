"""The run's time as an axis, and its intervals on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..pages.chart import MOST_POINTS
from .ramp_time import Span


def merged(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most MOST_POINTS of them: counts summed, percentiles averaged by pulls."""
    size = -(-len(samples) // MOST_POINTS)
    if size <= 1:
        return list(samples)
    return [_together(samples[start : start + size]) for start in range(0, len(samples), size)]


def _together(samples: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    pulled, seconds = sum(each["pulled"] for each in samples), sum(each["seconds"] for each in samples)
    measured = [each for each in samples if each["latency_ms"] and each["pulled"]]
    weight = sum(each["pulled"] for each in measured)
    latency = (
        {
            name: sum(each["latency_ms"][name] * each["pulled"] for each in measured) / weight
            for name in ("p50", "p95", "p99")
        }
        if weight
        else None
    )
    return {
        "time": samples[-1]["time"],
        "seconds": seconds,
        "pulled": pulled,
        "failed": sum(each["failed"] for each in samples),
        "rate": pulled / seconds if seconds else 0.0,
        "latency_ms": latency,
        "limited_by": next((each["limited_by"] for each in samples if each.get("limited_by")), None),
    }


def when(moment: datetime) -> str:
    """As plotly reads a time: the run's own local time, whatever the reader's is."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def ends(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    return [when(datetime.fromisoformat(sample["time"])) for sample in samples]


def time_axis(span: Span) -> dict[str, Any]:
    return {
        "title": {"text": f"time ({span.begin.tzname() or 'local'})"},
        "type": "date",
        "range": [when(span.begin), when(span.at(max(span.seconds, 0.1)))],
    }
