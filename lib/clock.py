"""One reading of the wall clock at the start and monotonic time after it: rates survive a clock that is set."""

from __future__ import annotations

import time
from datetime import datetime


class Clock:
    """Turns monotonic readings into local wall time."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def wall(self, monotonic: float) -> datetime:
        """Local time with its zone."""
        return datetime.fromtimestamp(self._offset + monotonic).astimezone()

    def line_time(self, monotonic: float) -> str:
        """`YYYY-MM-DD HH:MM:SS`, as metrics and log lines begin."""
        return self.wall(monotonic).strftime("%Y-%m-%d %H:%M:%S")
