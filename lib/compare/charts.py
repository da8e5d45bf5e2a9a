"""Charts of all runs together: rate over time, rate and latency by workers, failed pulls by class."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ..latency import SHOWN_PERCENTILES
from ..pages.chart import HEADROOM, MOST_POINTS, Chart, Trace, label, milliseconds, whole_numbers
from .recorded_run import Interval, Recorded, Span
from .run_styles import Side, letter

# The axis of each percentile, from the top panel to the bottom.
_PANELS = {name: f"y{place}" if place > 1 else "y" for place, name in enumerate(SHOWN_PERCENTILES, 1)}
# A shorter step or interval, in seconds, is too short for a rate.
_LEAST_SECONDS = 0.001
# A ramp of more seconds than this has an axis in minutes.
_LONG = 600.0
_MOST_CLASSES = 20
# Heights in pixels: of a bar, between two classes, and around all of them.
_BAR, _GAP, _AROUND = 18, 14, 140
_REST = "other classes"
_PAIR = 2


def charts(sides: Sequence[Side]) -> list[Chart]:
    """Returns the charts in the page's order. A chart with nothing to draw has a note that says why."""
    several = [runs_chart(sides)] if len(sides) > _PAIR else []
    if all(side.run.summary.has_one_step for side in sides):
        return [
            *several,
            _rate(sides),
            _errors(sides),
        ]  # one step says nothing about other numbers of workers
    return [*several, _rate(sides), _rate_by_workers(sides), _latency_by_workers(sides), _errors(sides)]


def runs_chart(sides: Sequence[Side]) -> Chart:
    """Draws the rate and the p95 of each run, so that outliers show and groups can be told apart."""
    name, title = "runs", "Rate and p95 of each run"
    groups: dict[int, list[Side]] = {}
    for side in sides:
        groups.setdefault(side.place, []).append(side)
    data = [
        trace
        for place, group in groups.items()
        for axis, quantity in (("y", "rate"), ("y2", "p95"))
        if (trace := _dots(place, group, axis, quantity))
    ]
    if not data:
        return Chart(name, title, "No run pulled anything.")
    names = [label(side.letter) for side in sides]
    layout: dict[str, Any] = {
        "height": 460,
        "xaxis": {"type": "category", "categoryorder": "array", "categoryarray": names, "anchor": "y2"},
        "yaxis": {"title": {"text": "pulls/s"}, "rangemode": "tozero", "domain": [0.54, 1]},
        "yaxis2": {"title": {"text": "p95, ms"}, "rangemode": "tozero", "domain": [0, 0.46]},
        "hovermode": "closest",
        "showlegend": False,
    }
    note = "One point per run."
    if any(side.number for side in sides):
        note += " The closer the runs of a version are to each other, the smaller a change the comparison can show."
    return Chart(name, title, note, data=data, layout=layout)


def _dots(place: int, group: Sequence[Side], axis: str, quantity: str) -> Trace:
    """Returns the points of a group of runs; nothing if no run of it has the quantity."""
    shown = [(side, value) for side in group if (value := _figure(side.run, quantity)) is not None]
    unit = "pulls/s" if quantity == "rate" else "ms"
    if not shown:
        return {}
    return {
        "name": f"{letter(place)}, {quantity}",
        "x": [label(side.letter) for side, _ in shown],
        "y": [round(value, 3) for _, value in shown],
        "yaxis": axis,
        "mode": "markers",
        "marker": {"size": 11, "color": group[0].colour, "symbol": [side.symbol for side, _ in shown]},
        "text": [side.name for side, _ in shown],
        "hovertemplate": f"%{{text}}: %{{y:.2f}} {unit}<extra></extra>",
    }


def _figure(run: Recorded, quantity: str) -> float | None:
    if quantity == "rate":
        return run.summary.rate if run.summary.pulled else None
    return run.summary.latency_ms.p95 if run.summary.latency_ms else None


def _rate(sides: Sequence[Side]) -> Chart:
    name, title = "rate", "Rate over time"
    drawn = [(side, intervals) for side in sides if (intervals := _merged(side.run.intervals))]
    if not drawn:
        return Chart(name, title, "No run has a tally interval.")
    longest = max(intervals[-1].end for _, intervals in drawn)
    unit, seconds = ("minutes", 60.0) if longest > _LONG else ("seconds", 1.0)
    data = [_rate_of(side, intervals, seconds) for side, intervals in drawn]
    constant = [side for side, _ in drawn if side.run.summary.is_constant]
    data += [_mean_of(side, seconds) for side in constant]
    highest = max(value for trace in data for value in trace["y"])
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": f"{unit} since the load began"}, "range": [0, longest / seconds]},
        "yaxis": {"title": {"text": "pulls/s"}, "range": [0, HEADROOM * (highest or 1.0)]},
        "hovermode": "closest",
        "showlegend": True,
    }
    note = "Successful pulls per second in each tally interval. Each load begins at zero."
    if constant:
        layout["shapes"] = [band for side in constant for band in _bands(side)]
        note += " Straight lines: the mean of a constant load. Bands: its 95 % confidence interval."
    return Chart(name, title, note, data=data, layout=layout)


def _rate_of(side: Side, intervals: Sequence[Interval], unit: float) -> Trace:
    rates = [round(each.pulled / (each.end - each.start), 3) for each in intervals]
    workers = [_workers_at(side.run, (each.start + each.end) / 2) for each in intervals]
    return {
        "name": side.name,
        "x": [0.0, *(round(each.end / unit, 4) for each in intervals)],
        "y": [rates[0], *rates],
        "customdata": [workers[0], *workers],
        "mode": "lines",
        "line": {"shape": "vh", "color": side.colour, "width": 2, "dash": side.dash},
        "hovertemplate": "%{y:.2f} pulls/s, workers %{customdata}",
    }


def _mean_of(side: Side, unit: float) -> Trace:
    (whole,) = side.run.summary.steps
    return {
        "name": f"{side.name}, mean",
        "x": [0.0, round(whole.seconds / unit, 4)],
        "y": [round(side.run.summary.rate, 3)] * 2,
        "mode": "lines",
        "line": {"color": side.colour, "width": 1.5, "dash": "dashdot"},
        "hovertemplate": "%{y:.2f} pulls/s on average",
    }


def _bands(side: Side) -> Iterator[dict[str, Any]]:
    """Yields the confidence interval of the mean as a band, if it is known."""
    (whole,) = side.run.summary.steps
    if whole.low is not None and whole.high is not None:
        yield {
            "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "y0": whole.low, "y1": whole.high,
            "fillcolor": side.colour, "opacity": 0.12, "line": {"width": 0}, "layer": "below",
        }  # fmt: skip


def _merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Merges neighbouring intervals into at most MOST_POINTS, each with a rate. The result has no latencies."""
    size = max(1, -(-len(intervals) // MOST_POINTS))
    groups = [intervals[start : start + size] for start in range(0, len(intervals), size)]
    return [_together(group) for group in groups if group[-1].end - group[0].start >= _LEAST_SECONDS]


def _together(group: Sequence[Interval]) -> Interval:
    pulled, failed = sum(each.pulled for each in group), sum(each.failed for each in group)
    return Interval(
        start=group[0].start,
        end=group[-1].end,
        pulled=pulled,
        failed=failed,
        latency=None,
        errors={},
        retried=None,
    )


def _workers_at(run: Recorded, seconds: float) -> int:
    place = bisect_right([step.start for step in run.steps], seconds)
    return run.steps[place - 1].workers if place else 0


def _steps(run: Recorded, direction: str) -> list[Span]:
    """Returns the steps that have a rate. Leaves out a last step that was interrupted."""
    steps = run.steps[:-1] if run.interrupted else run.steps
    return [
        each
        for each in steps
        if each.direction == direction and each.workers and each.end - each.start >= _LEAST_SECONDS
    ]


def _rate_by_workers(sides: Sequence[Side]) -> Chart:
    name, title = "rate-by-workers", "Rate by workers"
    data = [
        {
            **_look(side, direction, steps),
            "y": [round(each.pulled / (each.end - each.start), 3) for each in steps],
            "hovertemplate": "%{x} workers: %{y:.2f} pulls/s",
        }
        for side, direction, steps in _directions(sides)
    ]
    if not data:
        return Chart(name, title, "No run has a complete step.")
    layout = {
        "xaxis": _workers_axis(data),
        "yaxis": {"title": {"text": "pulls/s"}, "rangemode": "tozero"},
        "hovermode": "closest",
        "showlegend": True,
    }
    return Chart(name, title, _STEPS, data=data, layout=layout)


_STEPS = "One point per step. Filled: the number of workers rises or stays. Hollow and thin: it falls."


def _directions(sides: Sequence[Side]) -> Iterator[tuple[Side, str, list[Span]]]:
    for side in sides:
        for direction in ("up", "hold", "down"):
            steps = _steps(side.run, direction)
            if steps:
                yield side, direction, steps


def _look(side: Side, direction: str, steps: Sequence[Span]) -> Trace:
    down = direction == "down"
    return {
        "name": f"{side.name}, {direction}",
        "x": [each.workers for each in steps],
        "mode": "lines+markers",
        "line": {"color": side.colour, "width": 1 if down else 2.5, "dash": side.dash},
        "marker": {"symbol": f"{side.symbol}-open" if down else side.symbol, "size": 9},
    }


def _workers_axis(data: Sequence[Trace]) -> dict[str, Any]:
    most = max(workers for trace in data for workers in trace["x"])
    return {"title": {"text": "workers"}, "range": [0, most + 0.5], **whole_numbers(most)}


def _latency_by_workers(sides: Sequence[Side]) -> Chart:
    """Draws a panel for each percentile, one below the other. Short steps may have no high percentiles."""
    name, title = "latency-by-workers", "Latency by workers"
    data = [
        trace
        for percentile in _PANELS
        for side, direction, steps in _directions(sides)
        for trace in _percentile(side, direction, steps, percentile)
    ]
    if not data:
        return Chart(name, title, "No step has a latency.")
    drawn = {trace["yaxis"] for trace in data}
    panels = {percentile: axis for percentile, axis in _PANELS.items() if axis in drawn}
    layout: dict[str, Any] = {
        "height": 760,
        "xaxis": {**_workers_axis(data), "anchor": list(panels.values())[-1]},
        "hovermode": "closest",
        "showlegend": True,
    }
    count = len(panels)
    for place, (percentile, axis) in enumerate(panels.items()):
        values = [value for trace in data if trace["yaxis"] == axis for value in trace["y"]]
        layout[axis.replace("y", "yaxis")] = {
            "title": {"text": f"{percentile}, ms"},
            "domain": [(count - 1 - place) / count + 0.02, (count - place) / count - 0.02],
            **milliseconds(values),
        }
    return Chart(name, title, f"{_STEPS} Only successful pulls count.", data=data, layout=layout)


def _percentile(side: Side, direction: str, steps: Sequence[Span], percentile: str) -> Iterator[Trace]:
    measured = [each for each in steps if each.latency and each.latency.value(percentile) is not None]
    if measured:
        yield {
            **_look(side, direction, measured),
            "y": [round(each.latency.value(percentile) or 0.0, 2) for each in measured if each.latency],
            "yaxis": _PANELS[percentile],
            "legendgroup": f"{side.letter} {direction}",
            "showlegend": percentile == SHOWN_PERCENTILES[0],
            "hovertemplate": f"{percentile} with %{{x}} workers: %{{y:.1f}} ms",
        }


def _errors(sides: Sequence[Side]) -> Chart:
    name, title = "errors", "Failed pulls by class"
    counts = {side.letter: _by_class(side.run) for side in sides}
    total = sum(counts.values(), Counter[str]())
    if not total:
        return Chart(name, title, "No pull failed in any run.")
    names = [each for each, _ in total.most_common(_MOST_CLASSES)]
    rest = [each for each in total if each not in names]
    for count in counts.values():
        count[_REST] = sum(count[each] for each in rest)
    shown = [*names, _REST] if rest else names
    layout = {
        "barmode": "group",
        "height": _AROUND + len(shown) * (_GAP + _BAR * len(sides)),
        "xaxis": {"title": {"text": "% of the run's pulls"}, "rangemode": "tozero"},
        "yaxis": {
            "tickvals": list(range(len(shown))),
            "ticktext": [label(each, 40) for each in shown],
            "range": [len(shown) - 0.5, -0.5],
        },
        "hovermode": "closest",
        "showlegend": True,
    }
    data = [_bars(side, [counts[side.letter][each] for each in shown]) for side in sides]
    return Chart(
        name,
        title,
        "The share of each run's pulls that failed, by error class.",
        data=data,
        layout=layout,
    )


def _by_class(run: Recorded) -> Counter[str]:
    return Counter(run.summary.errors)


def _bars(side: Side, counts: Sequence[int]) -> Trace:
    return {
        "type": "bar",
        "orientation": "h",
        "name": side.name,
        "x": [round(100 * count / (side.run.ended or 1), 4) for count in counts],
        "y": list(range(len(counts))),
        "customdata": [f"{count:,} of {side.run.ended:,}" for count in counts],
        "marker": {"color": side.colour, "pattern": {"shape": side.pattern, "fillmode": "overlay"}},
        "hovertemplate": "%{customdata} pulls, %{x:.2f} %",
    }
