"""Wall time from one reading of the wall clock and monotonic time after it, so setting the clock changes no rate."""

from __future__ import annotations

import time
from datetime import datetime


class Clock:
    """Converts monotonic times to local wall time. `offset` is the wall time at monotonic time 0, in seconds."""

    def __init__(self, offset: float | None = None) -> None:
        self.offset = time.time() - time.monotonic() if offset is None else offset

    def wall(self, monotonic: float) -> datetime:
        """Returns the local time, with its time zone."""
        return datetime.fromtimestamp(self.offset + monotonic).astimezone()

    def line_time(self, monotonic: float) -> str:
        """Returns the local time as `YYYY-MM-DD HH:MM:SS`, the beginning of metrics and log lines."""
        return self.wall(monotonic).strftime("%Y-%m-%d %H:%M:%S")
