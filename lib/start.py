"""`--start-at`: a time of day or a date with time, so that several machines begin together."""

from __future__ import annotations

from datetime import datetime, timedelta

from dateutil import parser, tz

from .errors import UsageError


def parse_start(text: str, now: datetime) -> datetime:
    """A moment after `now` (with its zone). A bare time of day that is over today means tomorrow's."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    other_day = (midnight + timedelta(days=40)).replace(day=1)
    try:
        when = parser.parse(text, default=midnight)
        dated = parser.parse(text, default=other_day).date() == when.date()
    except (ValueError, OverflowError):
        raise UsageError(
            f"--start-at: cannot read '{text}'; write 22:30, or 2030-01-31 22:30, a zone may follow"
        ) from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=tz.tzlocal())
    if when <= now:
        if dated:
            raise UsageError(f"--start-at: {when.isoformat(sep=' ')} is over")
        when += timedelta(days=1)
    return when
