"""The chart of latency over time: percentiles of each interval and, if there are events, single pulls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..latency import SHOWN_PERCENTILES, Latency
from ..pages.chart import BLUE, GREEN, ORANGE, PURPLE, RED, Chart, Trace, milliseconds
from ..results.sample import Sample
from .events import EventSeries, Pulls
from .marks import marks
from .run_data import Findings
from .timeline import ends, time_axis, when

# A line with at most this many points shows a marker at each point.
_MARKED = 60
# Colours of the `SHOWN_PERCENTILES`, in their order.
_COLOURS = (GREEN, PURPLE, RED)


def latency(findings: Findings, samples: Sequence[Sample]) -> Chart:
    """Draws the latency percentiles of each tally interval and, if there are events, single pulls."""
    title = "Latency over time"
    if not any(sample.latency_ms for sample in samples):
        return Chart("latency", title, "No pull succeeded, so there is no latency.")
    data = [*_single_pulls(findings), *_percentiles(samples)]
    values = [value for trace in data for value in trace["y"] if value is not None]
    since = "its scheduled start" if findings.summary.is_scheduled else "the client's launch"
    note = (
        f"Percentiles of each tally interval. A pull's latency is the time from {since} to the client's exit. "
        "Only successful pulls count."
    )
    if len(samples) < len(findings.summary.samples):
        note += " A point covers several intervals, and its percentiles are their average, weighted by pulls."
    if findings.events is not None:
        note += " Dots are single pulls, or a random sample of them if there are many."
    shapes, told = marks(findings, samples)
    layout = {
        "shapes": shapes,
        "xaxis": time_axis(findings.span),
        "yaxis": {"title": {"text": "ms"}, **milliseconds(values)},
        "hovermode": "closest",
    }
    return Chart("latency", title, note + told, data=data, layout=layout)


def _single_pulls(findings: Findings) -> Iterator[Trace]:
    for name, pulls, colour in [] if findings.events is None else kinds(findings.events):
        dots = sorted(pulls.dots.items)
        if dots:
            yield {
                "name": f"{name} pulls",
                "x": [when(findings.span.at(at)) for at, _ in dots],
                "y": [round(seconds * 1000, 2) for _, seconds in dots],
                "mode": "markers",
                "marker": {"color": colour, "size": 4, "opacity": 0.35},
                "hovertemplate": "%{y:.1f} ms",
            }


def kinds(events: EventSeries) -> list[tuple[str, Pulls, str]]:
    """Returns (name, pulls, colour) of the repeat and the first pulls."""
    return [("repeat", events.repeat, BLUE), ("first", events.first, ORANGE)]


def _percentiles(samples: Sequence[Sample]) -> Iterator[Trace]:
    measured = [sample.latency_ms for sample in samples]
    mode = "lines+markers" if sum(map(bool, measured)) <= _MARKED else "lines"
    for name, colour in zip(SHOWN_PERCENTILES, _COLOURS, strict=True):
        yield {
            "name": name,
            "x": ends(samples),
            "y": [_shown(each, name) for each in measured],
            "mode": mode,
            "line": {"color": colour, "width": 2},
            "hovertemplate": "%{y:.1f} ms",
        }


def _shown(latency: Latency | None, name: str) -> float | None:
    value = latency.value(name) if latency else None
    return None if value is None else round(value, 2)
