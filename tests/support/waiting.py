"""Waiting for something that happens in another thread or process."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 100.0
"""Far more than anything takes, on a machine with much else to do: a limit against hanging, not a measure."""


def wait_until(
    condition: Callable[[], object],
    seconds: float = SECONDS,
    *,
    pause: float = 0.02,
    describe: Callable[[], object] = lambda: "",
) -> None:
    """Returns when the condition is true, asked at each pause. After this time, the test fails with the description."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, describe()
        time.sleep(pause)
