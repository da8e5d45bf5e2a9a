"""The charts of the report, in the page's order."""

from __future__ import annotations

from ..pages.chart import Chart
from .distribution import distribution
from .failed_pulls import failed_pulls
from .herds import herds
from .latency import latency
from .latency_by_size import latency_by_size
from .rate import rate
from .run_data import Findings
from .scalability import scalability
from .timeline import merged


def charts(findings: Findings) -> list[Chart]:
    """Returns all charts. A chart with nothing to draw has a note that says why."""
    summary = findings.summary
    samples = merged(summary.samples)
    drawn = [
        rate(findings, samples),
        latency(findings, samples),
        distribution(findings),
        *([herds(findings)] if findings.summary.in_herds is not None else []),
        *latency_by_size(findings),
        failed_pulls(findings, samples),
    ]
    # one step says nothing about other numbers of workers
    return drawn if summary.has_one_step else [*drawn, scalability(summary)]
