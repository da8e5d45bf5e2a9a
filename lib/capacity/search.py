"""The search: which rate is tried next. It doubles the rate until one does not hold, then halves the gap."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from ..figures import three
from .judge import Verdict

# A trial whose verdict is not certain is repeated at most so many times.
REPEATS: Final = 3


@dataclass(slots=True)
class Search:
    """What the trials so far say, and which rate to try next.

    `first` is the first rate, `most` the highest. At the end, the highest rate that held and the lowest that did not
    differ at most by the share `within`.
    """

    first: float
    within: float
    most: float
    verdicts: dict[float, Verdict] = field(default_factory=dict)
    _tried: Counter[float] = field(default_factory=Counter)
    _last: float | None = None

    @property
    def failed(self) -> float | None:
        """The lowest rate that did not hold; None if there is none."""
        return min((rate for rate, verdict in self.verdicts.items() if not _holds(verdict)), default=None)

    @property
    def held(self) -> float | None:
        """The highest rate that held, below every rate that did not; None if there is none."""
        failed = self.failed
        held = (rate for rate, verdict in self.verdicts.items() if _holds(verdict))
        return max((rate for rate in held if failed is None or rate < failed), default=None)

    def next_rate(self) -> float | None:
        """Returns the rate of the next trial; None if the search is over."""
        if self._last is not None and self._is_worth_repeating(self._last):
            return self._last
        held, failed = self.held, self.failed
        if held is None:
            return None if failed is not None else _as_shown(min(self.first, self.most))
        if failed is None and held < self.most:
            return min(_as_shown(2 * held), self.most)
        if failed is not None and failed > held * (1 + self.within):
            middle = _as_shown(math.sqrt(held * failed))
            if held < middle < failed:
                return middle
        return held if self.may_repeat(held) else None

    def add(self, rate: float, verdict: Verdict) -> None:
        """Takes the verdict on a rate, from all trials at this rate together."""
        self.verdicts[rate] = verdict
        self._tried[rate] += 1
        self._last = rate

    def forget(self, rate: float) -> None:
        """Takes back the verdict on a rate: its trials say nothing about the server."""
        self.verdicts.pop(rate, None)

    def may_repeat(self, rate: float) -> bool:
        """Whether another trial at this rate may make its verdict certain."""
        return self.verdicts[rate].held is None and self._tried[rate] <= REPEATS

    def _is_worth_repeating(self, rate: float) -> bool:
        """Whether the verdict is not certain, and no trial at a higher rate will tell more."""
        doubling = all(_holds(verdict) for verdict in self.verdicts.values()) and rate < self.most
        return self.may_repeat(rate) and not doubling


def _holds(verdict: Verdict) -> bool:
    """Returns what the trials say, or if that is not certain, what is likelier."""
    return verdict.likely if verdict.held is None else verdict.held


def _as_shown(rate: float) -> float:
    """Returns a rate as it is shown, so that a run with that rate is the same trial."""
    return float(three(rate).replace(",", ""))
