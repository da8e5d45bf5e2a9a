"""The class, the message and the retries of a launch.

Clients exit 1 for every failure of their own, so only stderr shows the class. Servers write into that text. The file of
each client therefore separates the client's own words from the server's text. Patterns see the client's words only.
"""

from __future__ import annotations

import errno

from ..clean import clean
from ..outcomes import ErrorClass, Failure
from ..processes.launch import Outcome
from .crane import crane_class, crane_retries, crane_words
from .skopeo import skopeo_class, skopeo_words

_C = ErrorClass


def classify(client: str, returncode: int, stderr: str, *, timed_out: bool = False) -> Failure:
    """The class and message of a failed launch of `client`, "crane" or "skopeo".

    `returncode` is negative for a signal, as `subprocess` gives it; `timed_out` says that the driver sent it.
    """
    skopeo = client == "skopeo"
    before, words = ("", skopeo_words(stderr)) if skopeo else crane_words(stderr)
    message = clean(words)
    if timed_out:
        return Failure(_C.TIMEOUT.value, message)
    if returncode < 0:
        return Failure(_C.KILLED.value, message)
    found = skopeo_class(words) if skopeo else crane_class(before, words)
    if found is _C.OTHER:
        found = _status_class(returncode)
    return Failure(found.value, message)


def _status_class(returncode: int) -> ErrorClass:
    """For a client behind a shell script: the shell's own statuses, where stderr has told nothing."""
    if returncode in (126, 127):
        return _C.CLIENT
    return _C.KILLED if returncode > 128 else _C.OTHER


def retries(client: str, stderr: str, *, succeeded: bool = False) -> int | None:
    """How often the client asked again by itself; None for skopeo, which does not say."""
    return None if client == "skopeo" else crane_retries(stderr, succeeded=succeeded)


_NOT_EXECUTABLE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EPERM)


def _own_error(error: OSError) -> ErrorClass:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ErrorClass.DISK
    return ErrorClass.CLIENT if error.errno in _NOT_EXECUTABLE else ErrorClass.OTHER


def failure_of(client: str, outcome: Outcome) -> Failure:
    """The class and message of a launch that did not succeed."""
    if outcome.error is not None:
        return Failure(_own_error(outcome.error).value, clean(outcome.stderr))
    failure = classify(client, outcome.returncode, outcome.stderr, timed_out=outcome.timed_out)
    if outcome.timed_out and not failure.message:
        return Failure(failure.error_class, f"killed after {outcome.seconds:.1f} s (--pull-timeout)")
    return failure
