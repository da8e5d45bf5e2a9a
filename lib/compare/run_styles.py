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
    """A run and its style. Runs can be told apart without colours too."""

    place: int
    run: Recorded

    @property
    def letter(self) -> str:
        """A, B … Z, AA, AB …"""
        letters, rest = "", self.place
        while rest >= 0:
            letters = ascii_uppercase[rest % 26] + letters
            rest = rest // 26 - 1
        return letters

    @property
    def name(self) -> str:
        """The name in a legend: the letter and the end of the file's name."""
        file = self.run.file
        return label(
            f"{self.letter} {file if len(file) <= _LONGEST_NAME else '…' + file[1 - _LONGEST_NAME :]}"
        )

    @property
    def colour(self) -> str:
        return _COLOURS[self.place % len(_COLOURS)]

    @property
    def dash(self) -> str:
        return _DASHES[self.place % len(_DASHES)]

    @property
    def symbol(self) -> str:
        return _SYMBOLS[self.place % len(_SYMBOLS)]

    @property
    def pattern(self) -> str:
        return _PATTERNS[self.place % len(_PATTERNS)]


def sides(pairs: Sequence[Told]) -> list[Side]:
    """Returns all runs. The first is the one that the others are compared with."""
    runs = [pairs[0].comparison.a, *(pair.comparison.b for pair in pairs)]
    return [Side(place, run) for place, run in enumerate(runs)]
