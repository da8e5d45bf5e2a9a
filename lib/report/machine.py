"""The chart of the CPU over time, of this machine or of all hosts, and of what limited each interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..pages.chart import BLUE, GREEN, GREY, HEADROOM, ORANGE, PURPLE, RED, Chart, Trace
from ..results.sample import MachineUse, Sample
from .marks import marks
from .run_data import Findings
from .timeline import ends, time_axis, when

# What limited an interval, in words and in the colour of its markers.
LIMITS: Final = {"client": ("limit: driver and clients", ORANGE), "machine": ("limit: other programs", RED)}
# Where these markers lie, and the top of the axis, in percent.
_MARKERS, _TOP = 104, 108
# A share that never reaches this many percent is left out.
_LEAST_PERCENT = 1


def machine(findings: Findings, samples: Sequence[Sample]) -> Chart:
    """Draws how busy this machine was, or all hosts on average, and which cores driver and clients used."""
    several = findings.summary.has_hosts
    name, title = "machine", f"CPU of {'the hosts' if several else 'this machine'} over time"
    if not any(each.machine for each in samples):
        return Chart(name, title, "This system does not report its CPU use.")
    cores = [
        round((each.driver_cpu_seconds + each.client_cpu_seconds) / each.seconds, 3) if each.seconds else 0.0
        for each in samples
    ]
    shapes, told = marks(findings, samples)
    layout: dict[str, Any] = {
        "xaxis": time_axis(findings.span),
        "yaxis": {"title": {"text": "% of the CPU"}, "range": [0, _TOP], "tickvals": [0, 25, 50, 75, 100]},
        "yaxis2": {
            "title": {"text": "cores"}, "overlaying": "y", "side": "right", "showgrid": False,
            "range": [0, HEADROOM * (max(cores) or 1.0)], "tickmode": "auto", "nticks": 5,
        },
        "shapes": shapes,
        "hovermode": "x unified",
    }  # fmt: skip
    note = (
        "Busy: the CPU use of all programs, averaged over the hosts. Cores: what driver and clients of all hosts used. "
        f"Squares mark the intervals in which a host was the limit.{told}"
        if several
        else "Busy: the CPU use of all programs on this machine. Cores: what driver and clients used. Squares mark the "
        f"intervals in which this machine was the limit.{told}"
    )
    return Chart(name, title, note, data=list(_lines(findings, samples, cores)), layout=layout)


def _lines(findings: Findings, samples: Sequence[Sample], cores: Sequence[float]) -> Iterator[Trace]:
    at = [when(findings.span.begin), *ends(samples)]
    shares = (
        ("busy", lambda use: 1 - use.idle, {"color": BLUE, "width": 2}),
        (
            "processes waited for CPU",
            lambda use: use.pressure,
            {"color": PURPLE, "width": 1.5, "dash": "dot"},
        ),
        ("taken by the hypervisor", lambda use: use.steal, {"color": GREY, "width": 1.5}),
        ("throttled by a CPU limit", lambda use: use.throttled, {"color": RED, "width": 1.5, "dash": "dash"}),
    )
    for name, share, line in shares:
        values = [_percent(each.machine, share) for each in samples]
        if name == "busy" or max((each for each in values if each is not None), default=0) >= _LEAST_PERCENT:
            yield {
                "name": name, "x": at, "y": [values[0], *values], "mode": "lines", "line": {"shape": "vh", **line},
                "hovertemplate": "%{y} %", **({"fill": "tozeroy"} if name == "busy" else {}),
            }  # fmt: skip
    yield {
        "name": "driver and clients, cores", "x": at, "y": [cores[0], *cores], "yaxis": "y2", "mode": "lines",
        "line": {"shape": "vh", "color": GREEN, "width": 2}, "hovertemplate": "%{y} cores",
    }  # fmt: skip
    for limit, (name, colour) in LIMITS.items():
        limited = [each for each in samples if each.limited_by == limit]
        if limited:
            yield {
                "name": name, "x": ends(limited), "y": [_MARKERS] * len(limited), "mode": "markers",
                "marker": {"symbol": "square", "size": 7, "color": colour}, "hovertemplate": "yes",
            }  # fmt: skip


def _percent(use: MachineUse | None, share: Any) -> float | None:
    value = share(use) if use is not None else None
    return None if value is None else round(100 * value, 1)
