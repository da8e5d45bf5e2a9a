"""`--start-at`: a time of day or a date with time, so that several machines begin together."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta

from dateutil import parser, tz

from ..errors import UsageError


def parse_start(text: str, now: datetime) -> datetime:
    """A moment after `now` (with its zone). A bare time of day that is over today means tomorrow's."""
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
            f"--start-at: cannot read '{text}'; write 22:30, or 2030-01-31 22:30, or with +01:00 behind"
        ) from None
    if not timed:
        raise UsageError(f"--start-at: '{text}' has no time of day; write 22:30, or 2030-01-31 22:30")
    if when <= now:
        raise UsageError(f"--start-at: {when.isoformat(sep=' ')} is over")
    return when


def _local(when: datetime) -> datetime:
    """A time without a zone is this machine's; its offset is that of its own date."""
    return when.replace(tzinfo=tz.tzlocal()) if when.tzinfo is None else when
