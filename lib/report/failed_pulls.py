"""The chart of failed pulls over time, by error class if there are events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..pages.chart import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Chart, Trace, label, whole_numbers
from ..results.sample import Sample
from .events import EventSeries
from .ramp_time import Span
from .run_data import Findings
from .timeline import ends, time_axis, when

_CLASS_COLOURS = (RED, ORANGE, PURPLE, BLUE, GREEN, "#c2a83e", "#35a7b8", "#c86b9a", "#7a8f3c", GREY)


def failed_pulls(findings: Findings, samples: Sequence[Sample]) -> Chart:
    """Draws failed pulls over time, by error class if there are events."""
    name, title = "errors", "Failed pulls over time"
    note = "Failed pulls in each tally interval. Give the events file to see them by error class."
    bars: list[Trace] = []
    events = findings.events
    if events is not None and events.errors:
        note = f"Failed pulls by error class, in intervals of {events.bin_seconds:.3g} s."
        bars = list(_by_class(findings.span, events))
    elif events is None and any(sample.failed for sample in samples):
        bars = [_by_interval(samples)]
    if not bars:
        return Chart(name, title, "No pull failed." if findings.summary.pulled else "The run made no pulls.")
    most = max(map(sum, zip(*(bar["y"] for bar in bars), strict=True)))
    layout = {
        "barmode": "stack",
        "xaxis": time_axis(findings.span),
        "yaxis": {"title": {"text": "failed pulls"}, "rangemode": "tozero", **whole_numbers(most)},
        "hovermode": "closest",
        "showlegend": True,
    }
    shared: Trace = {"type": "bar", "hovertemplate": "%{y} %{fullData.name}<extra></extra>"}
    return Chart(name, title, note, data=[{**shared, **bar} for bar in bars], layout=layout)


def _by_class(span: Span, events: EventSeries) -> Iterator[Trace]:
    middles = [when(span.at((i + 0.5) * events.bin_seconds)) for i in range(events.bins)]
    by_count = sorted(events.errors.items(), key=lambda item: (-sum(item[1]), item[0]))
    for place, (error_class, counts) in enumerate(by_count):
        yield {
            "name": label(error_class),
            "x": middles,
            "y": counts,
            "width": events.bin_seconds * 1000,
            "marker": {"color": _CLASS_COLOURS[place % len(_CLASS_COLOURS)]},
        }


def _by_interval(samples: Sequence[Sample]) -> Trace:
    widths = [1000 * sample.seconds for sample in samples]
    return {
        "name": "failed",
        "x": ends(samples),
        "y": [sample.failed for sample in samples],
        "width": widths,
        "offset": [-width for width in widths],
        "marker": {"color": RED},
    }
