"""The exceptions that end a run, and the exit statuses. A failed pull is an Event, not an exception."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit statuses of a process that was not ended by a signal. After a signal the status is 128 + its number."""

    OK = 0
    FAILED = 1
    USAGE = 2
    THRESHOLD = 3


class UsageError(Exception):
    """The command line is wrong: exit status 2. The message is one line that says what happened and what to do."""


class RunError(Exception):
    """The test cannot be carried out: exit status 1. The message is one line that says what happened and what to do."""


class Stopped(Exception):
    """A signal ended a stage before the load. The exit status follows from the signal."""
