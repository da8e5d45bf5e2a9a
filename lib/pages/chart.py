"""A chart as plotly's data and layout; colours that depend on the page's theme are set by the page."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..clean import clean

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#4c8bd6", "#e0862f", "#35a37a", "#d9534f", "#9b6fc9", "#8a8f98"
# Room above the highest point.
HEADROOM = 1.08
# A longer run's intervals are put together to so many.
MOST_POINTS = 800
# From this ratio of the highest value to the lowest an axis is logarithmic.
_LOG_RATIO = 25
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


def label(text: object, longest: int = 60) -> str:
    """Text from outside as a name in a chart, where plotly would take `<b>` for markup."""
    return html.escape(clean(str(text), longest), quote=False)


def whole_numbers(most: int) -> dict[str, Any]:
    """Ticks for counts: plotly would put some between 1 and 2."""
    return {"tickformat": ",d", **({"tick0": 0, "dtick": 1} if most <= _COUNTED else {})}


def milliseconds(values: Sequence[float]) -> dict[str, Any]:
    """From zero, or logarithmic where the latencies are far apart."""
    if max(values) > _LOG_RATIO * max(min(values), 0.01):
        return logarithmic(min(values), max(values))
    return {"rangemode": "tozero"}


def logarithmic(least: float, most: float) -> dict[str, Any]:
    """Ticks at each digit of a decade where all is about one, at 1, 2 and 5 of a few, at 1 alone of many."""
    low, high = math.floor(math.log10(max(least, 1e-3))), math.ceil(math.log10(max(most, 1e-3)))
    digits: Sequence[int] = (1, 2, 5) if high - low <= _FEW_DECADES else (1,)
    if most <= 10 * least:
        digits = range(1, 10)
    ticks = [digit * 10.0**decade for decade in range(low, high + 1) for digit in digits]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}
