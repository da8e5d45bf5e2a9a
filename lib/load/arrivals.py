"""When the pulls of a schedule are due: evenly, or at random as the pulls of many independent clients.

A position counts pulls: at position 2.5, two and a half pulls are due by the rate's integral. The schedule turns a
position into a second. So both kinds follow a rate that changes.
"""

from __future__ import annotations

import math
import threading
from array import array
from bisect import bisect_right
from random import Random
from typing import Protocol


class Arrivals(Protocol):
    """The positions of the pulls, in ascending order. Pulls are numbered from 0. Any thread may ask."""

    def position(self, pull: int) -> float:
        """Returns the position at which this pull is due."""
        ...

    def count_by(self, position: float) -> int:
        """Returns how many pulls are due at or before this position."""
        ...


class Even:
    """One pull at every whole position: the gaps are equal if the rate is."""

    def position(self, pull: int) -> float:
        return float(pull)

    def count_by(self, position: float) -> int:
        return math.floor(position) + 1


class Poisson:
    """A Poisson process: the gaps are independent, and each is exponential with a mean of one position.

    For a rate that changes, this is the inverse of the rate's integral at the points of a process of rate 1 (Cinlar,
    Introduction to Stochastic Processes, 1975, section 4.7). The same seed gives the same positions.
    """

    def __init__(self, seed: int | None) -> None:
        self._random = Random(seed)  # noqa: S311 - gaps, not secrets
        self._positions = array("d")
        self._lock = threading.Lock()

    def position(self, pull: int) -> float:
        with self._lock:
            while len(self._positions) <= pull:
                self._extend()
            return self._positions[pull]

    def count_by(self, position: float) -> int:
        with self._lock:
            while not self._positions or self._positions[-1] <= position:
                self._extend()
            return bisect_right(self._positions, position)

    def _extend(self) -> None:
        last = self._positions[-1] if self._positions else 0.0
        self._positions.append(last + self._random.expovariate(1.0))
