"""Draws a block of lines at the end of what a terminal shows, in place of the one drawn before."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.text import Text

_WRITTEN_AT_ONCE = 2048


class Painter:
    """Keeps a block of lines at the end of what a terminal shows.

    It is cleared line by line: some terminals save what is cleared by one sequence from their first line on.
    """

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._drawn: list[int] = []  # the widths of the lines that stand there
        self._poll = select.poll()
        self._poll.register(terminal, select.POLLOUT)
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"

    def size(self) -> tuple[int, int]:
        """Columns and rows now; 80 and 24 where the terminal does not know."""
        try:
            width, height = os.get_terminal_size(self._terminal)
        except OSError:
            width, height = 0, 0
        return width or 80, height or 24

    def ready(self, seconds: float) -> bool:
        """Whether the terminal takes something; one that is held (Ctrl-S) does not."""
        return any(flags & select.POLLOUT for _, flags in self._poll.poll(seconds * 1000))

    def paint(self, above: Sequence[str], closing: Sequence[Text], block: Sequence[Text]) -> None:
        """Lines that stay, then the block that the next painting replaces."""
        width, _ = self.size()
        rows = self._rows(width)
        parts = [_up(rows)]
        if above or closing:  # they may wrap, and what stood there would show behind their ends
            parts.append("\x1b[2K\x1b[B" * rows + _up(rows))
        parts += [f"{line}\r\n" for line in above]
        parts += [f"\x1b[K{line}\r\n" for line in styled([*closing, *block], width)]
        self._drawn = [min(line.cell_len, width - 1) for line in block]
        parts.append("\x1b[J")
        self._write("".join(parts).encode(self._encoding, "replace"))

    def _rows(self, width: int) -> int:
        """Those of the block. A terminal that was made narrower has wrapped what was drawn wider."""
        return sum(max(1, -(-drawn // width)) for drawn in self._drawn)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._terminal, data[:_WRITTEN_AT_ONCE]) :]


def _up(rows: int) -> str:
    """To the beginning of the line that is so many rows higher."""
    return f"\r\x1b[{rows}A" if rows else "\r"


def styled(lines: Sequence[Text], width: int) -> list[str]:
    """With the terminal's colours, cropped to a column less than its width: in the last one a terminal may wrap."""
    if not lines:
        return []
    console = Console(
        file=StringIO(), force_terminal=True, width=max(width - 1, 1), highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(
            Text("\n").join(lines), no_wrap=True, overflow="crop", crop=True
        )  # all at once: it is dear
    return capture.get().split("\n")[:-1]
