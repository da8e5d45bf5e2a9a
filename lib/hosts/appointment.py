"""When the load of a host begins: the controller arms it for a moment, and may disarm it before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

from ..errors import RunError, Stopped
from ..figures import three
from .protocol import LATEST_START, Arm, Armed, Unarmed

# From so many seconds before the moment on, the load begins in any case.
SETTLED_BEFORE: Final = 0.05
# The last part of the wait, in seconds, in which the process does not sleep: a sleep may end later than this.
_AWAKE: Final = 0.001


class Appointment:
    """The moment when the load begins. There is one at a time, and none after the load has begun.

    A moment may lie at most `most_ahead` seconds ahead. Any thread may call it.
    """

    def __init__(self, most_ahead: float, now: Callable[[], float] = monotonic) -> None:
        self._most_ahead = most_ahead
        self._now = now
        self._armed: Arm | None = None
        self._open = False
        self._settled = False
        self._changed = threading.Condition()

    def open(self) -> None:
        """Takes moments from now on: the host is prepared."""
        self._open = True

    def close(self) -> None:
        """Takes no moments from now on."""
        with self._changed:
            self._open = False

    def arm(self, order: Arm) -> Armed | Unarmed:
        """Arms the load for a moment, and returns the answer. The same order may come twice."""
        with self._changed:
            if order == self._armed:
                return Armed(order.at)
            reason = self._against(order.at)
            if reason is not None:
                return Unarmed(reason)
            self._armed = order
            self._changed.notify_all()
            return Armed(order.at)

    def _against(self, at: float) -> str | None:
        """Returns why the load cannot begin at this moment, or None."""
        ahead = at - self._now()
        if self._settled:
            return "the load has begun already"
        if not self._open:
            return "the host is not ready"
        if self._armed is not None:
            return "the host has confirmed another moment already"
        if ahead < -LATEST_START:
            return f"the moment was {three(-ahead)} s ago"
        if ahead > self._most_ahead:
            return f"the moment is {three(ahead)} s ahead, which is too far"
        return None

    def disarm(self) -> Unarmed | None:
        """Cancels the moment, and returns the answer; None if the load has begun or is about to."""
        with self._changed:
            if self._settled:
                return None
            self._armed = None
            self._changed.notify_all()
            return Unarmed("")

    def wake(self) -> None:
        """Has `settle` look whether it is to go on."""
        with self._changed:
            self._changed.notify_all()

    def settle(self, stopped: Callable[[], bool]) -> Arm:
        """Waits until the load is about to begin, and returns its moment. Raises `Stopped` if `stopped`."""
        with self._changed:
            while True:
                if stopped():
                    raise Stopped
                left = None
                if self._armed is not None:
                    left = self._armed.at - self._now() - SETTLED_BEFORE
                    if left <= 0:
                        self._settled = True
                        return self._armed
                self._changed.wait(left)


def wait_for(at: float) -> float:
    """Waits for a moment, and returns how many seconds late it is. Raises `RunError` if that is too late."""
    left = at - monotonic()
    if left > _AWAKE:
        sleep(left - _AWAKE)
    while (late := monotonic() - at) < 0:
        pass
    if late > LATEST_START:
        raise RunError(
            f"the host was {three(late)} s late for the beginning of the load, because it was stopped or too busy"
        )
    return late
