"""The chart of the latency distribution, with first and repeat pulls apart."""

from __future__ import annotations

from ..latency import PERCENTILES
from ..pages.chart import BLUE, ORANGE, Chart, Trace, logarithmic
from .events import BINS_PER_DECADE, LEAST_SECONDS, EventSeries
from .latency import kinds
from .run_data import Findings

_FIRST = (
    "First pulls: the first pull of each image, and the first after each prune. All others are repeat pulls."
)


def distribution(findings: Findings) -> Chart:
    """Draws histograms if there are events, else bars of the summary's percentiles."""
    name, title = "distribution", "Latency distribution of first and repeat pulls"
    if findings.events is not None and any(pulls.dots.seen for _, pulls, _ in kinds(findings.events)):
        return _histograms(name, title, findings.events)
    labels = ("min", *PERCENTILES, "max")
    data: list[Trace] = []
    summary = findings.summary
    for kind, latency, colour in (
        ("first", summary.first_latency_ms, ORANGE),
        ("repeat", summary.repeat_latency_ms, BLUE),
    ):
        if latency:
            data.append(
                {
                    "type": "bar",
                    "name": f"{kind} pulls",
                    "x": [label for label in labels if latency.value(label) is not None],
                    "y": [round(value, 2) for label in labels if (value := latency.value(label)) is not None],
                    "marker": {"color": colour},
                    "hovertemplate": "%{y:.1f} ms",
                }
            )
    if not data:
        return Chart(name, title, "No pull succeeded, so there is no latency.")
    layout = {
        "barmode": "group",
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": "ms"}, "rangemode": "tozero"},
        "hovermode": "x unified",
    }
    return Chart(name, title, f"{_FIRST} Give the events file to see a histogram.", data=data, layout=layout)


def _histograms(name: str, title: str, events: EventSeries) -> Chart:
    used = [i for _, pulls, _ in kinds(events) for i, count in enumerate(pulls.histogram) if count]
    bins = range(min(used) - 1, max(used) + 2)
    middles = [LEAST_SECONDS * 1000 * 10 ** ((i + 0.5) / BINS_PER_DECADE) for i in bins]
    data: list[Trace] = []
    for kind, pulls, colour in kinds(events):
        if not pulls.dots.seen:
            continue
        counts = [pulls.histogram[i] if 0 <= i < len(pulls.histogram) else 0 for i in bins]
        data.append(
            {
                "name": f"{kind} pulls ({pulls.dots.seen:,})",
                "x": [float(f"{middle:.4g}") for middle in middles],
                "y": [round(100 * count / pulls.dots.seen, 4) for count in counts],
                "customdata": counts,
                "mode": "lines",
                "line": {"shape": "hvh", "color": colour, "width": 2},
                "fill": "tozeroy",
                "hovertemplate": "%{customdata} pulls, %{y:.2f} %",
            }
        )
    layout = {
        "xaxis": {"title": {"text": "ms, logarithmic"}, **logarithmic(middles[0], middles[-1])},
        "yaxis": {"title": {"text": "% of first or repeat pulls"}, "rangemode": "tozero"},
        "hovermode": "x unified",
    }
    return Chart(name, title, _FIRST, data=data, layout=layout)
