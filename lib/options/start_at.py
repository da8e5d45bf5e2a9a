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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", parser.UnknownTimezoneWarning)
            when = _local(parser.parse(text, default=midnight))
            dated = _is_dated(text, when)
            timed = parser.parse(text, default=midnight.replace(hour=1, minute=1)).time() == when.time()
        if when <= now and not dated:
            when = _local((when + timedelta(days=1)).replace(tzinfo=when.tzinfo))
    except (ValueError, ArithmeticError, parser.UnknownTimezoneWarning):
        raise UsageError(
            f"--start-at: cannot read '{text}'; write 22:30 or 2030-01-31 22:30, with a zone such as +01:00 if needed"
        ) from None
    if not timed:
        raise UsageError(f"--start-at: '{text}' has no time of day; write 22:30 or 2030-01-31 22:30")
    if when <= now:
        raise UsageError(f"--start-at: {when.isoformat(sep=' ')} is in the past; give a later time")
    return when


def late_hint(text: str, when: datetime, now: datetime) -> str | None:
    """Returns what to tell the user if a time of day has passed today, so that the load begins tomorrow; else None.

    `when` is the time that `parse_start` gave for the text.
    """
    today = _local(parser.parse(text, default=datetime(now.year, now.month, now.day)))
    if today > now or _is_dated(text, today):
        return None
    minutes = max(0, round((when - now).total_seconds() / 60))
    return (
        f"--start-at: {when:%H:%M} has passed today, so the load begins at {when.isoformat(sep=' ')}, "
        f"in {minutes // 60} h {minutes % 60} min; to begin at once, stop this run and leave out the option"
    )


def _is_dated(text: str, when: datetime) -> bool:
    """Returns whether the text has a date. `when` is what it means today; another day must not change it."""
    other_day = (datetime(when.year, when.month, when.day) + timedelta(days=40)).replace(day=1)
    return _local(parser.parse(text, default=other_day)).date() == when.date()


def _local(when: datetime) -> datetime:
    """Returns the time with a zone. A time without one is in this machine's zone, with the offset of its own date."""
    return when.replace(tzinfo=tz.tzlocal()) if when.tzinfo is None else when
