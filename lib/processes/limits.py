"""The limits of this machine: the limit on open files, and how to word an error that a limit caused."""

from __future__ import annotations

import errno
import resource
from contextlib import suppress

from ..errors import RunError
from ..user_files import named

# The soft limit on open files that the driver asks for.
_DESCRIPTORS = 16384
# With fewer descriptors, not even one worker can run.
_FEWEST_DESCRIPTORS = 32
# Errors that a limit on the process or its user causes.
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


def of_this_machine(error: Exception) -> str | None:
    """Returns the message for an error that this machine caused; None if the error is a fault in the driver."""
    if isinstance(error, OSError):
        hint = "; is a limit too low (ulimit -n, -u)?" if error.errno in _LIMITS else ""
        return f"the run cannot continue on this machine: {named(error)}{hint}"
    if isinstance(error, MemoryError):
        return "the run cannot continue on this machine: out of memory; free memory, or give fewer workers"
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return "the run cannot continue on this machine: no thread can be started; is a limit too low (ulimit -u, -v)?"
    return None


def raise_descriptor_limit() -> None:
    """Raises the soft limit on open files to 16384 or the hard limit. Raises RunError if fewer than 32 are allowed.

    A pull needs three descriptors. The usual soft limit (1024 or 256) is too low for hundreds of workers.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if hard != resource.RLIM_INFINITY and hard < _FEWEST_DESCRIPTORS:
        raise RunError(
            f"only {hard} open files are allowed, too few for a run; "
            f"raise the limit (ulimit -n) to {_FEWEST_DESCRIPTORS} or more"
        )
