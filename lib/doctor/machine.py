"""Checks of this machine: its temporary folder, its limit on open files, and its clock."""

from __future__ import annotations

import resource
import shutil
import tempfile
from datetime import datetime, timezone

from dateutil import parser

from ..counted import counted
from ..http.address import Endpoint
from ..http.registry import Answer
from .check import FAILURE, OK, WARNING, Check

_LEAST_ROOM = 16 << 20
_ENOUGH_ROOM = 1 << 30
_SKEW = 5.0


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
