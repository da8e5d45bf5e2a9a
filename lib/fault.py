"""A fault in ocidriver itself: the line that reports it, and its traceback for those who debug."""

from __future__ import annotations

import os
import traceback

from .streams import write_line

# Set to 1, this variable does for every command what --traceback does for the load test.
VARIABLE = "OCIDRIVER_TRACEBACK"

_wanted = False


def show_tracebacks() -> None:
    """From now on the traceback of a fault goes to stderr."""
    global _wanted
    _wanted = True


def fault_line(error: Exception) -> str:
    """What to tell the user. Writes the traceback of `error` to stderr first if somebody asked for it."""
    if not _wanted and os.environ.get(VARIABLE) in (None, "", "0"):
        return f"a fault in ocidriver itself: {error!r}; please report it ({VARIABLE}=1 shows where)"
    for line in traceback_lines(error):
        write_line(line)
    return f"a fault in ocidriver itself: {error!r}; please report it"


def traceback_lines(error: Exception) -> list[str]:
    """The traceback, line by line."""
    return "".join(traceback.format_exception(error)).splitlines()
