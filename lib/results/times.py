"""Times as files hold them: ISO 8601 with a zone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

# Only with a zone.
Moment = Annotated[datetime, Meta(tz=True)]


def as_written(moment: datetime, timespec: str) -> datetime:
    """What a reader of the file gets: cut to the precision of `timespec`, the zone as an offset from UTC."""
    return datetime.fromisoformat(moment.isoformat(timespec=timespec))


def to_milliseconds(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
