"""Rate and workers over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..pages.chart import BLUE, HEADROOM, ORANGE, Chart, Trace, whole_numbers
from .findings import Findings
from .summary import Span
from .timeline import ends, time_axis, when


def rate(findings: Findings, samples: Sequence[Mapping[str, Any]]) -> Chart:
    title = "Rate and workers over time"
    if not samples:
        return Chart("rate", title, "The run ended before its first interval did.")
    rates = [round(sample["rate"], 3) for sample in samples]
    data: list[Trace] = [
        {
            "name": "pulls/s",
            "x": [when(findings.span.begin), *ends(samples)],
            "y": [rates[0], *rates],
            "mode": "lines",
            "line": {"shape": "vh", "color": BLUE, "width": 2},
            "fill": "tozeroy",
            "hovertemplate": "%{y:.2f} pulls/s",
        }
    ]
    steps = findings.summary["steps"]
    if steps:
        data.append(_workers(findings.span, steps))
    most = max([1, *(step["workers"] for step in steps)])
    layout = {
        "xaxis": time_axis(findings.span),
        "yaxis": {"title": {"text": "pulls/s"}, "range": [0, HEADROOM * (max(rates) or 1.0)]},
        "yaxis2": {
            "title": {"text": "workers"},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "range": [0, HEADROOM * most],
            **whole_numbers(most),
        },
        "hovermode": "x unified",
    }
    note = "Successful pulls a second in each tally interval; workers as the ramp had them."
    return Chart("rate", title, note, data, layout)


def _workers(span: Span, steps: Sequence[Mapping[str, Any]]) -> Trace:
    starts = [0.0, *accumulate(step["seconds"] for step in steps)]
    workers = [step["workers"] for step in steps]
    return {
        "name": "workers",
        "x": [when(span.at(each)) for each in starts],
        "y": [*workers, workers[-1]],
        "yaxis": "y2",
        "mode": "lines",
        "line": {"shape": "hv", "color": ORANGE, "width": 2, "dash": "dot"},
        "hovertemplate": "%{y}",
    }
