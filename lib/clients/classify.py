"""The class, the message and the retries of a launch.

Clients exit 1 for every failure of their own, so only stderr shows the class. Servers write into that text. The file of
each client therefore separates the client's own words from the server's text. Patterns see the client's words only.
"""

from __future__ import annotations

import errno
from typing import Protocol

from ..clean import clean
from ..durations import spoken
from ..outcomes import ErrorClass, Failure
from ..processes.launch import Outcome
from ..processes.limits import hint
from .client import Client, Unshown
from .go_words import hint_at_limit

_C = ErrorClass


class StderrReader(Protocol):
    """What knows how one client reports its failures: every `Client`, and its class."""

    @staticmethod
    def read(stderr: str) -> tuple[str, ErrorClass]: ...


def classify(client: StderrReader, returncode: int, stderr: str, *, timed_out: bool = False) -> Failure:
    """The class and message of a failed launch of `client`.

    `returncode` is negative for a signal, as `subprocess` gives it. `timed_out` says that the driver sent the signal.
    """
    words, found = client.read(stderr)
    message = clean(words)
    if found is _C.CLIENT:
        message += hint_at_limit(words)
    if timed_out:
        return Failure(_C.TIMEOUT.value, message)
    if returncode < 0:
        return Failure(_C.KILLED.value, message)
    if found is _C.OTHER:
        found = _status_class(returncode)
    return Failure(found.value, message)


def _status_class(returncode: int) -> ErrorClass:
    """For a client behind a shell script: the statuses of the shell, if stderr shows no class."""
    if returncode in (126, 127):
        return _C.CLIENT
    return _C.KILLED if returncode > 128 else _C.OTHER


# The error number of a launch whose image could not be removed from the client's store afterwards.
LEFT_BEHIND = errno.ENOTEMPTY
# Errors that show a client that is missing, or does not work.
_NO_CLIENT = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EPERM, LEFT_BEHIND)


def _own_error(error: OSError) -> ErrorClass:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ErrorClass.DISK
    return ErrorClass.CLIENT if error.errno in _NO_CLIENT or hint(error) else ErrorClass.OTHER


def failure_of(client: StderrReader, outcome: Outcome) -> Failure:
    """The class and message of a launch that did not succeed."""
    if outcome.error is not None:
        return Failure(_own_error(outcome.error).value, clean(outcome.stderr) + hint(outcome.error))
    failure = classify(client, outcome.returncode, outcome.stderr, timed_out=outcome.timed_out)
    if outcome.timed_out and not failure.message:
        return Failure(
            failure.error_class, f"killed after {spoken(round(outcome.seconds, 1))} (--pull-timeout)"
        )
    return failure


def unshown_answer(client: Client, outcome: Outcome) -> Unshown | None:
    """The server's answer that made a launch fail, if the client ended by itself and does not show the status."""
    if outcome.error is not None or outcome.timed_out or outcome.returncode <= 0:
        return None
    return client.unshown(outcome.stderr)
