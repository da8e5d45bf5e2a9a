"""Checks of this machine: its temporary folder, its clock, and the limits on files, processes, memory and CPU."""

from __future__ import annotations

import resource
import shutil
import tempfile
from datetime import datetime, timezone

from dateutil import parser

from ..counted import counted
from ..http.address import Endpoint
from ..http.registry import Answer
from ..processes.cgroup import Limits
from ..processes.limits import user_limits
from .check import FAILURE, OK, WARNING, Check

_LEAST_ROOM = 16 << 20
_ENOUGH_ROOM = 1 << 30
_SKEW = 5.0
# What a client takes, measured with all of them and rounded up: address space in bytes, threads, memory in bytes.
_CLIENT_SPACE, _CLIENT_THREADS, _CLIENT_MEMORY = 1 << 30, 12, 40 << 20
# What the driver takes besides: threads, and memory in bytes.
_DRIVER_THREADS, _DRIVER_MEMORY = 20, 128 << 20


def clock_skew(endpoint: Endpoint, answer: Answer) -> Check:
    """Compares this machine's clock with the Date header of a server's answer."""
    date = answer.headers.get("Date", "")
    try:
        skew = (parser.parse(date) - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return Check(
            "clock", WARNING, f"{endpoint.name} sends no valid Date header, so its clock cannot be compared"
        )
    if abs(skew) > _SKEW:
        advice = "synchronise the clocks (NTP) before you compare times of this test with the server's log"
        return Check(
            "clock",
            WARNING,
            f"the clock of {endpoint.name} differs by {skew:+.0f} s from this machine's",
            advice,
        )
    return Check("clock", OK, f"the clock of {endpoint.name} is within {_SKEW:.0f} s of this machine's")


def room() -> Check:
    """Checks the free space for temporary files."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    message = f"{free / (1 << 30):.1f} GiB free in {folder}"
    if free < _LEAST_ROOM:
        return Check("room", FAILURE, message, "free some space, or set TMPDIR to another folder")
    if free < _ENOUGH_ROOM:
        advice = "a client may store layers there while it pulls; set TMPDIR to a folder with more space"
        return Check("room", WARNING, message, advice)
    return Check("room", OK, message)


def descriptors(workers: int) -> Check:
    """Checks that the limit on open files suffices for this number of workers."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = 3 * workers + 50
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Check(
            "descriptors",
            FAILURE,
            f"the limit on open files is {hard}, but {counted(workers, 'worker')} may need {needed}",
            f"run ulimit -n {needed} first",
        )
    return Check(
        "descriptors", OK, f"the limit on open files is high enough for {counted(workers, 'worker')}"
    )


def limits(workers: int, cgroup: Limits) -> list[Check]:
    """Names the limits that might starve the clients of this number of workers. None of them ends the run."""
    space, processes = user_limits()
    threads = workers * (1 + _CLIENT_THREADS) + _DRIVER_THREADS
    memory = workers * _CLIENT_MEMORY + _DRIVER_MEMORY
    found = []
    if space is not None and space < max(_CLIENT_SPACE, memory):
        found.append(
            Check(
                "limits",
                WARNING,
                f"a process may use {_mib(space)} of address space (ulimit -v), a client takes {_mib(_CLIENT_SPACE)}",
                "run ulimit -v unlimited first",
            )
        )
    for name, limit in (("ulimit -u", processes), ("pids.max of the cgroup", cgroup.pids)):
        if limit is not None and limit < threads:
            found.append(
                Check(
                    "limits",
                    WARNING,
                    f"{limit} processes and threads are allowed ({name}), "
                    f"{counted(workers, 'worker')} may need {threads}",
                    "raise the limit, or give fewer workers",
                )
            )
    if cgroup.memory is not None and cgroup.memory < memory:
        found.append(
            Check(
                "limits",
                WARNING,
                f"{_mib(cgroup.memory)} of memory are allowed (memory.max of the cgroup), "
                f"{counted(workers, 'worker')} may need {_mib(memory)}",
                "raise the limit, or give fewer workers",
            )
        )
    cores = "" if cgroup.cores is None else f"; the cgroup's quota is {cgroup.cores:g} cores"
    return found or [
        Check("limits", OK, f"enough processes and memory for {counted(workers, 'worker')}{cores}")
    ]


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"
