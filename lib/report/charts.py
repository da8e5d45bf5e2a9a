"""The charts, as plotly's data and layout; colours that depend on the page's theme are set by the page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any

from ..failures import clean
from .data import BINS_PER_DECADE, LEAST_SECONDS, EventSeries, Findings, Pulls
from .usl import LEAST_DIFFERENT, Fit, Point, fit

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#4c8bd6", "#e0862f", "#35a37a", "#d9534f", "#9b6fc9", "#8a8f98"
_CLASS_COLOURS = (RED, ORANGE, PURPLE, BLUE, GREEN, "#c2a83e", "#35a7b8", "#c86b9a", "#7a8f3c", GREY)
# A longer run's intervals are put together to so many.
MOST_POINTS = 800
# From this ratio of the highest latency to the lowest the axis is logarithmic.
_LOG_RATIO = 25
# Room above the highest point; so many points of a line are shown with markers.
_HEADROOM, _MARKED = 1.08, 60
_CURVE_POINTS = 120
# Axes: up to so many, each count has a tick; up to so many, each decade has three.
_COUNTED, _FEW_DECADES = 12, 4

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """`note` says what is seen. Where there is nothing to draw, `data` is empty and `note` says why."""

    name: str
    title: str
    note: str
    data: list[Trace] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)


def charts(findings: Findings) -> list[Chart]:
    """All of the page, in its order."""
    samples = _merged(findings.summary["samples"])
    return [
        _rate(findings, samples),
        _latency(findings, samples),
        _distribution(findings),
        _errors(findings, samples),
        _scalability(findings.summary),
    ]


def points_of(summary: Mapping[str, Any]) -> list[Point]:
    """The steps as throughputs; the one that an interruption cut short is left out."""
    steps = summary["steps"][:-1] if summary["interrupted"] else summary["steps"]
    return [
        Point(each["workers"], float(each["rate"]))
        for each in steps
        if each["seconds"] > 0 and each["workers"] > 0
    ]


def _merged(samples: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """At most MOST_POINTS of them: counts summed, percentiles averaged by pulls."""
    size = -(-len(samples) // MOST_POINTS)
    if size <= 1:
        return list(samples)
    return [_together(samples[start : start + size]) for start in range(0, len(samples), size)]


def _together(samples: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    pulled, seconds = sum(each["pulled"] for each in samples), sum(each["seconds"] for each in samples)
    measured = [each for each in samples if each["latency_ms"] and each["pulled"]]
    weight = sum(each["pulled"] for each in measured)
    latency = (
        {
            name: sum(each["latency_ms"][name] * each["pulled"] for each in measured) / weight
            for name in ("p50", "p95", "p99")
        }
        if weight
        else None
    )
    return {
        "time": samples[-1]["time"],
        "seconds": seconds,
        "pulled": pulled,
        "failed": sum(each["failed"] for each in samples),
        "rate": pulled / seconds if seconds else 0.0,
        "latency_ms": latency,
    }


def _when(moment: datetime) -> str:
    """As plotly reads a time: the run's own local time, whatever the reader's is."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def _ends(samples: Sequence[Mapping[str, Any]]) -> list[str]:
    return [_when(datetime.fromisoformat(sample["time"])) for sample in samples]


def _time_axis(findings: Findings) -> dict[str, Any]:
    span = findings.span
    return {
        "title": {"text": f"time ({span.begin.tzname() or 'local'})"},
        "type": "date",
        "range": [_when(span.begin), _when(span.at(max(span.seconds, 0.1)))],
    }


def _whole_numbers(most: int) -> dict[str, Any]:
    """Ticks for counts: plotly would put some between 1 and 2."""
    return {"tickformat": ",d", **({"tick0": 0, "dtick": 1} if most <= _COUNTED else {})}


def _logarithmic(least: float, most: float) -> dict[str, Any]:
    """Ticks at each digit of a decade where all is about one, at 1, 2 and 5 of a few, at 1 alone of many."""
    low, high = math.floor(math.log10(max(least, 1e-3))), math.ceil(math.log10(max(most, 1e-3)))
    digits: Sequence[int] = (1, 2, 5) if high - low <= _FEW_DECADES else (1,)
    if most <= 10 * least:
        digits = range(1, 10)
    ticks = [digit * 10.0**decade for decade in range(low, high + 1) for digit in digits]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}


def _rate(findings: Findings, samples: Sequence[Mapping[str, Any]]) -> Chart:
    title = "Rate and workers over time"
    if not samples:
        return Chart("rate", title, "The run ended before its first interval did.")
    begin = _when(findings.span.begin)
    rates = [round(sample["rate"], 3) for sample in samples]
    steps = findings.summary["steps"]
    starts = [0.0, *accumulate(step["seconds"] for step in steps)]
    workers = [step["workers"] for step in steps]
    data: list[Trace] = [
        {
            "name": "pulls/s",
            "x": [begin, *_ends(samples)],
            "y": [rates[0], *rates],
            "mode": "lines",
            "line": {"shape": "vh", "color": BLUE, "width": 2},
            "fill": "tozeroy",
            "hovertemplate": "%{y:.2f} pulls/s",
        }
    ]
    if steps:
        data.append(
            {
                "name": "workers",
                "x": [_when(findings.span.at(each)) for each in starts],
                "y": [*workers, workers[-1]],
                "yaxis": "y2",
                "mode": "lines",
                "line": {"shape": "hv", "color": ORANGE, "width": 2, "dash": "dot"},
                "hovertemplate": "%{y}",
            }
        )
    layout = {
        "xaxis": _time_axis(findings),
        "yaxis": {
            "title": {"text": "pulls/s"},
            "range": [0, _HEADROOM * max(*rates, 0.1)],
        },
        "yaxis2": {
            "title": {"text": "workers"},
            "overlaying": "y",
            "side": "right",
            "showgrid": False,
            "range": [0, _HEADROOM * max([1, *workers])],
            **_whole_numbers(max([1, *workers])),
        },
        "hovermode": "x unified",
    }
    note = "Successful pulls a second in each tally interval; workers as the ramp had them."
    return Chart("rate", title, note, data, layout)


def _latency(findings: Findings, samples: Sequence[Mapping[str, Any]]) -> Chart:
    title = "Latency over time"
    measured = [sample for sample in samples if sample["latency_ms"]]
    if not measured:
        return Chart("latency", title, "No pull succeeded, so there is no latency.")
    mode = "lines+markers" if len(measured) <= _MARKED else "lines"
    data: list[Trace] = []
    if findings.events is not None:
        for name, pulls, colour in _kinds(findings.events):
            if pulls.dots.items:
                dots = sorted(pulls.dots.items)
                data.append(
                    {
                        "name": f"{name} pulls",
                        "x": [_when(findings.span.at(at)) for at, _ in dots],
                        "y": [round(seconds * 1000, 2) for _, seconds in dots],
                        "mode": "markers",
                        "marker": {"color": colour, "size": 4, "opacity": 0.35},
                        "hovertemplate": "%{y:.1f} ms",
                    }
                )
    for name, colour in (("p50", GREEN), ("p95", PURPLE), ("p99", RED)):
        data.append(
            {
                "name": name,
                "x": _ends(samples),
                "y": [
                    round(sample["latency_ms"][name], 2) if sample["latency_ms"] else None
                    for sample in samples
                ],
                "mode": mode,
                "line": {"color": colour, "width": 2},
                "hovertemplate": "%{y:.1f} ms",
            }
        )
    values = [value for trace in data for value in trace["y"] if value is not None]
    log = max(values) > _LOG_RATIO * max(min(values), 0.01)
    axis = {
        "title": {"text": "ms"},
        **(_logarithmic(min(values), max(values)) if log else {"rangemode": "tozero"}),
    }
    note = "Percentiles of each tally interval, from a client's launch to its exit; successful pulls only."
    if len(samples) < len(findings.summary["samples"]):
        note += " Neighbouring intervals are put together, their percentiles averaged by pulls."
    if findings.events is not None:
        note += " Dots are single pulls, a random choice where there are many."
    layout = {"xaxis": _time_axis(findings), "yaxis": axis, "hovermode": "closest"}
    return Chart("latency", title, note, data, layout)


def _kinds(events: EventSeries) -> list[tuple[str, Pulls, str]]:
    return [("repeat", events.repeat, BLUE), ("first", events.first, ORANGE)]


def _distribution(findings: Findings) -> Chart:
    name, title = "distribution", "Latency distribution: first against repeat pulls"
    if findings.events is not None and any(pulls.dots.seen for _, pulls, _ in _kinds(findings.events)):
        return _histograms(name, title, findings.events)
    labels = ("min", "p50", "p90", "p95", "p99", "max")
    data: list[Trace] = []
    for kind, colour in (("first", ORANGE), ("repeat", BLUE)):
        latency = findings.summary[f"{kind}_latency_ms"]
        if latency:
            data.append(
                {
                    "type": "bar",
                    "name": f"{kind} pulls",
                    "x": labels,
                    "y": [round(latency[label], 2) for label in labels],
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
    return Chart(name, title, f"{_FIRST} With the events of the run this is a histogram.", data, layout)


_FIRST = "First: an image's first pull of the run or after its prune; repeat: every other."


def _histograms(name: str, title: str, events: EventSeries) -> Chart:
    used = [i for _, pulls, _ in _kinds(events) for i, count in enumerate(pulls.histogram) if count]
    bins = range(min(used) - 1, max(used) + 2)
    middles = [LEAST_SECONDS * 1000 * 10 ** ((i + 0.5) / BINS_PER_DECADE) for i in bins]
    data: list[Trace] = []
    for kind, pulls, colour in _kinds(events):
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
        "xaxis": {"title": {"text": "ms, logarithmic"}, **_logarithmic(middles[0], middles[-1])},
        "yaxis": {"title": {"text": "% of the pulls of its kind"}, "rangemode": "tozero"},
        "hovermode": "x unified",
    }
    return Chart(name, title, _FIRST, data, layout)


def _errors(findings: Findings, samples: Sequence[Mapping[str, Any]]) -> Chart:
    name, title = "errors", "Failed pulls over time"
    events = findings.events
    bars: list[Trace] = []
    note = "Failed pulls in each tally interval; with the events of the run they are shown by class."
    if events is not None and events.errors:
        middles = [_when(findings.span.at((i + 0.5) * events.bin_seconds)) for i in range(events.bins)]
        by_count = sorted(events.errors.items(), key=lambda item: (-sum(item[1]), item[0]))
        for place, (error_class, counts) in enumerate(by_count):
            bars.append(
                {
                    "name": html.escape(clean(error_class, 60)),
                    "x": middles,
                    "y": counts,
                    "width": events.bin_seconds * 1000,
                    "marker": {"color": _CLASS_COLOURS[place % len(_CLASS_COLOURS)]},
                }
            )
        note = f"By class, in intervals of {events.bin_seconds:.3g} s."
    elif events is None and any(sample["failed"] for sample in samples):
        ends = [datetime.fromisoformat(sample["time"]) for sample in samples]
        widths = [1000 * sample["seconds"] for sample in samples]
        bars.append(
            {
                "name": "failed",
                "x": [_when(end) for end in ends],
                "y": [sample["failed"] for sample in samples],
                "width": widths,
                "offset": [-width for width in widths],
                "marker": {"color": RED},
            }
        )
    if not bars:
        return Chart(name, title, "No pull failed.")
    most = max(map(sum, zip(*(bar["y"] for bar in bars), strict=True)))
    layout = {
        "barmode": "stack",
        "xaxis": _time_axis(findings),
        "yaxis": {"title": {"text": "failed pulls"}, "rangemode": "tozero", **_whole_numbers(most)},
        "hovermode": "closest",
        "showlegend": True,
    }
    shared: Trace = {"type": "bar", "hovertemplate": "%{y} %{fullData.name}<extra></extra>"}
    return Chart(name, title, note, [{**shared, **bar} for bar in bars], layout)


def _scalability(summary: Mapping[str, Any]) -> Chart:
    name, title = "scalability", "Throughput against workers"
    points = points_of(summary)
    if not any(point.rate > 0 for point in points):
        return Chart(name, title, "No step of the ramp has a throughput.")
    fitted = fit(points)
    directions = [
        (direction, symbol, colour)
        for direction, symbol, colour in (("up", "circle", BLUE), ("down", "diamond-open", ORANGE))
    ]
    data: list[Trace] = []
    for direction, symbol, colour in directions:
        shown = [
            point
            for point, step in zip(points, _steps_of(summary), strict=True)
            if step["direction"] == direction
        ]
        if shown:
            data.append(
                {
                    "name": f"steps {direction}",
                    "x": [point.workers for point in shown],
                    "y": [round(point.rate, 3) for point in shown],
                    "mode": "markers",
                    "marker": {"color": colour, "symbol": symbol, "size": 10, "line": {"width": 2}},
                    "hovertemplate": "%{x} workers: %{y:.2f} pulls/s",
                }
            )
    highest = _HEADROOM * max(point.rate for point in points)
    most = max(point.workers for point in points)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "workers"}, "range": [0, most + 0.5], **_whole_numbers(most)},
        "yaxis": {"title": {"text": "pulls/s"}, "range": [0, highest]},
        "hovermode": "closest",
    }
    if fitted is not None:
        data.extend(_curves(fitted, highest))
        if fitted.knee is not None:
            layout["shapes"] = [_upright(fitted.knee)]
            layout["annotations"] = [_label(fitted.knee, f"knee {fitted.knee:.1f}")]
    return Chart(name, title, _reading(fitted, points, summary), data, layout)


def _steps_of(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps that `points_of` takes."""
    steps = summary["steps"][:-1] if summary["interrupted"] else summary["steps"]
    return [each for each in steps if each["seconds"] > 0 and each["workers"] > 0]


def _curves(fitted: Fit, highest: float) -> list[Trace]:
    """The fitted law, and what perfect scaling would be as far as it stays in the picture."""
    at = [fitted.most * i / _CURVE_POINTS for i in range(_CURVE_POINTS + 1)]
    end = min(fitted.most, highest / fitted.unhindered)
    return [
        {
            "name": "fitted law",
            "x": [round(n, 3) for n in at],
            "y": [round(fitted.rate(n), 3) for n in at],
            "mode": "lines",
            "line": {"color": GREEN, "width": 2.5},
            "hovertemplate": "%{x:.1f} workers: %{y:.2f} pulls/s",
        },
        {
            "name": "perfect scaling",
            "x": [0, round(end, 3)],
            "y": [0, round(fitted.unhindered * end, 3)],
            "mode": "lines",
            "line": {"color": GREY, "width": 1.5, "dash": "dot"},
            "hoverinfo": "skip",
        },
    ]


def _upright(at: float) -> dict[str, Any]:
    line = {"color": RED, "width": 1.5, "dash": "dash"}
    return {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def _label(at: float, text: str) -> dict[str, Any]:
    return {
        "x": at, "y": 0.02, "yref": "paper", "xanchor": "left", "yanchor": "bottom", "text": text,
        "showarrow": False, "xshift": 4,
    }  # fmt: skip


def _reading(fitted: Fit | None, points: Sequence[Point], summary: Mapping[str, Any]) -> str:
    """The fit in words."""
    if fitted is None:
        different = len({point.workers for point in points})
        return (
            f"Too few points for a fit: {different} different number{'s' if different != 1 else ''} of workers, "
            f"and the Universal Scalability Law needs {LEAST_DIFFERENT}. Give the ramp more workers."
        )
    words = [
        f"Universal Scalability Law (Gunther): X(N) = λN / (1 + σ(N−1) + κN(N−1)), with λ = {fitted.lam:.3g} pulls/s, "
        f"σ = {fitted.sigma:.3g} (contention), κ = {fitted.kappa:.3g} (coherency), R² = {fitted.r_squared:.3f}, "
        f"from {len(points)} steps."
    ]
    if fitted.knee is None:
        words.append(f"No knee: the rate still grew with the last of {fitted.most} workers.")
    else:
        words.append(
            f"Knee: about {fitted.knee:.1f} workers, where perfect scaling would meet the plateau of "
            f"{fitted.plateau:.3g} pulls/s; workers beyond it mostly wait."
        )
    peak = fitted.peak
    if peak is None:
        words.append("The curve has no peak (κ = 0).")
    elif peak > fitted.most:
        words.append("Its peak, N* = √((1−σ)/κ), lies beyond what was measured.")
    else:
        words.append(f"Peak: N* = √((1−σ)/κ) = {peak:.1f} workers.")
    if fitted.r_squared < 0.8:
        words.append("The fit is poor: take knee and peak with caution, or make the steps longer.")
    if summary.get("limited_by") == "client":
        words.append("Driver and clients used nearly all of this machine's CPU: the limit may be theirs.")
    return " ".join(words)
