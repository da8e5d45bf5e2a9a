"""The chart of rate and workers over time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

from ..errors import UsageError
from ..load.curve import Curve, parse_rate
from ..load.stages import parse_stages, plan_stages
from ..pages.chart import BLUE, GREEN, HEADROOM, ORANGE, PURPLE, Chart, Trace, whole_numbers
from ..results.sample import Sample
from ..results.summary import Step, Summary
from .marks import marks
from .ramp_time import Span
from .run_data import Findings
from .timeline import ends, time_axis, when


def rate(findings: Findings, samples: Sequence[Sample]) -> Chart:
    """Draws pulls per second, the planned workers and, with a schedule, the offered rate."""
    title = "Rate and workers over time"
    if not samples:
        return Chart("rate", title, "The run ended before its first tally interval.")
    rates = [round(sample.rate, 3) for sample in samples]
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
    steps = findings.summary.steps
    if steps:
        data.append(_workers(findings.span, steps))
    most = max([1, *(step.workers for step in steps)])
    shapes, told = marks(findings, samples)
    layout: dict[str, Any] = {
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
        "shapes": shapes,
    }
    note = "Successful pulls per second in each tally interval, and the planned number of workers."
    if findings.summary.is_constant:
        (whole,) = steps
        data.append(_mean(findings.span, whole.seconds, whole.rate))
        note += f" Dash-dotted: the mean, {whole.rate:.2f} pulls/s"
        if whole.low is not None and whole.high is not None:
            layout["shapes"].append(_band(whole.low, whole.high))
            note += f". Coloured band: its 95 % confidence interval, {whole.low:.2f} to {whole.high:.2f}"
        note += "."
    if any(each.offered is not None for each in steps):
        data.append(_offered(findings.span, offered_over_time(findings.summary)))
        note += " Dashed: the pulls per second that the schedule offered."
    return Chart("rate", title, note + told, data=data, layout=layout)


def _mean(span: Span, seconds: float, rate: float) -> Trace:
    return {
        "name": "mean",
        "x": [when(span.begin), when(span.at(seconds))],
        "y": [round(rate, 3)] * 2,
        "mode": "lines",
        "line": {"color": PURPLE, "width": 2, "dash": "dashdot"},
        "hovertemplate": "%{y:.2f} pulls/s",
    }


def _band(low: float, high: float) -> dict[str, Any]:
    return {
        "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": low, "y1": high, "fillcolor": PURPLE, "opacity": 0.15,
        "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def offered_over_time(summary: Summary) -> list[tuple[float, float]]:
    """Returns (second, pulls per second) where the line of the offered rate bends or jumps."""
    settings, end = summary.settings, sum(step.seconds for step in summary.steps)
    with suppress(UsageError, TypeError, ValueError):  # the settings come from a file
        if settings.get("stage"):
            rates = plan_stages(parse_stages("--stage", settings["stage"]), 1).curve
            if rates is not None:
                return rates.points(end)
        if settings.get("duration"):
            rate = parse_rate("--rate", str(settings["rate"]))
            return Curve(((rate, float(settings["duration"])),)).points(end)
    points, start = [], 0.0
    for step in summary.steps:
        points += [(start, step.offered or 0.0), (start + step.seconds, step.offered or 0.0)]
        start += step.seconds
    return points


def _offered(span: Span, points: Sequence[tuple[float, float]]) -> Trace:
    return {
        "name": "offered",
        "x": [when(span.at(second)) for second, _ in points],
        "y": [round(rate, 4) for _, rate in points],
        "mode": "lines",
        "line": {"color": GREEN, "width": 2, "dash": "dash"},
        "hovertemplate": "%{y:.2f} offered",
    }


def _workers(span: Span, steps: Sequence[Step]) -> Trace:
    starts = [0.0, *accumulate(step.seconds for step in steps)]
    workers = [step.workers for step in steps]
    return {
        "name": "workers",
        "x": [when(span.at(each)) for each in starts],
        "y": [*workers, workers[-1]],
        "yaxis": "y2",
        "mode": "lines",
        "line": {"shape": "hv", "color": ORANGE, "width": 2, "dash": "dot"},
        "hovertemplate": "%{y}",
    }
