"""The exceptions that end a run; a failed pull is none of them, it is an Event."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """What the shell sees; a signal's status is 128 + its number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    THRESHOLD = 3


class UsageError(Exception):
    """The command line is wrong: exit 2, one line that says what to do."""


class RunError(Exception):
    """The test could not be carried out: exit 1, one line that says what to do."""


class Stopped(Exception):
    """A signal ended a stage before the ramp; the status follows from the signal."""
