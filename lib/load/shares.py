"""The pulls of one step, each counted by the share of its time that lies in the step, and the interval of their rate.

Counted by its end, a pull belongs to one step as a whole. At the beginning of a ramp, the pulls of new workers have not
ended yet; later, each step also gets the ends of pulls that an earlier step began. So steps up would show too little
and steps down too much. Shares of time have no such bias.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Final, NamedTuple

from ..student import reach

# A step has between half as many bins and this many.
_BINS: Final = 512
_FIRST_WIDTH: Final = 0.002
# The number of batches that a step is cut into for its interval, at least and at most.
_BATCHES: Final = (5, 20)
# A batch lasts at least as long as this many pulls take on average, so that batches hardly depend on each other.
_PULLS_PER_BATCH: Final = 3.0


class RateInterval(NamedTuple):
    """The ends of a 95 % confidence interval of a rate, in pulls per second."""

    low: float
    high: float


class State(NamedTuple):
    """The content of `Shares`. The first `skipped` bins are empty."""

    start: float
    width: float
    busy: float
    bytes: float
    sized: bool
    skipped: int
    bins: Sequence[float]


class Shares:
    """The shares of pulls in one step. `start` and `end` are seconds since the load began; an open step has no end.

    `sloped`: the schedule changes its rate during the step. `bytes` are the shares of what the pulls fetched. They are
    complete if the step is `sized`: no pull of unknown size has a share in it.
    """

    def __init__(self, start: float) -> None:
        self.start = start
        self.sized = True
        self.bytes = 0.0
        self.end = math.inf
        self.sloped = False
        self._width = _FIRST_WIDTH
        self._bins = array("d")
        self._busy = 0.0

    def add(self, began: float, ended: float, size: int | None = None) -> None:
        """Adds the share of one pull that lies in the step; a pull without duration counts where it ended.

        `size` is what the pull fetched, in bytes; None if unknown.
        """
        low, high = max(began, self.start), min(ended, self.end)
        if high < low or (high == low and began != ended) or (high == self.end and began == ended):
            return
        self._reach(high)
        self._busy += high - low
        if size is None:
            self.sized = False
        else:
            self.bytes += size * (1.0 if high == low else (high - low) / (ended - began))
        if high == low:
            self._bins[self._bin(high)] += 1.0
            return
        density = 1.0 / (ended - began)
        first, last = self._bin(low), self._bin(high)
        for index in range(first, last + 1):
            left = self.start + index * self._width
            inside = min(high, left + self._width) - max(low, left)
            self._bins[index] += max(0.0, inside) * density

    def state(self) -> State:
        """Returns the content, from which `of` makes the same shares again."""
        skipped = next((place for place, share in enumerate(self._bins) if share), len(self._bins))
        return State(
            start=self.start,
            width=self._width,
            busy=self._busy,
            bytes=self.bytes,
            sized=self.sized,
            skipped=skipped,
            bins=self._bins[skipped:].tolist(),
        )

    @classmethod
    def of(cls, state: State) -> Shares:
        """Returns the shares with this content. Raises `ValueError` if no shares have such a content."""
        doublings = math.log2(state.width / _FIRST_WIDTH) if state.width > 0 else -1.0
        if doublings < 0 or doublings != round(doublings) or not 0 <= state.skipped <= _BINS:
            raise ValueError("the shares have bins of another width, or too many")
        if state.skipped + len(state.bins) > _BINS:
            raise ValueError(f"the shares have more than {_BINS} bins")
        found = cls(state.start)
        found._width, found._busy = state.width, state.busy
        found.bytes, found.sized = state.bytes, state.sized
        found._bins = array("d", [*([0.0] * state.skipped), *state.bins])
        return found

    def part(self) -> Shares:
        """Returns shares of the same step to which some of its pulls are added; see `merge`."""
        part = Shares(self.start)
        part.end = self.end
        return part

    def merge(self, part: Shares) -> None:
        """Adds the shares of other pulls in the same step. `part` may not be read any more."""
        self.sized &= part.sized
        self.bytes += part.bytes
        self._busy += part._busy
        while self._width < part._width:
            self._halve()
        while part._width < self._width:
            part._halve()
        if len(self._bins) < len(part._bins):
            self._bins.extend([0.0] * (len(part._bins) - len(self._bins)))
        for index, share in enumerate(part._bins):
            self._bins[index] += share

    def close(self, end: float, *, sloped: bool = False) -> None:
        """Ends the step. Later pulls may still add what they spent in it."""
        self.end = end
        self.sloped = sloped

    @property
    def total(self) -> float:
        """The pulls of the step: a real number, as some pulls lie in it only in part."""
        return math.fsum(self._bins)

    def interval(self) -> RateInterval | None:
        """Returns the confidence interval of the rate; None if the step is too short to estimate it.

        The method of batch means: the step is cut into batches of equal length; their rates spread around the mean as
        independent values do (Law and Kelton, "Simulation Modeling and Analysis", 1991, section 9.5.3).
        In a sloped step they spread around a straight line, as the slope is the plan's and no chance.
        """
        seconds, total = self.end - self.start, self.total
        least, most = _BATCHES
        if not (0 < seconds < math.inf) or total <= 0:
            return None
        count = int(min(most, seconds / (_PULLS_PER_BATCH * max(self._busy / total, 1e-9)), total / 2))
        if count < least:
            return None
        rates = [each * count / seconds for each in self._batches(count)]
        mean = total / seconds
        slope = _slope(rates) if self.sloped else 0.0
        free = count - 2 if self.sloped else count - 1
        middle = (count - 1) / 2
        squares = ((each - mean - slope * (place - middle)) ** 2 for place, each in enumerate(rates))
        half = reach(free) * math.sqrt(math.fsum(squares) / free / count)
        return RateInterval(max(0.0, mean - half), mean + half)

    def _batches(self, count: int) -> list[float]:
        """Returns the shares in each of `count` parts of the step. A bin at a boundary is divided evenly."""
        length = (self.end - self.start) / count / self._width
        parts = [0.0] * count
        for index, share in enumerate(self._bins):
            part = min(count - 1, int(index / length))
            beyond = min(1.0, max(0.0, index + 1 - (part + 1) * length))
            parts[part] += share * (1 - beyond)
            parts[min(count - 1, part + 1)] += share * beyond
        return parts

    def _bin(self, at: float) -> int:
        return min(len(self._bins) - 1, int((at - self.start) / self._width))

    def _reach(self, at: float) -> None:
        """Makes room for bins up to this second, and halves their number when there are too many."""
        while at - self.start >= _BINS * self._width:
            self._halve()
        missing = int((at - self.start) / self._width) + 1 - len(self._bins)
        if missing > 0:
            self._bins.extend([0.0] * missing)

    def _halve(self) -> None:
        """Makes one bin of every two."""
        self._width *= 2
        odd = self._bins[1::2] if len(self._bins) % 2 == 0 else array("d", [*self._bins[1::2], 0.0])
        self._bins = array("d", map(float.__add__, self._bins[::2], odd))


def _slope(values: Sequence[float]) -> float:
    """Returns the slope of the line of least squares through values at 0, 1, 2 and so on."""
    middle = (len(values) - 1) / 2
    squares = math.fsum((place - middle) ** 2 for place in range(len(values)))
    return math.fsum((place - middle) * value for place, value in enumerate(values)) / squares
