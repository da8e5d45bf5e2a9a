"""The chart of latency by the number of workers, or by the offered rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..latency import SHOWN_PERCENTILES
from ..load.plan import DOWN, HOLD, UP
from ..pages.chart import GREEN, PURPLE, RED, Chart, Trace, milliseconds, whole_numbers
from ..results.scalability import steps_of
from ..results.summary import Step, Summary

_COLOURS: Final = (GREEN, PURPLE, RED)
_SYMBOLS: Final = {UP: "circle", HOLD: "square", DOWN: "diamond-open"}


def latency_by_load(summary: Summary) -> Chart:
    """Draws the percentiles of each step against its workers; with a schedule, against its offered rate."""
    offered = summary.is_scheduled
    name = "latency-by-load"
    title = f"Latency by {'offered rate' if offered else 'number of workers'}"
    if summary.settings.get("passes"):
        return Chart(
            name,
            title,
            "With fixed work (--passes), workers end at different times, so no step has a known number of workers.",
        )
    steps = [each for each in steps_of(summary) if each.latency_ms is not None]
    if not steps:
        return Chart(name, title, "No step has a successful pull.")
    data = [trace for place in range(len(_COLOURS)) for trace in _percentile(steps, place, offered)]
    most = max(_load(each, offered) for each in steps)
    axis = {"text": "offered pulls/s" if offered else "workers"}
    return Chart(
        name,
        title,
        "Percentiles of each step. Circles: the load rises. Squares: it stays. Open diamonds: it falls. A p95 needs 20 "
        "pulls in a step, and a p99 needs 100.",
        data=data,
        layout={
            "xaxis": {"title": axis, "range": [0, most * 1.05], **({} if offered else whole_numbers(int(most)))},
            "yaxis": {
                "title": {"text": "ms"}, **milliseconds([value for trace in data for value in trace["y"]])
            },
            "hovermode": "closest",
        },
    )  # fmt: skip


def _load(step: Step, offered: bool) -> float:
    return (step.offered or 0.0) if offered else step.workers


def _percentile(steps: Sequence[Step], place: int, offered: bool) -> list[Trace]:
    name = SHOWN_PERCENTILES[place]
    shown = [
        (_load(each, offered), value, each.direction)
        for each in steps
        if each.latency_ms is not None and (value := each.latency_ms.value(name)) is not None
    ]
    if not shown:
        return []
    unit = "offered" if offered else "workers"
    return [
        {
            "name": name,
            "x": [round(load, 3) for load, _, _ in shown],
            "y": [round(value, 2) for _, value, _ in shown],
            "mode": "markers",
            "marker": {
                "color": _COLOURS[place],
                "symbol": [_SYMBOLS.get(direction, "circle") for _, _, direction in shown],
                "size": 9,
            },
            "hovertemplate": f"%{{x}} {unit}: %{{y:.1f}} ms",
        }
    ]
