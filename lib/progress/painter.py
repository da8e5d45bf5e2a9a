"""Draws a block of lines at the end of a terminal's output, in place of the previous block."""

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
    """Keeps a block of lines at the end of a terminal's output.

    It clears the block line by line. Some terminals copy lines to the scrollback if one sequence clears them all.
    """

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._drawn: list[int] = []  # the widths of the block's lines
        self._poll = select.poll()
        self._poll.register(terminal, select.POLLOUT)
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"

    def size(self) -> tuple[int, int]:
        """Returns the current columns and rows, or 80 and 24 if the terminal does not report them."""
        try:
            width, height = os.get_terminal_size(self._terminal)
        except OSError:
            width, height = 0, 0
        return width or 80, height or 24

    def ready(self, seconds: float) -> bool:
        """Waits at most this long. Returns whether the terminal accepts output; a paused one (Ctrl-S) does not."""
        return any(flags & select.POLLOUT for _, flags in self._poll.poll(seconds * 1000))

    def forget(self) -> None:
        """Leaves the block where it is, because others have written below it. The next block comes below them."""
        self._drawn = []

    def paint(self, above: Sequence[str], closing: Sequence[Text], block: Sequence[Text]) -> None:
        """Writes lines that stay, then the block, which the next call replaces."""
        width, _ = self.size()
        rows = self._rows(width)
        parts = [_up(rows)]
        if above or closing:  # they may wrap, and old text would show after their ends
            parts.append("\x1b[2K\x1b[B" * rows + _up(rows))
        parts += [f"{line}\r\n" for line in above]
        parts += [f"\x1b[K{line}\r\n" for line in styled([*closing, *block], width)]
        self._drawn = [min(line.cell_len, width - 1) for line in block]
        parts.append("\x1b[J")
        self._write("".join(parts).encode(self._encoding, "replace"))

    def _rows(self, width: int) -> int:
        """Returns the rows of the block now. A terminal that became narrower has wrapped longer lines."""
        return sum(max(1, -(-drawn // width)) for drawn in self._drawn)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._terminal, data[:_WRITTEN_AT_ONCE]) :]


def _up(rows: int) -> str:
    """Returns the sequence that moves the cursor to the start of the line this many rows higher."""
    return f"\r\x1b[{rows}A" if rows else "\r"


def styled(lines: Sequence[Text], width: int) -> list[str]:
    """Returns the lines with colours, cropped to `width` - 1 columns: a terminal may wrap in its last column."""
    if not lines:
        return []
    console = Console(
        file=StringIO(), force_terminal=True, width=max(width - 1, 1), highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        console.print(
            Text("\n").join(lines), no_wrap=True, overflow="crop", crop=True
        )  # all at once, as each call is expensive
    return capture.get().split("\n")[:-1]
