"""stderr and stdout: writes each error and warning as one clean line, and recognizes outputs that go to stdout."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .clean import clean

# The longest line, in characters.
LINE_LENGTH = 2000
# The name of stdout as a file.
STDOUT = "-"
_diverted: Callable[[str], bool] | None = None


def say(message: str) -> None:
    """Writes an error to stderr, as one clean line."""
    line = f"ocidriver: {clean(message, LINE_LENGTH)}"
    if _diverted is None or not _diverted(line):
        write_line(line)


def write_line(line: str) -> None:
    """Writes a line to stderr as it is. Does nothing if stderr is closed."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode("utf-8", "replace"))


def divert(taker: Callable[[str], bool] | None) -> None:
    """Passes the lines of `say` to `taker`, which draws on the terminal, until a call with None.

    A line for which `taker` returns False goes to stderr.
    """
    global _diverted
    _diverted = taker


def warn(message: str) -> None:
    """Writes a warning to stderr, as one clean line."""
    say(f"warning: {message}")


def is_stdout(path: str | Path) -> bool:
    """Returns whether this path is `-`, or another name of the file that stdout is open to."""
    if str(path) == STDOUT:
        return True
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(1))
    return False


def open_standard_descriptors() -> None:
    """Opens /dev/null for a closed stdin, stdout or stderr. Otherwise the next opened file would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
