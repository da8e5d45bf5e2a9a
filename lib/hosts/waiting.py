"""Waiting in an event loop for what nothing there reports, such as the end of a thread or of a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

_LOOK: Final = 0.02


async def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits until the condition is true, for at most so many seconds. Returns whether it is."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK)
    return True
