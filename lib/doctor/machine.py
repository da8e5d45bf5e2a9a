"""Checks of this machine: its temporary folder, its limit on open files, and its clock beside a server's."""

from __future__ import annotations

import resource
import shutil
import tempfile
from datetime import datetime, timezone

from dateutil import parser

from ..http.address import Endpoint
from ..http.registry import Answer
from .check import FAILURE, OK, WARNING, Check

_LEAST_ROOM = 16 << 20
_ENOUGH_ROOM = 1 << 30
_SKEW = 5.0


def clock_skew(endpoint: Endpoint, answer: Answer) -> Check:
    """Compares this machine's clock with the date of a server's answer."""
    date = answer.headers.get("Date", "")
    try:
        skew = (parser.parse(date) - datetime.now(timezone.utc)).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return Check("clock", WARNING, f"{endpoint.name} tells no date, so its clock cannot be compared")
    if abs(skew) > _SKEW:
        advice = "set the clocks (NTP) before you compare this test's times with the server's log"
        return Check("clock", WARNING, f"{endpoint.name} is {skew:+.0f} s off this machine's clock", advice)
    return Check("clock", OK, f"{endpoint.name} agrees with this machine's within {_SKEW:.0f} s")


def room() -> Check:
    """Looks for space for temporary files."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    message = f"{free / (1 << 30):.1f} GiB free in {folder}"
    if free < _LEAST_ROOM:
        return Check("room", FAILURE, message, "free some space, or name another folder in TMPDIR")
    if free < _ENOUGH_ROOM:
        advice = "a client may keep layers there while it pulls them; name another folder in TMPDIR"
        return Check("room", WARNING, message, advice)
    return Check("room", OK, message)


def descriptors(workers: int) -> Check:
    """Compares the limit on open files with what so many workers need."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = 3 * workers + 50
    if hard != resource.RLIM_INFINITY and hard < needed:
        return Check(
            "descriptors", FAILURE, f"{hard} allowed, {workers} workers need {needed}", f"ulimit -n {needed}"
        )
    return Check("descriptors", OK, f"enough for {workers} workers")
