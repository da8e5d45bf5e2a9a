"""The limits of this machine: how many files may be open, and what an error that comes of a limit is told as."""

from __future__ import annotations

import errno
import resource
from contextlib import suppress

from ..errors import RunError

_DESCRIPTORS = 16384
# Below this not even one worker has what it needs.
_FEWEST_DESCRIPTORS = 32
# Errors that come of a limit on the process or its user.
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


def of_this_machine(error: Exception) -> str | None:
    """What to tell about an error that is no fault of the driver's."""
    if isinstance(error, OSError):
        hint = "; is a limit too low (ulimit -n, -u)?" if error.errno in _LIMITS else ""
        return f"this machine cannot go on: {error.strerror or error}{hint}"
    if isinstance(error, MemoryError):
        return "this machine cannot go on: out of memory"
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return "this machine cannot go on: no thread can be started; is a limit too low (ulimit -u, -v)?"
    return None


def raise_descriptor_limit() -> None:
    """A pull needs three descriptors, and hundreds of workers are fine; the soft limit is often 1024 or 256."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if hard != resource.RLIM_INFINITY and hard < _FEWEST_DESCRIPTORS:
        raise RunError(
            f"only {hard} open files are allowed, too few for any run; raise the limit (ulimit -n)"
        )
