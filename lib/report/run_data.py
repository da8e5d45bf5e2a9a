"""The data behind the report: the summary and, if given, the events."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..counted import counted
from ..outcomes import FAILED, OK
from ..results.summary import Summary
from .events import EventSeries, read_events
from .ramp_time import Span, span_of


@dataclass(frozen=True, slots=True)
class Findings:
    """All data that the page shows. `span` is the time of the ramp."""

    summary: Summary
    span: Span
    events: EventSeries | None

    @property
    def mismatch(self) -> str | None:
        """A warning if the counts of summary and events differ, else None."""
        if self.events is None:
            return None
        found = self.events.outcomes[OK], self.events.outcomes[FAILED]
        known = self.summary.pulled, self.summary.failed
        if found == known:
            return None
        return (
            f"the events file has {counted(found[0], 'pull')} and {counted(found[1], 'failure')}, but the summary has "
            f"{known[0]} and {known[1]}; the events are from another run, or incomplete"
        )


def find(summary: Summary, events: Path | None) -> Findings:
    """Returns the findings of a run. Reads the events file, if there is one."""
    span = span_of(summary)
    return Findings(summary, span, read_events(events, span) if events is not None else None)
