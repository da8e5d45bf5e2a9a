"""The latencies of a run up to its planned end. The summary's own also have those of the drain.

A pull that hangs past the end says nothing about the load that was planned. One of 30 s would raise the mean of a run
of a thousand pulls by several percent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..latency import LEAST, Latency
from .bootstrap import statistics
from .pairing import Cut, fill
from .quantities import LATENCIES, QUANTILES
from .recorded_run import Recorded

# First or repeat latencies are biased if the drain took more than this share of their time beyond what is usual.
_BIASED = 0.01


@dataclass(frozen=True, slots=True)
class Planned:
    """The figures of one of the `GROUPS` by name, and the number of latencies.

    `overdue`: they include pulls of the drain that hung, because the file cannot tell these from the others.
    """

    figures: Mapping[str, float | None]
    count: float
    overdue: bool = False


def planned(run: Recorded, group: str) -> Planned:
    """Returns the latencies of a run up to its planned end."""
    latency = run.summary.latency(group)
    if latency is None:
        return Planned({}, 0)
    if run.drained and not group:
        return _of_the_intervals(run)
    # files of earlier versions do not have the count: then it is that of all pulls
    return Planned(
        figures={name: latency.value(name) for name in LATENCIES},
        count=latency.count or run.summary.pulled,
        overdue=run.drained > 0 and _hung(run, latency),
    )


def _of_the_intervals(run: Recorded) -> Planned:
    whole = Cut(np.zeros(1), np.full(1, run.intervals[-1].end if run.intervals else 0.0))
    every = fill(run, whole).every
    count = float(every.counted.sum())
    found = {name: float(values[0]) for name, values in statistics(np.ones((1, 1)), every, QUANTILES).items()}
    return Planned(
        {name: found[name] if count and count >= LEAST.get(name, 0) else None for name in LATENCIES}, count
    )


def _hung(run: Recorded, latency: Latency) -> bool:
    """Returns whether pulls of the drain took so much longer than others that they bias this latency."""
    every, inside = run.summary.latency_ms, [each.latency for each in run.intervals if each.latency]
    if every is None or latency.max <= max((each.max for each in inside), default=0.0):
        return False
    drained = every.count - sum(each.count for each in inside)
    taken = every.count * every.mean - sum(each.count * each.mean for each in inside)
    return taken - drained * every.p50 > _BIASED * latency.count * latency.mean
