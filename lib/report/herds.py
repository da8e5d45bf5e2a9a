"""The chart of the spread of each herd."""

from __future__ import annotations

from ..pages.chart import BLUE, Chart, whole_numbers
from .run_data import Findings


def herds(findings: Findings) -> Chart:
    """Draws the spread of the starts of each herd. It needs the events."""
    name, title = "herds", "Spread of the starts of each herd"
    spreads = [] if findings.events is None else list(findings.events.herds.spreads())
    if findings.events is None:
        return Chart(name, title, "Give the events file to see the spread of each herd.")
    if not spreads:
        return Chart(name, title, "No pull of a herd ended, so there is no spread.")
    together = max(each.last - each.first + 1 for each in spreads)
    note = "The time from the first start of a client of a herd to the last start."
    if together > 1:
        note += f" Each point shows the largest spread of up to {together} herds."
    return Chart(
        name,
        title,
        note,
        data=[
            {
                "name": "spread",
                "x": [each.first for each in spreads],
                "y": [round(each.seconds * 1000, 3) for each in spreads],
                "mode": "lines+markers",
                "line": {"color": BLUE, "width": 1},
                "marker": {"size": 4},
                "hovertemplate": "herd %{x}: %{y:.1f} ms<extra></extra>",
            }
        ],
        layout={
            "xaxis": {"title": {"text": "herd"}, **whole_numbers(spreads[-1].last)},
            "yaxis": {"title": {"text": "ms"}, "rangemode": "tozero"},
        },
    )
