"""The chart of retries over time."""

from __future__ import annotations

from collections.abc import Sequence

from ..pages.chart import ORANGE, Chart, whole_numbers
from ..results.sample import Sample
from .marks import marks
from .run_data import Findings
from .timeline import interval_bars, time_axis


def retries(findings: Findings, samples: Sequence[Sample]) -> Chart:
    """Draws the retries of the clients in each tally interval."""
    name, title = "retries", "Retries over time"
    if findings.summary.retried is None:
        return Chart(name, title, "The client does not report its retries.")
    counts = [each.retried or 0 for each in samples]
    if not any(counts):
        return Chart(name, title, "No client retried.")
    shapes, told = marks(findings, samples)
    return Chart(
        name,
        title,
        "Retries that the clients made by themselves. Each counts in the interval in which its pull ended. A retry "
        f"makes its pull slower.{told}",
        data=[
            {
                **interval_bars(samples, counts, "retries", ORANGE),
                "hovertemplate": "%{y} retries<extra></extra>",
            }
        ],
        layout={
            "xaxis": time_axis(findings.span),
            "yaxis": {"title": {"text": "retries"}, "rangemode": "tozero", **whole_numbers(max(counts))},
            "shapes": shapes,
            "hovermode": "closest",
        },
    )
