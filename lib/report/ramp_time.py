"""Finds when a run's ramp began and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from ..results.summary import Summary


@dataclass(frozen=True, slots=True)
class Span:
    """The ramp's beginning and its length in seconds."""

    begin: datetime
    seconds: float

    def at(self, seconds: float) -> datetime:
        """Returns the time this many seconds after the ramp began."""
        return self.begin + timedelta(seconds=seconds)


def span_of(summary: Summary) -> Span:
    """Returns the ramp's span, computed from the samples. Without samples, returns the span of the whole run."""
    samples = summary.samples
    if not samples:
        return Span(summary.started, summary.elapsed_seconds)
    begin = samples[0].time - timedelta(seconds=samples[0].seconds)
    return Span(begin, sum(sample.seconds for sample in samples))
