"""What goes to stderr: errors and warnings, one line each, cleaned of control characters."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .clean import clean

LINE_LENGTH = 2000
_diverted: Callable[[str], bool] | None = None


def say(message: str) -> None:
    """An error. A closed stderr is no reason for another."""
    line = f"ocidriver: {clean(message, LINE_LENGTH)}"
    if _diverted is None or not _diverted(line):
        say_line(line)


def say_line(line: str) -> None:
    """A clean line, straight to stderr."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode("utf-8", "replace"))


def divert(taker: Callable[[str], bool] | None) -> None:
    """Let whoever draws on the terminal write the lines instead; a line that it does not take is written as ever."""
    global _diverted
    _diverted = taker


def print_line(line: str) -> None:
    """A line for a program that reads stderr, as it is."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode("utf-8", "replace"))


def warn(message: str) -> None:
    """A warning."""
    say(f"warning: {message}")


STDOUT = "-"


def is_stdout(path: str | Path) -> bool:
    """Whether it is `-`, or another name of what stdout is open to."""
    if str(path) == STDOUT:
        return True
    with suppress(OSError):
        return os.path.samestat(os.stat(path), os.fstat(1))
    return False
