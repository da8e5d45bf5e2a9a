"""The chart of the rate of each host over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..pages.chart import BLUE, GREEN, GREY, HEADROOM, MOST_POINTS, ORANGE, PURPLE, RED, Chart, Trace, label
from ..results.summary import HostCounts
from .marks import marks
from .run_data import Findings
from .timeline import ends, merged, time_axis, when

# With more hosts, the chart has the band alone: their lines would hide each other.
_MOST_LINES: Final = 20
# With more lines, their names are only shown where the reader points at them.
_MOST_NAMES: Final = 6
_COLOURS: Final = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY)
_BAND: Final = "rgba(76, 139, 214, 0.2)"

Rates = Sequence[float | None]


def host_rates(findings: Findings) -> Iterator[Chart]:
    """Yields the chart of a load on several hosts: a band from the slowest host to the fastest, and their lines."""
    hosts, samples = findings.summary.of_hosts, findings.summary.samples
    if len(hosts) < 2 or not samples or not any(host.rates for host in hosts):
        return
    drawn = merged(samples)
    seconds = [each.seconds for each in samples]
    rates = [_grouped(host.rates, seconds) for host in hosts]
    at = [when(findings.span.begin), *ends(drawn)]
    few = len(hosts) <= _MOST_LINES
    data = [*_band(at, rates), *(_lines(at, hosts, rates) if few else [])]
    most = max((value for each in rates for value in each if value is not None), default=0.0)
    shapes, told = marks(findings, drawn)
    layout: dict[str, Any] = {
        "xaxis": time_axis(findings.span),
        "yaxis": {"title": {"text": "pulls/s"}, "range": [0, HEADROOM * (most or 1.0)]},
        "hovermode": "x unified",
        "shapes": shapes,
    }
    lines = "Lines: each host." if few else "The table of the hosts has the rate of each."
    note = (
        "Successful pulls per second of a host in each tally interval. Coloured band: from the slowest host to the "
        f"fastest. {lines}{told}"
    )
    yield Chart("host-rates", "Rate of the hosts over time", note, data=data, layout=layout)


def _grouped(rates: Rates, seconds: Sequence[float]) -> list[float | None]:
    """Returns the rates of a host in as many intervals as the charts show: the mean of those that are merged."""
    size = max(1, -(-len(seconds) // MOST_POINTS))
    known = [*rates, *([None] * len(seconds))]
    return [
        _mean(known[start : start + size], seconds[start : start + size])
        for start in range(0, len(seconds), size)
    ]


def _mean(rates: Rates, seconds: Sequence[float]) -> float | None:
    known = [(rate, length) for rate, length in zip(rates, seconds, strict=False) if rate is not None]
    whole = sum(length for _, length in known)
    return round(sum(rate * length for rate, length in known) / whole, 3) if whole > 0 else None


def _band(at: Sequence[str], rates: Sequence[Rates]) -> Iterator[Trace]:
    """Yields the two edges of the band. An interval that no host reported has none."""
    by_interval = [[rate for rate in found if rate is not None] for found in zip(*rates, strict=True)]
    slowest = [min(each, default=None) for each in by_interval]
    fastest = [max(each, default=None) for each in by_interval]
    yield {**_line(at, slowest, "slowest host", BLUE), "showlegend": False}
    yield {
        **_line(at, fastest, "fastest host", BLUE),
        "showlegend": False,
        "fill": "tonexty",
        "fillcolor": _BAND,
    }


def _lines(at: Sequence[str], hosts: Sequence[HostCounts], rates: Sequence[Rates]) -> Iterator[Trace]:
    """Yields the line of each host. The last one is first, as the legend of a chart with a band is in reverse order."""
    named = len(hosts) <= _MOST_NAMES
    for place in reversed(range(len(hosts))):
        line = _line(at, rates[place], label(hosts[place].name, 30), _COLOURS[place % len(_COLOURS)])
        yield {**line, "showlegend": named}


def _line(at: Sequence[str], rates: Rates, name: str, colour: str) -> Trace:
    return {
        "name": name, "x": list(at), "y": [rates[0], *rates], "mode": "lines",
        "line": {"shape": "vh", "color": colour, "width": 1}, "hovertemplate": "%{y:.2f} pulls/s",
    }  # fmt: skip
