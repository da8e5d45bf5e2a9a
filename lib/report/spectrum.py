"""The percentile spectrum: latency by percentile, with as much room for each further nine as for the first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from ..latency import PERCENTILES, Latency
from ..load.latency import Latencies
from ..pages.chart import BLUE, GREEN, ORANGE, Chart, Trace, milliseconds
from .events import EventSeries
from .latency import kinds
from .run_data import Findings

# The ticks of the axis, in percent, and how they are written.
_TICKS: Final = ("0", "50", "90", "99", "99.9", "99.99", "99.999", "99.9999", "99.99999")


def spectrum(findings: Findings) -> Chart:
    """Draws the latency of each percentile: from the events, or the few percentiles of the summary."""
    name, title = "spectrum", "Latency by percentile"
    if findings.summary.latency_ms is None:
        return Chart(name, title, "No pull succeeded, so there is no latency.")
    events = findings.events
    every = Latencies() if events is None else events.all
    data, told = _of_summary(findings) if events is None or not every.count else _of_events(events, every)
    values = [value for trace in data for value in trace["y"]]
    layout = {
        "xaxis": _axis(data),
        "yaxis": {"title": {"text": "ms"}, **milliseconds(values)},
        "hovermode": "closest",
    }
    return Chart(
        name,
        title,
        f"At 99 %, the line shows the time that 99 of 100 pulls did not exceed. {told}",
        data=data,
        layout=layout,
    )


def _of_events(events: EventSeries, every: Latencies) -> tuple[list[Trace], str]:
    told = "The percentiles are accurate to 0.1 %. Each line ends at its longest latency."
    series = [("all pulls", every, GREEN)]
    series += [(f"{name} pulls", pulls.latencies, colour) for name, pulls, colour in kinds(events)]
    shown = [(name, each, colour) for name, each, colour in series if each.count]
    if len(shown) == len(series) - 1:  # all pulls are of one kind
        shown = shown[:1]
    return [_line(name, each.spectrum(), colour, "lines") for name, each, colour in shown], told


def _of_summary(findings: Findings) -> tuple[list[Trace], str]:
    told = "Without the events file, only the marked percentiles are known."
    summary = findings.summary
    groups = (
        ("all pulls", summary.latency_ms, GREEN),
        ("repeat pulls", summary.repeat_latency_ms, BLUE),
        ("first pulls", summary.first_latency_ms, ORANGE),
    )
    return [
        _line(name, _points(latency), colour, "lines+markers") for name, latency, colour in groups if latency
    ], told


def _points(latency: Latency) -> list[tuple[float, float]]:
    found = [(percent / 100, latency.value(name)) for name, percent in PERCENTILES.items()]
    return [(0.0, latency.min), *((share, value) for share, value in found if value is not None)]


def _line(name: str, points: Sequence[tuple[float, float]], colour: str, mode: str) -> Trace:
    return {
        "name": name,
        "x": [float(f"{1 / (1 - share):.6g}") for share, _ in points],
        "y": [round(value, 2) for _, value in points],
        "customdata": [f"{100 * share:.6g}" for share, _ in points],
        "mode": mode,
        "line": {"color": colour, "width": 2},
        "hovertemplate": "%{customdata} %: %{y:.1f} ms",
    }


def _axis(data: Sequence[Trace]) -> dict[str, Any]:
    """Returns an axis of 1 / (1 - percentile), as wrk2 and HdrHistogram plot it, with ticks in percent."""
    most = max(2.0, *(max(trace["x"]) for trace in data))
    ticks = [(1 / (1 - float(text) / 100), f"{text} %") for text in _TICKS]
    return {
        "type": "log",
        "title": {"text": "percentile"},
        "range": [0, math.log10(most) * 1.03],
        "tickvals": [float(f"{value:.6g}") for value, _ in ticks],
        "ticktext": [text for _, text in ticks],
    }
