"""The limits of this machine: the limit on open files, and how to word an error that a limit caused."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress

from ..errors import RunError
from ..user_files import named

# The soft limit on open files that the driver asks for.
_DESCRIPTORS = 16384
# With fewer descriptors, not even one worker can run.
_FEWEST_DESCRIPTORS = 32
# Errors that a limit on the process, its user or its cgroup causes, and the names of these limits.
OPEN_FILES, PROCESSES, MEMORY = "ulimit -n", "ulimit -u, pids.max", "ulimit -v, memory.max"
# Each connection takes a local port, and keeps it for a minute after its end. IPv6 has the same range.
PORTS = "net.ipv4.ip_local_port_range"
_LIMITS = {
    errno.EMFILE: OPEN_FILES,
    errno.ENFILE: OPEN_FILES,
    errno.EAGAIN: PROCESSES,
    errno.ENOMEM: MEMORY,
}


def question(limit: str) -> str:
    """Returns the hint at a limit, as an addition to a message."""
    return f"; is a limit too low ({limit})?"


def hint(error: OSError) -> str:
    """Returns the hint at the limit that may have caused an error; empty if none does."""
    return question(_LIMITS[error.errno]) if error.errno in _LIMITS else ""


def of_this_machine(error: Exception) -> str | None:
    """Returns the message for an error that this machine caused; None if the error is a fault in the driver."""
    if isinstance(error, OSError):
        return f"the run cannot continue on this machine: {named(error)}{hint(error)}"
    if isinstance(error, MemoryError):
        return "the run cannot continue on this machine: out of memory; free memory, or give fewer workers"
    if isinstance(error, RuntimeError) and str(error) == "can't start new thread":
        return "the run cannot continue on this machine: no thread can be started; is a limit too low (ulimit -u, -v)?"
    return None


def user_limits() -> tuple[int | None, int | None]:
    """Returns the limits on address space, in bytes, and on processes and threads of this user; None without one.

    The kernel does not apply the second one to root (getrlimit(2)).
    """
    space, processes = (resource.getrlimit(each)[0] for each in (resource.RLIMIT_AS, resource.RLIMIT_NPROC))
    free = processes == resource.RLIM_INFINITY or os.geteuid() == 0
    return None if space == resource.RLIM_INFINITY else space, None if free else processes


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
