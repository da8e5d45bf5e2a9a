"""The time axis of the charts, and the tally intervals on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ..latency import LATENCIES, Latency
from ..pages.chart import MOST_POINTS, Trace
from ..results.sample import MachineUse, Sample
from .ramp_time import Span


def merged(samples: Sequence[Sample], most: int = MOST_POINTS) -> list[Sample]:
    """Merges neighbouring samples into at most `most`: counts are summed, percentiles averaged by pulls."""
    size = -(-len(samples) // most)
    if size <= 1:
        return list(samples)
    return [_together(samples[start : start + size]) for start in range(0, len(samples), size)]


def _together(samples: Sequence[Sample]) -> Sample:
    pulled, seconds = sum(each.pulled for each in samples), sum(each.seconds for each in samples)
    return Sample(
        time=samples[-1].time,
        seconds=seconds,
        rate=pulled / seconds if seconds else 0.0,
        workers=samples[-1].workers,
        pulled=pulled,
        failed=sum(each.failed for each in samples),
        errors=dict(sum((Counter(each.errors) for each in samples), Counter()).most_common()),
        retried=_known_sum([each.retried for each in samples]),
        latency_ms=_averaged([(each.latency_ms, each.pulled) for each in samples if each.latency_ms]),
        driver_cpu_seconds=sum(each.driver_cpu_seconds for each in samples),
        client_cpu_seconds=sum(each.client_cpu_seconds for each in samples),
        machine=_used(samples),
        paused_seconds=sum(each.paused_seconds for each in samples),
        limited_by=next((each.limited_by for each in samples if each.limited_by), None),
    )


def _known_sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _used(samples: Sequence[Sample]) -> MachineUse | None:
    """Returns how busy the machine was, averaged over time."""
    known = [(each.machine, each.seconds) for each in samples if each.machine is not None and each.seconds]
    if not known:
        return None

    def mean(share: Callable[[MachineUse], float | None]) -> float | None:
        found = [(value, seconds) for use, seconds in known if (value := share(use)) is not None]
        seconds = sum(length for _, length in found)
        return min(1.0, sum(value * length for value, length in found) / seconds) if seconds else None

    return MachineUse(
        idle=mean(lambda use: use.idle) or 0.0,
        steal=mean(lambda use: use.steal) or 0.0,
        pressure=mean(lambda use: use.pressure),
        throttled=mean(lambda use: use.throttled),
    )


def _averaged(measured: Sequence[tuple[Latency, int]]) -> Latency | None:
    """Returns each figure averaged by pulls. Only the mean is exact; percentiles are approximate."""
    if not any(count for _, count in measured):
        return None
    least, mean, p50, *percentiles, most = (_average(measured, name) for name in LATENCIES)
    p90, p95, p99 = percentiles
    return Latency(
        count=sum(each.count for each, _ in measured),
        min=least or 0.0,
        mean=mean or 0.0,
        p50=p50 or 0.0,
        p90=p90,
        p95=p95,
        p99=p99,
        max=most or 0.0,
    )


def _average(measured: Sequence[tuple[Latency, int]], name: str) -> float | None:
    """Returns the average of the intervals that have this figure; None if none has it."""
    shown = [(value, count) for each, count in measured if (value := each.value(name)) is not None]
    pulls = sum(count for _, count in shown)
    return sum(value * count for value, count in shown) / pulls if pulls else None


def when(moment: datetime) -> str:
    """Returns a time as plotly reads it, in the run's own zone and not the reader's."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def ends(samples: Sequence[Sample]) -> list[str]:
    """Returns the ends of the tally intervals, as plotly reads them."""
    return [when(sample.time) for sample in samples]


def interval_bars(samples: Sequence[Sample], counts: Sequence[int], name: str, colour: str) -> Trace:
    """Returns a bar of each tally interval, as wide as the interval is long."""
    widths = [round(1000 * sample.seconds, 3) for sample in samples]
    same = len(set(widths)) == 1
    return {
        "type": "bar",
        "name": name,
        "x": ends(samples),
        "y": list(counts),
        "width": widths[0] if same else widths,
        "offset": -widths[0] if same else [-width for width in widths],
        "marker": {"color": colour},
    }


def time_axis(span: Span) -> dict[str, Any]:
    """Returns the settings of a time axis that covers the ramp."""
    return {
        "title": {"text": f"time ({span.begin.tzname() or 'local'})"},
        "type": "date",
        "range": [when(span.begin), when(span.at(max(span.seconds, 0.1)))],
    }
