"""The ramp: how many workers run when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """From `start` to `end`, in seconds from the ramp's beginning, `workers` workers run."""

    workers: int
    direction: str
    start: float
    end: float


def plan_ramp(workers: int, seconds: float) -> list[Step]:
    """2·N steps of `seconds`: 1, 2, … N workers going up, N, … 2, 1 going down, so the peak lasts two steps."""
    counts = [(n, "up") for n in range(1, workers + 1)] + [(n, "down") for n in range(workers, 0, -1)]
    return [Step(n, direction, k * seconds, (k + 1) * seconds) for k, (n, direction) in enumerate(counts)]


def plan_open(workers: int, seconds: float, *, falling: bool) -> list[Step]:
    """As many steps, each with all workers: by a schedule it is the rate that rises, or falls."""
    direction = "down" if falling else "up"
    return [Step(workers, direction, k * seconds, (k + 1) * seconds) for k in range(2 * workers)]
