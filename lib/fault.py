"""Reports a fault in ocidriver itself: one line for the user, and a traceback for debugging."""

from __future__ import annotations

import os
import traceback

from .streams import write_line

# This environment variable, set to 1, shows tracebacks for every command, as --traceback does for the load test.
VARIABLE = "OCIDRIVER_TRACEBACK"

_wanted = False


def show_tracebacks() -> None:
    """Makes `fault_line` write the traceback to stderr from now on."""
    global _wanted
    _wanted = True


def fault_line(error: Exception) -> str:
    """Returns the message for the user. Writes the traceback of `error` to stderr first if the user asked for it."""
    if not _wanted and os.environ.get(VARIABLE) in (None, "", "0"):
        return f"a fault in ocidriver itself: {error!r}; please report it ({VARIABLE}=1 shows where)"
    for line in traceback_lines(error):
        write_line(line)
    return f"a fault in ocidriver itself: {error!r}; please report it"


def traceback_lines(error: Exception) -> list[str]:
    """Returns the lines of the traceback."""
    return "".join(traceback.format_exception(error)).splitlines()
