"""Shaded spans of the charts over time: outages, and the intervals in which this machine was the limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from ..pages.chart import GREY, RED
from ..results.outage import outages
from ..results.sample import Sample
from .ramp_time import Span
from .run_data import Findings
from .timeline import ends, when

# What the marks mean, for the note of a chart.
OUTAGES: Final = "Red: no pull succeeded."
LIMITED: Final = "Grey: this machine was the limit."
A_HOST_LIMITED: Final = "Grey: a host was the limit."


def marks(findings: Findings, samples: Sequence[Sample]) -> tuple[list[dict[str, Any]], str]:
    """Returns the shapes of a chart over time, and the sentences that explain them."""
    out = [_shaded(when(each.begin), when(each.end), RED) for each in outages(findings.summary.samples)]
    limited = list(_limited(findings.span, samples))
    which = A_HOST_LIMITED if findings.summary.has_hosts else LIMITED
    told = [*([OUTAGES] if out else []), *([which] if limited else [])]
    return [*out, *limited], "".join(f" {each}" for each in told)


def _limited(span: Span, samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """Yields a shaded area for each run of neighbouring intervals in which this machine was the limit."""
    starts = [when(span.begin), *ends(samples)]
    for limited, group in groupby(enumerate(samples), lambda each: bool(each[1].limited_by)):
        if limited:
            places = [place for place, _ in group]
            yield _shaded(starts[places[0]], starts[places[-1] + 1], GREY)


def _shaded(begin: str, end: str, colour: str) -> dict[str, Any]:
    return {
        "type": "rect", "x0": begin, "x1": end, "y0": 0, "y1": 1, "yref": "paper", "fillcolor": colour,
        "opacity": 0.15, "line": {"width": 0}, "layer": "below",
    }  # fmt: skip
