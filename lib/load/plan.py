"""A plan: who runs when. Every shape of the load makes one; the driver walks through it, and the views show it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .pace import Rate

# The end of a step that lasts until the last worker has ended.
WITH_THE_LAST_WORKER = inf


@dataclass(frozen=True, slots=True)
class Step:
    """From `start` to `end`, in seconds from the load's beginning, `workers` workers run."""

    workers: int
    direction: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that follow each other; `about` says in words what they are.

    `rate` is set where pulls start by a schedule. Fixed work has `passes`, the passes of each worker, and `pulls`, the
    attempts of all workers together.
    """

    steps: tuple[Step, ...]
    about: str
    rate: Rate | None = None
    passes: int | None = None
    pulls: int | None = None

    @property
    def end(self) -> float | None:
        """The planned end in seconds from the load's beginning; None if the load ends with its last worker."""
        end = self.steps[-1].end
        return None if end == WITH_THE_LAST_WORKER else end

    def workers_at(self, at: float) -> int:
        """Workers that the plan has running at this second; at a boundary those of the step that ends."""
        return next((step.workers for step in self.steps if at <= step.end), 0)

    def left(self, at: float) -> float | None:
        """Seconds from `at` to the planned end; None if there is none."""
        return None if self.end is None else max(0.0, self.end - at)
