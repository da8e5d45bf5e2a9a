"""The ramp: workers start one by one, and later stop one by one. By a schedule it is the rate that rises or falls."""

from __future__ import annotations

from .pace import Rate
from .plan import Plan, Step


def plan_ramp(workers: int, seconds: float) -> Plan:
    """2·N steps of `seconds`: 1, 2, … N workers going up, N, … 2, 1 going down, so the peak lasts two steps."""
    counts = [(n, "up") for n in range(1, workers + 1)] + [(n, "down") for n in range(workers, 0, -1)]
    steps = tuple(
        Step(n, direction, k * seconds, (k + 1) * seconds) for k, (n, direction) in enumerate(counts)
    )
    return Plan(steps, f"{_told(steps, seconds)}, up to {workers} workers")


def plan_schedule(workers: int, seconds: float, rate: Rate) -> Plan:
    """As many steps as the ramp has, each with all workers."""
    direction = "down" if rate.last < rate.first else "up"
    steps = tuple(Step(workers, direction, k * seconds, (k + 1) * seconds) for k in range(2 * workers))
    about = f"{_told(steps, seconds)}, {rate} pulls/s by schedule, {workers} workers all along"
    return Plan(steps, about, rate)


def _told(steps: tuple[Step, ...], seconds: float) -> str:
    return f"ramp of {len(steps)} steps of {seconds:g} s, {steps[-1].end:g} s in all"
