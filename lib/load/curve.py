"""The rate that a schedule wants over time, in pulls per second of all workers together."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ..errors import UsageError

MOST_PULLS_PER_SECOND: Final = 100_000.0
# Sums of lengths differ by less, in seconds.
_ROUNDING: Final = 1e-6
_RATE: Final = re.compile(r"(?P<first>\d+(\.\d*)?|\.\d+)(:(?P<last>\d+(\.\d*)?|\.\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rate:
    """Pulls per second of all workers together: `first` at the beginning of a time, `last` at its end."""

    first: float
    last: float

    def __str__(self) -> str:
        return f"{self.first:g}" if self.first == self.last else f"{self.first:g}:{self.last:g}"


def parse_rate(option: str, text: str) -> Rate:
    """Parses `50` or `10:200`. Raises UsageError for anything else."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{option}: '{text}' is not a valid rate; give pulls per second, such as 50, or 10:200 to go from 10 to 200"
        )
    first = float(match["first"])
    rate = Rate(first, float(match["last"]) if match["last"] else first)
    if not 0 < max(rate.first, rate.last) <= MOST_PULLS_PER_SECOND:
        raise UsageError(
            f"{option}: '{text}' is out of range; give a rate above 0 and at most "
            f"{MOST_PULLS_PER_SECOND:g} pulls per second"
        )
    return rate


@dataclass(frozen=True, slots=True)
class Curve:
    """Rates that follow one another, each for its seconds, and each in a straight line from `first` to `last`.

    The number of pulls due by second t is the integral of the rate; within one rate of s seconds it is
    first·t + (last - first)·t²/(2·s).
    """

    rates: tuple[tuple[Rate, float], ...]

    @property
    def seconds(self) -> float:
        return sum(seconds for _, seconds in self.rates)

    @property
    def total(self) -> float:
        """How many pulls are due in all, as a real number."""
        return self.due_by(self.seconds)

    def due_by(self, second: float) -> float:
        """Returns how many pulls are due by this second, as a real number."""
        return sum(_integral(rate, seconds, second - start) for rate, seconds, start in self._placed())

    def second_of(self, pulls: float) -> float:
        """Returns the second by which so many pulls are due; infinity if there are never so many."""
        before = 0.0
        for rate, seconds, start in self._placed():
            due = _integral(rate, seconds, seconds)
            if pulls < before + due:
                return start + _inverse(rate, seconds, pulls - before)
            before += due
        return math.inf

    def offered(self, start: float, end: float) -> float | None:
        """Returns the mean rate between two seconds; None if no time of the curve lies between them."""
        end = min(end, self.seconds)
        return (self.due_by(end) - self.due_by(start)) / (end - start) if end > start else None

    def is_sloped(self, start: float, end: float) -> bool:
        """Returns whether the rate changes between two seconds."""
        return any(
            rate.first != rate.last and min(end, begun + seconds) - max(start, begun) > _ROUNDING
            for rate, seconds, begun in self._placed()
        )

    def points(self, end: float) -> list[tuple[float, float]]:
        """Returns (second, rate) at both ends of each straight part of the curve, up to a second."""
        found: list[tuple[float, float]] = []
        for rate, seconds, start in self._placed():
            if start < end:
                until = min(seconds, end - start)
                reached = rate.first + (rate.last - rate.first) * until / seconds
                found += [(start, rate.first), (start + until, reached)]
        return found

    def _placed(self) -> Iterator[tuple[Rate, float, float]]:
        """Yields each rate with its seconds and the second at which it begins."""
        start = 0.0
        for rate, seconds in self.rates:
            yield rate, seconds, start
            start += seconds


def _integral(rate: Rate, seconds: float, second: float) -> float:
    t = min(max(second, 0.0), seconds)
    return rate.first * t + (rate.last - rate.first) * t * t / (2 * seconds)


def _inverse(rate: Rate, seconds: float, pulls: float) -> float:
    slope = (rate.last - rate.first) / seconds
    root = rate.first + math.sqrt(max(0.0, rate.first**2 + 2 * slope * pulls))
    # this form of the solution of the quadratic equation also holds for a slope of 0
    return min(2 * pulls / root, seconds) if root else 0.0
