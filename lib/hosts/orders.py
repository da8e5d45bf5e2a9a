"""Reads the orders of the controller, and keeps the lease: without a new one in time, the controller counts as gone."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final, Protocol

from ..figures import three
from .protocol import LEASE_SECONDS, FirstOrder, LaterOrder, Lease, Leave, Order, decode_order

_CHUNK: Final = 1 << 16
# A wait for orders ends after this many seconds at the latest, and begins again.
_LONGEST_WAIT: Final = 3600.0


class Heed(Protocol):
    """What obeys the orders. One thread calls it."""

    def heed(self, order: LaterOrder) -> None:
        """Obeys an order."""
        ...

    def puzzled(self, reason: str) -> None:
        """Hears that a line was no order."""
        ...

    def forsaken(self, reason: str) -> None:
        """Hears that the controller is gone. No order follows."""
        ...


class Orders:
    """The orders that come on a descriptor, one on each line. A lease lasts `lease_seconds`.

    `now` is a monotonic clock, and `ready(seconds)` waits for at most so long and returns whether there is something to
    read. A process that was stopped for longer than a lease has none, even if new ones wait to be read.
    """

    def __init__(
        self,
        descriptor: int,
        lease_seconds: float = LEASE_SECONDS,
        now: Callable[[], float] = monotonic,
        ready: Callable[[float], bool] | None = None,
    ) -> None:
        self._descriptor = descriptor
        self._lease_seconds = lease_seconds
        self._now = now
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._ready = ready or self._readable
        self._until = now() + lease_seconds
        self._lines = self._read()

    def first(self) -> FirstOrder:
        """Returns the first order. Raises `ValueError` if it is not one, or if there is none in time."""
        order = decode_order(next(self._lines))
        if not isinstance(order, FirstOrder):
            raise ValueError("it is not the order to prepare a load")
        self._until = self._now() + self._lease_seconds
        return order

    def obey(self, heed: Heed) -> None:
        """Starts a thread that has all further orders obeyed, until the process ends or the controller is gone."""
        threading.Thread(target=self.obeyed, args=(heed,), name="orders", daemon=True).start()

    def obeyed(self, heed: Heed) -> None:
        """Has all further orders obeyed. Returns when the controller is gone, or after `Leave`."""
        try:
            for line in self._lines:
                order = self._decoded(line, heed)
                if isinstance(order, Lease):
                    self._until = self._now() + self._lease_seconds
                if order is not None:
                    heed.heed(order)
                if isinstance(order, Leave):
                    return
        except Exception as error:  # without this thread, nothing keeps the lease
            heed.forsaken(str(error) if isinstance(error, ValueError) else repr(error))

    def _decoded(self, line: bytes, heed: Heed) -> LaterOrder | None:
        try:
            order: Order = decode_order(line)
            if isinstance(order, FirstOrder):
                raise ValueError("this process has a load already")
        except ValueError as error:
            heed.puzzled(f"an order is not valid: {error}")
            return None
        return order

    def _read(self) -> Iterator[bytes]:
        """Yields each line. Raises `ValueError` when there are no more, or when the lease has ended."""
        parts: list[bytes] = []
        while True:
            self._wait()
            chunk = os.read(self._descriptor, _CHUNK)
            if not chunk:
                raise ValueError("its orders have ended")
            *ended, rest = chunk.split(b"\n")
            for each in ended:
                yield b"".join((*parts, each))
                parts.clear()
                self._check()
            parts.append(rest)

    def _wait(self) -> None:
        """Waits until there is something to read."""
        while True:
            self._check()
            if self._ready(min(self._until - self._now(), _LONGEST_WAIT)):
                self._check()
                return

    def _check(self) -> None:
        if self._now() >= self._until:
            raise ValueError(f"no lease for {three(self._lease_seconds)} s")

    def _readable(self, seconds: float) -> bool:
        return bool(self._poll.poll(max(0.0, seconds) * 1000))
