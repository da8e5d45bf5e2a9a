"""The latencies of a run for a comparison of groups. Their mean leaves out the drain, as far as the file has it apart.

A pull that hangs past the planned end says nothing about the load. One of 30 s would raise the mean of a run of a
thousand pulls by several percent. Percentiles are those of the run: a few pulls hardly change them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from ..latency import Latency
from .quantities import LATENCIES
from .recorded_run import Recorded

# Means of first and of repeat pulls are biased if the drain took more than this share of their time beyond the usual.
_BIASED = 0.01


@dataclass(frozen=True, slots=True)
class Planned:
    """The figures of one of the `GROUPS` by name, and the number of latencies.

    `hung`: the mean includes pulls that hung in the drain, because the file cannot tell these from the others.
    """

    figures: Mapping[str, float | None]
    count: int
    hung: bool = False


def planned(run: Recorded, group: str) -> Planned:
    """Returns the latencies of a run."""
    latency = run.summary.latency(group)
    if latency is None:
        return Planned({}, 0)
    figures = {name: latency.value(name) for name in LATENCIES}
    hung = False
    if run.drained and not group:
        figures["mean"] = _mean_of_the_intervals(run)
    elif run.drained:
        hung = _hung(run, latency)
    # files of earlier versions do not have the count: then it is that of all pulls
    return Planned(figures, latency.count or run.summary.pulled, hung)


def _mean_of_the_intervals(run: Recorded) -> float | None:
    parts = [(each.latency.count or each.pulled, each.latency.mean) for each in run.intervals if each.latency]
    count = sum(number for number, _ in parts)
    return fsum(number * mean for number, mean in parts) / count if count else None


def _hung(run: Recorded, latency: Latency) -> bool:
    """Returns whether pulls of the drain took so much longer than others that they bias this mean."""
    every, inside = run.summary.latency_ms, [each.latency for each in run.intervals if each.latency]
    if every is None or latency.max <= max((each.max for each in inside), default=0.0):
        return False
    drained = every.count - sum(each.count for each in inside)
    taken = every.count * every.mean - fsum(each.count * each.mean for each in inside)
    return taken - drained * every.p50 > _BIASED * latency.count * latency.mean
