"""Forest plots: the changes of a pair of runs with their confidence intervals, a row for each quantity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

from ..pages.chart import BLUE, GREEN, GREY, RED, Chart, Trace, label
from . import wording
from .comparison import Told
from .quantities import FASTER, FEWER, INCONCLUSIVE, MORE, SAME, SLOWER, Margins, Quantity

# Each verdict has its own shape, so that it can be seen without colours.
_LOOKS: Sequence[tuple[str, str, str]] = (
    (FASTER, "triangle-up", GREEN),
    (FEWER, "triangle-up", GREEN),
    (SLOWER, "triangle-down", RED),
    (MORE, "triangle-down", RED),
    (SAME, "circle", BLUE),
    (INCONCLUSIVE, "x-thin-open", GREY),
)
# A larger change, as a fraction, would squeeze the others. The axis is then logarithmic and shows ratios.
_FAR = 3.0
_RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000, 10_000, 100_000)
# Free space at both ends of the axis, as a share of it; pixels of a row, and around all rows.
_PADDING, _ROW, _AROUND = 0.06, 26, 140


@dataclass(frozen=True, slots=True)
class _Scale:
    """Converts changes (fractions) to places on the axis: per cent, or ratios on a logarithmic axis."""

    ratios: bool

    def __call__(self, change: float) -> float:
        return max(1 + change, _RATIOS[0]) if self.ratios else 100 * change

    def axis(self, changes: Sequence[float]) -> dict[str, Any]:
        places = [log10(self(each)) if self.ratios else self(each) for each in changes]
        room = _PADDING * (max(places) - min(places) or 1.0)
        axis: dict[str, Any] = {"range": [min(places) - room, max(places) + room], "zeroline": False}
        if not self.ratios:
            return axis
        ticks = [f"{100 * (ratio - 1):+,.0f}" if ratio != 1 else "0" for ratio in _RATIOS]
        return {**axis, "type": "log", "tickvals": list(_RATIOS), "ticktext": ticks}


def forest(told: Told, letter: str, margins: Margins) -> Chart:
    """Draws the changes of rate and latencies, of the side with this letter. The margin is shown as a band."""
    name, title, margin = (
        f"change-{letter}",
        f"Change of rate and latency, {letter} against A",
        margins.relative,
    )
    shown = [each for each in told.comparison.quantities if not each.is_share and each.change is not None]
    if not shown:
        return Chart(name, title, "The runs have neither a rate nor a latency in common.")
    changes = [-margin, 0.0, margin, *_ends(shown)]
    scale = _Scale(max(changes) > _FAR)
    layout = _layout(shown, "change in %, with its 95 % interval", scale.axis(changes))
    layout["shapes"] = [_band(scale(-margin), scale(margin)), _line(scale(0.0))]
    note = (
        f"Left of the line: less. Right of it: more. The grey band is the margin of ±{100 * margin:g} %. If the whole "
        "interval is beyond the band, the verdict is faster or slower. If it is inside, the verdict is same."
    )
    if scale.ratios:
        note += " The axis is logarithmic, because some changes are large."
    return Chart(name, title, note, data=list(_by_verdict(shown, scale)), layout=layout)


def forest_of_errors(told: Told, letter: str, margins: Margins) -> Chart:
    """Draws the changes of failures and retries per pull, in percentage points."""
    name, title, margin = f"errors-{letter}", f"Change of failed pulls, {letter} against A", margins.share
    shown = [each for each in told.comparison.quantities if each.is_share and each.change is not None]
    if not shown:
        return Chart(name, title, "In one of the runs, no pull ended.")
    if not any(each.a or each.b for each in shown):
        return Chart(name, title, "No pull failed in either run.")
    scale = _Scale(False)
    layout = _layout(
        shown,
        "change in percentage points, with its 95 % interval",
        scale.axis([-margin, 0.0, margin, *_ends(shown)]),
    )
    layout["shapes"] = [_band(scale(-margin), scale(margin)), _line(0.0)]
    note = (
        "The share of all pulls that failed, and retries per pull. Left of the line: fewer. Right of it: more. The "
        f"grey band is the margin of ±{100 * margin:g} percentage points. If the whole interval is beyond the band, "
        "the verdict is more or fewer. If it is inside, the verdict is same."
    )
    return Chart(name, title, note, data=list(_by_verdict(shown, scale)), layout=layout)


def _ends(quantities: Sequence[Quantity]) -> list[float]:
    return [value for each in quantities for value in (each.change, each.low, each.high) if value is not None]


def _by_verdict(quantities: Sequence[Quantity], scale: _Scale) -> Iterator[Trace]:
    """Yields a trace for each verdict that occurs. The legend names the verdicts."""
    for verdict, symbol, colour in _LOOKS:
        rows = [(row, each) for row, each in enumerate(quantities) if each.verdict == verdict]
        if rows:
            yield {
                "name": verdict,
                "x": [scale(each.change or 0.0) for _, each in rows],
                "y": [row for row, _ in rows],
                "mode": "markers",
                "marker": {
                    "symbol": symbol, "color": colour, "size": 12, "line": {"color": colour, "width": 2},
                },
                **_intervals([each for _, each in rows], scale, colour),
                "customdata": [_told(each) for _, each in rows],
                "hovertemplate": "%{customdata}<extra></extra>",
            }  # fmt: skip


def _intervals(quantities: Sequence[Quantity], scale: _Scale, colour: str) -> dict[str, Any]:
    """Returns the error bars: none if no quantity has an interval, of no length for one that has none."""
    if all(each.low is None for each in quantities):
        return {}
    reach = [
        (0.0, 0.0)
        if each.change is None or each.low is None or each.high is None
        else (scale(each.high) - scale(each.change), scale(each.change) - scale(each.low))
        for each in quantities
    ]
    bars = {"array": [right for right, _ in reach], "arrayminus": [left for _, left in reach]}
    look = {"color": colour, "thickness": 2, "width": 5}
    return {"error_x": {"type": "data", "symmetric": False, **bars, **look}}


def _told(quantity: Quantity) -> str:
    told = f"{label(quantity.name)}: {wording.change(quantity, quantity.change)}"
    return told if quantity.low is None else f"{told}<br>{wording.interval(quantity)}"


def _layout(quantities: Sequence[Quantity], title: str, axis: dict[str, Any]) -> dict[str, Any]:
    count = len(quantities)
    return {
        "height": _AROUND + _ROW * count,
        "xaxis": {"title": {"text": title}, **axis},
        "yaxis": {
            "tickvals": list(range(count)),
            "ticktext": [label(each.name, 40) for each in quantities],
            "range": [count - 0.5, -0.5],
            "zeroline": False,
        },
        "hovermode": "closest",
        "showlegend": True,
    }


def _line(at: float) -> dict[str, Any]:
    line = {"width": 1.5}
    return {
        "type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper", "line": line, "layer": "above",
    }  # fmt: skip


def _band(low: float, high: float) -> dict[str, Any]:
    return {
        "type": "rect", "x0": low, "x1": high, "y0": 0, "y1": 1, "yref": "paper", "line": {"width": 0},
        "fillcolor": GREY, "opacity": 0.2, "layer": "below",
    }  # fmt: skip
