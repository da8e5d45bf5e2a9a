"""Notes of a comparison: what the reader must know besides the figures, the most important first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from ..counted import counted

# What a note is about, in the order of importance.
(RUNS, LIMIT, LOADS, SETTINGS, FEW, DRAINS, METHOD) = range(7)
# A format shows this many notes in full, and the others in brief.
SHOWN: Final = 3


class Note(str):
    """A note. `brief` says the same in a few words, for a reader who has read others. `about` is one of the above."""

    brief: str
    about: int

    def __new__(cls, text: str, brief: str, about: int) -> Note:
        note = super().__new__(cls, text)
        note.brief, note.about = brief, about
        return note


def ordered(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Returns the notes, the most important first. Those of one kind stay in their order."""
    return tuple(sorted(notes, key=lambda note: note.about))


def listed(names: Sequence[str]) -> str:
    """Returns names as words: `a`, `a and b`, `a, b and c`."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def drained(pulls: Sequence[tuple[str, int]], covers: str) -> Note:
    """Returns one note on the pulls that ended late, of all runs together. `pulls` has those of each run."""
    told = counted(sum(count for _, count in pulls), "pull")
    names = listed([file for file, _ in pulls])
    return Note(f"{names}: {told} ended after the planned end, so {covers}", f"{told} ended late", DRAINS)
