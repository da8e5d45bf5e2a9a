"""A chart as plotly's data and layout. The page's script sets the colours that depend on the theme."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..clean import clean

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#4c8bd6", "#e0862f", "#35a37a", "#d9534f", "#9b6fc9", "#8a8f98"
# The top of an axis, as a multiple of the highest value.
HEADROOM = 1.08
# A chart shows at most this many intervals. The intervals of a longer run are merged.
MOST_POINTS = 500
# An axis is logarithmic if the highest value is more than this many times the lowest.
_LOG_RATIO = 25
# Up to this count, each whole number has a tick. Up to this many decades, each decade has three ticks.
_COUNTED, _FEW_DECADES = 12, 4

Trace = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart and its `note`, which explains it. If there is nothing to draw, `data` is empty and `note` says why.

    `folded` is a longer explanation, such as formulas. The reader unfolds it.
    """

    name: str
    title: str
    note: str
    data: list[Trace] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)
    folded: str = ""


def label(text: object, longest: int = 60) -> str:
    """Returns text from outside as a safe name in a chart. Plotly would read `<b>` as markup."""
    return html.escape(clean(str(text), longest), quote=False)


def whole_numbers(most: int) -> dict[str, Any]:
    """Returns axis settings with ticks at whole numbers only. By itself, plotly adds ticks between 1 and 2.

    An axis that lies over another one would get its ticks at the same heights, at any numbers.
    """
    return {"tickformat": ",d", **({"tick0": 0, "dtick": 1} if most <= _COUNTED else {"tickmode": "auto"})}


def milliseconds(values: Sequence[float]) -> dict[str, Any]:
    """Returns the axis settings of latencies: from zero, or logarithmic if the latencies are far apart."""
    if max(values) > _LOG_RATIO * max(min(values), 0.01):
        return logarithmic(min(values), max(values))
    return {"rangemode": "tozero"}


def logarithmic(least: float, most: float) -> dict[str, Any]:
    """Returns a logarithmic axis from `least` to `most`.

    Ticks are at 1 to 9 within one decade, at 1, 2 and 5 for a few decades, and at 1 for many.
    """
    low, high = math.floor(math.log10(max(least, 1e-3))), math.ceil(math.log10(max(most, 1e-3)))
    digits: Sequence[int] = (1, 2, 5) if high - low <= _FEW_DECADES else (1,)
    if most <= 10 * least:
        digits = range(1, 10)
    ticks = [digit * 10.0**decade for decade in range(low, high + 1) for digit in digits]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}
