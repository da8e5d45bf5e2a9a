"""A plan: how many workers run when. Every load shape makes one; the driver carries it out, and the views show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from .curve import Curve
from .share import Share

# The end of a step that lasts until the last worker has ended.
WITH_THE_LAST_WORKER = inf
# The directions of steps.
UP: Final = "up"
HOLD: Final = "hold"
DOWN: Final = "down"


@dataclass(frozen=True, slots=True)
class Step:
    """A span of time in which `workers` workers run; `start` and `end` are seconds since the load began."""

    workers: int
    direction: str
    start: float
    end: float


def steps_of(spans: Sequence[tuple[int, str, float]]) -> tuple[Step, ...]:
    """Returns steps that follow one another. A span is (workers, direction, seconds).

    Equal lengths in a row are multiplied, not added, so that rounding errors do not add up.
    """
    steps: list[Step] = []
    start, same, begun = 0.0, 0, 0.0
    for place, (workers, direction, seconds) in enumerate(spans):
        same = same + 1 if place and seconds == spans[place - 1][2] else 1
        begun = start if same == 1 else begun
        end = begun + same * seconds
        steps.append(Step(workers, direction, start, end))
        start = end
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps that follow one another without a gap; `about` describes them in words, for the log.

    `curve` is set if pulls start on a schedule. `passes` (per worker) and `pulls` (attempts of all workers together)
    are set for fixed work.
    """

    steps: tuple[Step, ...]
    about: str
    curve: Curve | None = None
    passes: int | None = None
    pulls: int | None = None

    @property
    def end(self) -> float | None:
        """The planned end in seconds since the load began; None if the load ends with its last worker."""
        end = self.steps[-1].end
        return None if end == WITH_THE_LAST_WORKER else end

    def share(self, share: Share) -> Plan:
        """Returns the plan of one share: the same steps at the same times, with the workers of this share."""
        if share.is_whole:
            return self
        steps = tuple(replace(step, workers=share.count(step.workers)) for step in self.steps)
        return replace(self, steps=steps, about=f"{self.about}, share {share}")

    def workers_at(self, at: float) -> int:
        """Returns how many workers the plan has running at this second; at a boundary, those of the step that ends."""
        return next((step.workers for step in self.steps if at <= step.end), 0)

    def left(self, at: float) -> float | None:
        """Returns the seconds from `at` to the planned end; None if the load ends with its last worker."""
        return None if self.end is None else max(0.0, self.end - at)
