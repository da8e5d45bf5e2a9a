"""Marks of the charts over time: outages, the intervals in which this machine was the limit, and losses of hosts."""

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
LOST: Final = "Dashed red: a host was lost."
# At most this many losses have a line; hosts that are lost at the same time share one.
_MOST_LOSSES: Final = 20


def marks(findings: Findings, samples: Sequence[Sample]) -> tuple[list[dict[str, Any]], str]:
    """Returns the shapes of a chart over time, and the sentences that explain them."""
    out = [_shaded(when(each.begin), when(each.end), RED) for each in outages(findings.summary.samples)]
    limited = list(_limited(findings.span, samples))
    which = A_HOST_LIMITED if findings.summary.has_hosts else LIMITED
    lost = list(_losses(findings))
    told = [*([OUTAGES] if out else []), *([which] if limited else []), *([LOST] if lost else [])]
    return [*out, *limited, *lost], "".join(f" {each}" for each in told)


def _losses(findings: Findings) -> Iterator[dict[str, Any]]:
    """Yields a line where hosts were lost: for each second, at the loss of the first one."""
    first: dict[int, float] = {}
    for at in sorted(lost.at for _, lost in findings.summary.lost_hosts):
        first.setdefault(int(at), at)
    for second in list(first.values())[:_MOST_LOSSES]:
        moment = when(findings.span.at(min(second, findings.span.seconds)))
        yield {
            "type": "line", "x0": moment, "x1": moment, "y0": 0, "y1": 1, "yref": "paper",
            "line": {"color": RED, "width": 1.5, "dash": "dash"},
        }  # fmt: skip


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
