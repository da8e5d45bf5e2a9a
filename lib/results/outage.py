"""Outages: spans of tally intervals in which pulls failed and none succeeded, as chance would not explain."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from .sample import Sample

# Fewer failures are no outage: with few pulls in an interval, each may fail by chance.
_LEAST_FAILED: Final = 3
# So likely an outage anywhere in the run may be by chance, if pulls fail as often as in its other intervals.
_BY_CHANCE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Outage:
    """An outage. `errors` has its failed pulls by class.

    `recovered` is the end of the first interval after it in which pulls succeeded and none failed. None: there is none.
    """

    begin: datetime
    end: datetime
    errors: Mapping[str, int]
    recovered: datetime | None

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def seconds(self) -> float:
        return (self.end - self.begin).total_seconds()

    def told(self) -> str:
        """Returns the outage in words: from when to when, what failed, and when the server recovered."""
        span = f"From {self.begin:%H:%M:%S} to {self.end:%H:%M:%S} no pull succeeded: {self._by_class()}"
        if self.recovered is None:
            return f"{span}; not recovered by the end of the run"
        return f"{span}; recovered {(self.recovered - self.end).total_seconds():.0f} s later"

    def told_so_far(self) -> str:
        """Returns an outage that is not over in words: since when, and what failed."""
        return f"since {self.begin:%H:%M:%S}, no pull has succeeded: {self._by_class()}"

    def _by_class(self) -> str:
        return ", ".join(f"{name} ({count:,})" for name, count in self.errors.items())


def outages(samples: Sequence[Sample]) -> tuple[Outage, ...]:
    """Returns the outages, in order.

    If pulls fail now and then, an interval with few of them may have failed ones only. That is no outage.
    """
    long = [each for each in spans(samples) if each.failed >= _LEAST_FAILED]
    failed = sum(each.failed for each in samples) - sum(each.failed for each in long)
    ended = failed + sum(each.pulled for each in samples)
    share = (failed + 1) / (ended + 2)
    most = math.log(_BY_CHANCE / max(1, len(samples)))
    return tuple(each for each in long if each.failed * math.log(share) < most)


def rate_outside(samples: Sequence[Sample], found: Sequence[Outage]) -> float | None:
    """Returns the rate in the intervals that no outage touches, in pulls per second; None if there is none."""
    rest = [
        each
        for each in samples
        if not any(
            out.begin < each.time and each.time - timedelta(seconds=each.seconds) < out.end for out in found
        )
    ]
    seconds = sum(each.seconds for each in rest)
    return sum(each.pulled for each in rest) / seconds if seconds > 0 else None


def spans(samples: Sequence[Sample]) -> tuple[Outage, ...]:
    """Returns all spans of intervals in which pulls failed and none succeeded, in order.

    An interval in which no pull ended continues one, but begins none.
    """
    found: list[Outage] = []
    place = 0
    while place < len(samples):
        if samples[place].pulled or not samples[place].failed:
            place += 1
            continue
        begun = place
        while place < len(samples) and not samples[place].pulled:
            place += 1
        out = _without_quiet_end(samples[begun:place])
        first, last = out[0], out[-1]
        found.append(
            Outage(
                begin=first.time - timedelta(seconds=first.seconds),
                end=last.time,
                errors=dict(sum((Counter(each.errors) for each in out), Counter()).most_common()),
                recovered=next(
                    (each.time for each in samples[place:] if each.pulled and not each.failed), None
                ),
            )
        )
    return tuple(found)


def _without_quiet_end(span: Sequence[Sample]) -> Sequence[Sample]:
    """Returns the span up to its last failure."""
    last = max(place for place, each in enumerate(span) if each.failed)
    return span[: last + 1]
