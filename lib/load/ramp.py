"""The ramp: workers start one by one and later stop one by one. With a schedule, the rate rises or falls instead."""

from __future__ import annotations

from ..counted import counted
from .pace import Rate
from .plan import Plan, Step


def plan_ramp(workers: int, seconds: float) -> Plan:
    """Returns 2·N steps of `seconds` each: 1, 2, … N workers up, then N, … 2, 1 down. So the peak lasts two steps."""
    counts = [(n, "up") for n in range(1, workers + 1)] + [(n, "down") for n in range(workers, 0, -1)]
    steps = tuple(
        Step(n, direction, k * seconds, (k + 1) * seconds) for k, (n, direction) in enumerate(counts)
    )
    return Plan(steps, f"{_described(steps, seconds)}, up to {counted(workers, 'worker')}")


def plan_schedule(workers: int, seconds: float, rate: Rate) -> Plan:
    """Returns as many steps as a ramp of these workers, each with all workers running."""
    direction = "down" if rate.last < rate.first else "up"
    steps = tuple(Step(workers, direction, k * seconds, (k + 1) * seconds) for k in range(2 * workers))
    about = (
        f"{_described(steps, seconds)}, {rate} pulls/s by schedule, {counted(workers, 'worker')} throughout"
    )
    return Plan(steps, about, rate)


def _described(steps: tuple[Step, ...], seconds: float) -> str:
    return f"ramp of {len(steps)} steps of {seconds:g} s, {steps[-1].end:g} s in all"
