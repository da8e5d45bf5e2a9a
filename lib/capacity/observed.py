"""What a trial observes: its pulls, by the time when they were due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec import convert

from ..latency import LEAST, PERCENTILES, Latency, rank
from ..load.event import PULL, Event
from ..load.pulls import Pull, pull_of
from ..outcomes import FAILED, OK

# The part of a trial at its beginning that is not judged: queues and connections have to build up.
SETTLING: Final = 0.1
# The judged time is divided into so many bins of equal length. Pulls of one bin may depend on each other.
BINS: Final = 12


@dataclass(slots=True)
class Observed:
    """The pulls of a trial at a rate of `offered` pulls per second that is planned for `seconds`.

    `began` is monotonic. `lasted` is how many seconds the trial took; it may end early.
    """

    offered: float
    seconds: float
    began: float = 0.0
    lasted: float = 0.0
    pulls: list[Pull] = field(default_factory=list)
    unstarted: int = 0

    def add(self, event: Event) -> None:
        """Adds the pull of an Event; ignores prunes."""
        if event.op == PULL:
            self.pulls.append(pull_of(event, self.began))

    @property
    def judged_from(self) -> float:
        """The second from which on pulls are judged."""
        return SETTLING * self.seconds

    @property
    def judged_seconds(self) -> float:
        """The length of the judged time so far."""
        return max(0.0, self.lasted - self.judged_from)

    def judged(self) -> list[Pull]:
        """Returns the pulls that are judged: those due after the settling time that a stop did not interrupt."""
        since = self.judged_from
        return [pull for pull in self.pulls if pull.due >= since and pull.outcome in (OK, FAILED)]

    def bin_of(self, pull: Pull) -> int:
        """Returns the bin of a judged pull."""
        since = self.judged_from
        return min(BINS - 1, int(BINS * (pull.due - since) / (self.seconds - since)))

    def due(self) -> float:
        """Returns how many pulls were due in the judged time."""
        return self.offered * self.judged_seconds


def all_judged(observed: Sequence[Observed]) -> list[tuple[int, Pull]]:
    """Returns the judged pulls of trials at one rate, each with a bin; the bins of two trials differ."""
    return [
        (place * BINS + each.bin_of(pull), pull)
        for place, each in enumerate(observed)
        for pull in each.judged()
    ]


def latency_of(seconds: Sequence[float]) -> Latency | None:
    """Returns the distribution of latencies that are given in seconds; None if there are none."""
    if not seconds:
        return None
    ranked = sorted(round(1000 * each, 3) for each in seconds)
    shown = {
        name: ranked[rank(share, len(ranked)) - 1] if len(ranked) >= LEAST.get(name, 1) else None
        for name, share in PERCENTILES.items()
    }
    mean = round(sum(ranked) / len(ranked), 3)
    return convert(
        {"count": len(ranked), "min": ranked[0], "mean": mean, "max": ranked[-1], **shown}, Latency
    )
