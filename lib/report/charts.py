"""The charts of the report, in the page's order."""

from __future__ import annotations

from ..pages.chart import Chart
from .distribution import distribution
from .failed_images import failed_images
from .failed_pulls import failed_pulls
from .herds import herds
from .host_rates import host_rates
from .latency import latency
from .latency_by_load import latency_by_load
from .latency_by_size import latency_by_size
from .machine import machine
from .rate import rate
from .retries import retries
from .run_data import Findings
from .scalability import scalability
from .spectrum import spectrum
from .timeline import merged


def charts(findings: Findings) -> list[Chart]:
    """Returns all charts: first those over time. A chart with nothing to draw has a note that says why."""
    summary = findings.summary
    samples = merged(summary.samples)
    return [
        rate(findings, samples),
        *host_rates(findings),
        latency(findings, samples),
        failed_pulls(findings, samples),
        retries(findings, samples),
        machine(findings, samples),
        # one step says nothing about other numbers of workers
        *([] if summary.has_one_step else [scalability(summary), latency_by_load(summary)]),
        distribution(findings),
        spectrum(findings),
        *([herds(findings)] if summary.in_herds is not None else []),
        *latency_by_size(findings),
        *([failed_images(findings)] if summary.failed else []),
    ]
