"""Collects the spread of the starts of each herd, in a series of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# At most this many points are kept. A point then stands for several herds in a row.
MOST_HERDS = 1000
# A herd is over when this many later ones have begun: the last pulls of a stopped worker may come late.
_LATER = 8


class Spread(NamedTuple):
    """The largest spread of the herds `first` to `last`, in seconds."""

    first: int
    last: int
    seconds: float


class HerdSeries:
    """The spreads of the herds, from the start of each pull. Herds may overlap, but their numbers rise."""

    def __init__(self, most: int = MOST_HERDS) -> None:
        self._most = most
        self._open: dict[int, tuple[float, float]] = {}
        self._closed: list[Spread] = []
        self._together = 1

    def add(self, herd: int, started: float) -> None:
        """Adds the start of a pull of a herd, in seconds."""
        first, last = self._open.get(herd, (started, started))
        self._open[herd] = min(first, started), max(last, started)
        if len(self._open) > _LATER:
            self._close(min(self._open))

    def spreads(self) -> Iterator[Spread]:
        """Yields the spreads in the order of the herds."""
        yield from self._closed
        yield from (Spread(herd, herd, last - first) for herd, (first, last) in sorted(self._open.items()))

    def _close(self, herd: int) -> None:
        first, last = self._open.pop(herd)
        before = self._closed[-1] if self._closed else None
        if before is not None and herd <= before.last:
            return  # a pull that came much too late
        if before is not None and herd - before.first < self._together:
            self._closed[-1] = Spread(before.first, herd, max(before.seconds, last - first))
        else:
            self._closed.append(Spread(herd, herd, last - first))
        if len(self._closed) > self._most:
            self._together *= 2
            self._closed = [_joined(self._closed[k : k + 2]) for k in range(0, len(self._closed), 2)]


def _joined(spreads: list[Spread]) -> Spread:
    return Spread(spreads[0].first, spreads[-1].last, max(each.seconds for each in spreads))
