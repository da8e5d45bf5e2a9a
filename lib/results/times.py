"""Times as files hold them: ISO 8601 with a zone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

# A datetime that must have a zone.
Moment = Annotated[datetime, Meta(tz=True)]


def as_written(moment: datetime, timespec: str) -> datetime:
    """Returns the time as a reader of the file gets it: cut to the precision `timespec`, with a UTC offset as zone."""
    return datetime.fromisoformat(moment.isoformat(timespec=timespec))


def to_milliseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
