"""When a run's ramp began and how long it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """The time that the ramp took."""

    begin: datetime
    seconds: float

    def at(self, seconds: float) -> datetime:
        return self.begin + timedelta(seconds=seconds)


def span_of(summary: Mapping[str, Any]) -> Span:
    """From the samples, which know the ramp's beginning; without any, from the run's."""
    samples = summary["samples"]
    if not samples:
        return Span(datetime.fromisoformat(summary["started"]), float(summary["elapsed_seconds"]))
    begin = datetime.fromisoformat(samples[0]["time"]) - timedelta(seconds=samples[0]["seconds"])
    return Span(begin, float(sum(sample["seconds"] for sample in samples)))
