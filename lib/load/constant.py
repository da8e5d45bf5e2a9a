"""Constant load: all workers run from the first moment on, for a given time."""

from __future__ import annotations

from ..counted import counted
from ..durations import spoken
from .curve import Curve, Rate
from .plan import HOLD, Plan, Step


def plan_constant(workers: int, seconds: float, rate: Rate | None) -> Plan:
    """Returns one step of `seconds` with all workers; with `rate`, pulls start on a schedule."""
    steps = (Step(workers, HOLD, 0.0, seconds),)
    many = counted(workers, "worker")
    if rate is None:
        return Plan(steps, f"constant load of {many} for {spoken(seconds)}")
    about = f"{rate} pulls/s on a schedule for {spoken(seconds)}, {many} throughout"
    return Plan(steps, about, Curve(((rate, seconds),)))
