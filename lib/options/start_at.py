"""Parses `--start-at`, a time of day or a date with a time. With it, several machines begin together."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta

from dateutil import parser, tz

from ..errors import UsageError


def parse_start(text: str, now: datetime) -> datetime:
    """Returns a time after `now`, with a zone. A time of day that has passed today means tomorrow.

    Raises `UsageError` if the text is not a time, has no time of day, or is in the past.
    """
    midnight = datetime(now.year, now.month, now.day)
    other_day = (midnight + timedelta(days=40)).replace(day=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", parser.UnknownTimezoneWarning)
            when = _local(parser.parse(text, default=midnight))
            dated = _local(parser.parse(text, default=other_day)).date() == when.date()
            timed = parser.parse(text, default=midnight.replace(hour=1, minute=1)).time() == when.time()
        if when <= now and not dated:
            when = _local((when + timedelta(days=1)).replace(tzinfo=when.tzinfo))
    except (ValueError, OverflowError, parser.UnknownTimezoneWarning):
        raise UsageError(
            f"--start-at: cannot read '{text}'; write 22:30 or 2030-01-31 22:30, with a zone such as +01:00 if needed"
        ) from None
    if not timed:
        raise UsageError(f"--start-at: '{text}' has no time of day; write 22:30 or 2030-01-31 22:30")
    if when <= now:
        raise UsageError(f"--start-at: {when.isoformat(sep=' ')} is in the past; give a later time")
    return when


def _local(when: datetime) -> datetime:
    """Returns the time with a zone. A time without one is in this machine's zone, with the offset of its own date."""
    return when.replace(tzinfo=tz.tzlocal()) if when.tzinfo is None else when
