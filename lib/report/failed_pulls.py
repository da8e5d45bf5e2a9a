"""The chart of failed pulls over time, by error class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..pages.chart import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Chart, Trace, label, whole_numbers
from ..results.sample import Sample
from .events import EventSeries
from .marks import marks
from .ramp_time import Span
from .run_data import Findings
from .timeline import interval_bars, time_axis, when

_CLASS_COLOURS = (RED, ORANGE, PURPLE, BLUE, GREEN, "#c2a83e", "#35a7b8", "#c86b9a", "#7a8f3c", GREY)


def failed_pulls(findings: Findings, samples: Sequence[Sample]) -> Chart:
    """Draws failed pulls over time, by error class."""
    name, title = "errors", "Failed pulls over time"
    note = "Failed pulls of each tally interval, by error class."
    bars: list[Trace] = []
    events = findings.events
    if events is not None and events.errors:
        note = f"Failed pulls by error class, in intervals of {events.bin_seconds:.3g} s."
        bars = list(_by_class(findings.span, events))
    elif events is None and any(sample.failed for sample in samples):
        bars = list(_of_intervals(samples))
    if not bars:
        return Chart(name, title, "No pull failed." if findings.summary.pulled else "The run made no pulls.")
    most = max(map(sum, zip(*(bar["y"] for bar in bars), strict=True)))
    shapes, told = marks(findings, samples)
    layout = {
        "barmode": "stack",
        "xaxis": time_axis(findings.span),
        "yaxis": {"title": {"text": "failed pulls"}, "rangemode": "tozero", **whole_numbers(most)},
        "shapes": shapes,
        "hovermode": "closest",
        "showlegend": True,
    }
    shared: Trace = {"type": "bar", "hovertemplate": "%{y} %{fullData.name}<extra></extra>"}
    return Chart(name, title, note + told, data=[{**shared, **bar} for bar in bars], layout=layout)


def class_colours(counts: Mapping[str, int]) -> dict[str, str]:
    """Returns the colour of each error class, in the order of their failed pulls."""
    by_count = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: _CLASS_COLOURS[place % len(_CLASS_COLOURS)] for place, name in enumerate(by_count)}


def _by_class(span: Span, events: EventSeries) -> Iterator[Trace]:
    middles = [when(span.at((i + 0.5) * events.bin_seconds)) for i in range(events.bins)]
    for error_class, colour in class_colours(events.failed_by_class).items():
        yield {
            "name": label(error_class),
            "x": middles,
            "y": events.errors[error_class],
            "width": events.bin_seconds * 1000,
            "marker": {"color": colour},
        }


def _of_intervals(samples: Sequence[Sample]) -> Iterator[Trace]:
    """Yields the bars of each class. Summaries of earlier versions do not say which classes failed."""
    totals = sum((Counter(each.errors) for each in samples), Counter[str]())
    if sum(totals.values()) < sum(each.failed for each in samples):
        yield interval_bars(samples, [each.failed for each in samples], "failed", RED)
        return
    for error_class, colour in class_colours(totals).items():
        counts = [each.errors.get(error_class, 0) for each in samples]
        yield interval_bars(samples, counts, label(error_class), colour)
