"""The ramp: workers start one by one and later stop one by one. With a schedule, the rate rises or falls instead."""

from __future__ import annotations

from ..counted import counted
from ..durations import spoken
from .curve import Curve, Rate
from .plan import DOWN, HOLD, UP, Plan, Step, steps_of


def plan_ramp(workers: int, seconds: float, hold: float | None = None) -> Plan:
    """Returns the ramp: 1, 2, … N workers up, then N, … 2, 1 down, each number for one step of `seconds`.

    So the peak lasts two steps, 2·N in all. With `hold`, it is one step of so many seconds.
    """
    up = [(n, UP, seconds) for n in range(1, workers + (hold is None))]
    peak = [] if hold is None else [(workers, HOLD, hold)]
    down = [(n, DOWN, seconds) for n in range(workers - (hold is not None), 0, -1)]
    steps = steps_of([*up, *peak, *down])
    return Plan(steps, f"{_described(steps, seconds, hold)}, up to {counted(workers, 'worker')}")


def plan_schedule(workers: int, seconds: float, rate: Rate, hold: float | None = None) -> Plan:
    """Returns as many steps as a ramp of these workers, each with all workers running."""
    direction = DOWN if rate.last < rate.first else UP
    steps = tuple(
        Step(workers, HOLD if step.direction == HOLD else direction, step.start, step.end)
        for step in plan_ramp(workers, seconds, hold).steps
    )
    about = (
        f"{_described(steps, seconds, hold)}, {rate} pulls/s on a schedule, "
        f"{counted(workers, 'worker')} throughout"
    )
    return Plan(steps, about, Curve(((rate, steps[-1].end),)))


def _described(steps: tuple[Step, ...], seconds: float, hold: float | None) -> str:
    whole = spoken(steps[-1].end)
    if hold is None:
        return f"ramp of {len(steps)} steps of {spoken(seconds)}, {whole} in all"
    return f"ramp with a step every {spoken(seconds)}, a peak of {spoken(hold)}, {whole} in all"
