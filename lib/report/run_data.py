"""What the page is made of: the summary, and what the events tell beyond it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..outcomes import FAILED, OK
from ..results.summary import Summary
from .events import EventSeries, read_events
from .ramp_time import Span, span_of


@dataclass(frozen=True, slots=True)
class Findings:
    """All that the page shows."""

    summary: Summary
    span: Span
    events: EventSeries | None

    @property
    def mismatch(self) -> str | None:
        """Says so where summary and events cannot be of the same run."""
        if self.events is None:
            return None
        told = self.events.outcomes[OK], self.events.outcomes[FAILED]
        known = self.summary.pulled, self.summary.failed
        if told == known:
            return None
        return (
            f"the events tell of {told[0]} pulls and {told[1]} failures, the summary of {known[0]} and {known[1]}: "
            "the events are of another run, or not whole"
        )


def find(summary: Summary, events: Path | None) -> Findings:
    """Read the events, if there are any."""
    span = span_of(summary)
    return Findings(summary, span, read_events(events, span) if events is not None else None)
