"""stderr and stdout: errors and warnings as one clean line each, and which outputs go to stdout."""

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
    """Writes a line to stderr as it is. A closed stderr is no reason for an error."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode("utf-8", "replace"))


def divert(taker: Callable[[str], bool] | None) -> None:
    """Lets whoever draws on the terminal write the lines instead. A line that it does not take goes to stderr."""
    global _diverted
    _diverted = taker


def warn(message: str) -> None:
    """Writes a warning to stderr, as one clean line."""
    say(f"warning: {message}")


def is_stdout(path: str | Path) -> bool:
    """Whether this path is `-`, or another name of what stdout is open to."""
    if str(path) == STDOUT:
        return True
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(1))
    return False
