"""The letter, colour and line style of each run, the same in all charts and tables of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from ..pages.chart import BLUE, GREEN, ORANGE, PURPLE, RED, label
from .comparison import Told
from .recorded_run import Recorded

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED, "#c2a83e", "#35a7b8", "#c86b9a")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
_PATTERNS = ("", "/", ".", "x", "-", "|")
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Side:
    """A run and its style. Runs can be told apart without colours too.

    `number` counts the runs of a group of several, from 1. They share a colour.
    """

    place: int
    run: Recorded
    number: int = 0

    @property
    def letter(self) -> str:
        """A, B … Z, AA, AB …, or A1, A2 … in a group."""
        return f"{letter(self.place)}{self.number or ''}"

    @property
    def name(self) -> str:
        """The name in a legend: the letter and the end of the file's name."""
        file = self.run.file
        return label(
            f"{self.letter} {file if len(file) <= _LONGEST_NAME else '…' + file[1 - _LONGEST_NAME :]}"
        )

    @property
    def _kind(self) -> int:
        """The dash, symbol and pattern: of its own for each run of a group."""
        return self.place + 2 * max(0, self.number - 1)

    @property
    def colour(self) -> str:
        return _COLOURS[self.place % len(_COLOURS)]

    @property
    def dash(self) -> str:
        return _DASHES[self._kind % len(_DASHES)]

    @property
    def symbol(self) -> str:
        return _SYMBOLS[self._kind % len(_SYMBOLS)]

    @property
    def pattern(self) -> str:
        return _PATTERNS[self._kind % len(_PATTERNS)]


def letter(place: int) -> str:
    """Returns the letter of a run or group: A, B … Z, AA, AB …"""
    letters, rest = "", place
    while rest >= 0:
        letters = ascii_uppercase[rest % 26] + letters
        rest = rest // 26 - 1
    return letters


def sides(pairs: Sequence[Told]) -> list[Side]:
    """Returns all runs. The first run or group is the one that the others are compared with."""
    groups = [pairs[0].comparison.a, *(pair.comparison.b for pair in pairs)]
    return [
        Side(place, run, number if len(group) > 1 else 0)
        for place, group in enumerate(groups)
        for number, run in enumerate(group, 1)
    ]
