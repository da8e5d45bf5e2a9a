"""What the intervals of the steps say about a run: its highest rate, and how precise its rate is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET

from ..load.plan import HOLD
from ..units import LONGEST_SECONDS
from .summary import Peak, Precision, Step

_GOAL_PERCENT = 2.0
# Units of a rough length of time, each from a little more than one of them on.
_UNITS = ((1.5 * 86_400, 86_400, "days"), (5_400, 3_600, "hours"), (90, 60, "minutes"), (0, 1, "seconds"))


def peak(steps: Sequence[Step]) -> Peak | None:
    """Returns the step with the highest rate; None if it has no interval, so that nothing says how sure its rate is."""
    best = highest(steps)
    if best is None or best.low is None or best.high is None:
        return None
    return Peak(
        rate=best.rate,
        low=best.low,
        high=best.high,
        workers=best.workers,
        offered=best.offered,
        latency_ms=best.latency_ms,
        bytes_per_second=UNSET if best.bytes_per_second is None else best.bytes_per_second,
    )


def of_all(steps: Sequence[Step], hosts: int) -> Sequence[Step]:
    """Returns the steps that all hosts carried out. After a loss, fewer workers pull than the step says."""
    return [each for each in steps if each.hosts is UNSET or each.hosts >= hosts]


def highest(steps: Sequence[Step]) -> Step | None:
    """Returns the step with the highest rate; of equal ones, one with an interval."""
    return max(steps, key=lambda step: (step.rate, step.low is not None), default=None)


def why_no_peak(steps: Sequence[Step], settings: Mapping[str, Any]) -> str | None:
    """Returns why the steps do not tell the peak, and what helps; None if they do, or if nothing was pulled.

    `settings` are those of the run, by option name: they say what makes the steps longer.
    """
    best = highest(steps)
    if best is None or best.rate <= 0 or peak(steps) is not None:
        return None
    return f"the steps are too short to tell the peak; give {longer(best, settings)}"


def longer(step: Step, settings: Mapping[str, Any]) -> str:
    """Returns what makes this step longer."""
    if settings.get("passes") is not None:
        return "more --passes"
    if settings.get("duration"):
        return "a longer --duration"
    if settings.get("stage"):
        return "longer stages (--stage)"
    return f"a longer --{'hold' if step.direction == HOLD else 'iteration-seconds'}"


def in_words(found: Precision) -> str:
    """Returns how precise the rate is, and how long the run must be: `±4 %; ±2 % takes a run of about 8 minutes`."""
    now = f"±{_rounded(found.percent)} %"
    if found.percent <= _GOAL_PERCENT:
        return now
    goal = f"±{_GOAL_PERCENT:g} %"
    seconds = found.seconds_for_2_percent
    if seconds is None:
        return f"{now}; {goal} takes a run of more than a year"
    size, unit = next((size, unit) for least, size, unit in _UNITS if seconds >= least)
    return f"{now}; {goal} takes a run of about {max(2, math.ceil(seconds / size))} {unit}"


def _rounded(percent: float) -> str:
    return f"{percent:.2g}" if percent < 99.5 else f"{percent:.0f}"


def precision(steps: Sequence[Step]) -> Precision | None:
    """Returns how precise the rate of all steps together is; None unless all steps with a load have an interval.

    A step without workers, or in which no pull was due, needs none. The pulls of the steps are independent, so the
    squares of the half widths, weighted by time, add up. The half width shrinks with the square root of the length of
    the run.
    """
    loaded = [step for step in steps if step.workers and step.offered != 0]
    seconds = sum(step.seconds for step in steps)
    pulls = sum(step.rate * step.seconds for step in steps)
    halves = [
        (step.high - step.low) / 2 * step.seconds
        for step in loaded
        if step.high is not None and step.low is not None
    ]
    if not pulls or len(halves) < len(loaded):
        return None
    percent = 100 * math.hypot(*halves) / pulls
    needed = seconds * (percent / _GOAL_PERCENT) ** 2
    return Precision(
        percent=round(percent, 3),
        seconds_for_2_percent=round(needed, 1) if needed <= LONGEST_SECONDS else None,
    )
