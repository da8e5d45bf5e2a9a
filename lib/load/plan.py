"""A plan: how many workers run when. Every load shape makes one; the driver carries it out, and the views show it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from .pace import Rate

# The end of a step that lasts until the last worker has ended.
WITH_THE_LAST_WORKER = inf


@dataclass(frozen=True, slots=True)
class Step:
    """A span of time in which `workers` workers run; `start` and `end` are seconds since the load began."""

    workers: int
    direction: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that follow one another without a gap; `about` describes them in words, for the log.

    `rate` is set if pulls start by a schedule. `passes` (per worker) and `pulls` (attempts of all workers together) are
    set for fixed work.
    """

    steps: tuple[Step, ...]
    about: str
    rate: Rate | None = None
    passes: int | None = None
    pulls: int | None = None

    @property
    def end(self) -> float | None:
        """The planned end in seconds since the load began; None if the load ends with its last worker."""
        end = self.steps[-1].end
        return None if end == WITH_THE_LAST_WORKER else end

    def workers_at(self, at: float) -> int:
        """Returns how many workers the plan has running at this second; at a boundary, those of the step that ends."""
        return next((step.workers for step in self.steps if at <= step.end), 0)

    def left(self, at: float) -> float | None:
        """Returns the seconds from `at` to the planned end; None if the load ends with its last worker."""
        return None if self.end is None else max(0.0, self.end - at)
