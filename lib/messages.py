"""What goes to stderr: errors and warnings, one line each, cleaned of control characters."""

from __future__ import annotations

import os
from contextlib import suppress

from .failures import clean

LINE_LENGTH = 2000


def say(message: str) -> None:
    """An error. A closed stderr is no reason for another."""
    with suppress(OSError):
        os.write(2, f"ocidriver: {clean(message, LINE_LENGTH)}\n".encode("utf-8", "replace"))


def print_line(line: str) -> None:
    """A line for a program that reads stderr, as it is."""
    with suppress(OSError):
        os.write(2, f"{line}\n".encode("utf-8", "replace"))


def warn(message: str) -> None:
    """A warning."""
    say(f"warning: {message}")
