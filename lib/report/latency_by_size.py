"""The chart of latency against the size of images: whether data or something else takes the time."""

from __future__ import annotations

from ..counted import counted
from ..figures import data
from ..pages.chart import BLUE, ORANGE, Chart, Trace, label, logarithmic
from .run_data import Findings
from .size_series import MOST_IMAGES, SizeSeries

_NAME, _TITLE = "size", "Latency by image size"


def latency_by_size(findings: Findings) -> list[Chart]:
    """Draws one dot for each image. There is no chart if the events have no sizes, or if launches pull several."""
    series = None if findings.events is None else findings.events.sizes
    if series is None or findings.summary.latency_unit == "launch":
        return []
    traces = [
        _dots(series, name, colour, first=first)
        for name, colour, first in (("repeat pulls", BLUE, False), ("first pulls", ORANGE, True))
    ]
    traces = [trace for trace in traces if trace["x"]]
    if not traces:
        return []
    note = (
        "Each dot is the median latency of one image's first or repeat pulls. The size is that of config and layers, "
        "compressed. If the dots rise with the size, the transfer of data takes much of the time. If they are level, "
        "other things do, such as requests and the start of the client."
    )
    if series.dropped:
        note += f" The chart shows a random sample of about {MOST_IMAGES:,} images."
    sizes, times = ([value for trace in traces for value in trace[axis]] for axis in "xy")
    layout = {
        "xaxis": {"title": {"text": "size"}, **_of_sizes(min(sizes), max(sizes))},
        "yaxis": {"title": {"text": "ms"}, **logarithmic(min(times), max(times))},
        "hovermode": "closest",
    }
    return [Chart(_NAME, _TITLE, note, data=traces, layout=layout)]


def _dots(series: SizeSeries, name: str, colour: str, *, first: bool) -> Trace:
    # a logarithmic axis has no place for an image without bytes
    found = [each for each in series.medians(first=first) if each[0].size > 0]
    return {
        "name": name,
        "x": [image.size for image, _, _ in found],
        "y": [round(seconds * 1000, 2) for _, _, seconds in found],
        "text": [
            f"{label(image.name)}: {data(image.size)}, {counted(pulls.seen, 'pull')}"
            for image, pulls, _ in found
        ],
        "mode": "markers",
        "marker": {"color": colour, "size": 6, "opacity": 0.6},
        "hovertemplate": "%{text}, median %{y:.1f} ms",
    }


def _of_sizes(least: float, most: float) -> dict[str, object]:
    """Returns a logarithmic axis of bytes, whose ticks have units."""
    axis = logarithmic(least, most)
    return {**axis, "ticktext": [data(tick) for tick in axis["tickvals"]]}
