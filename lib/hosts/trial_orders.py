"""The trials that the controller orders of a host process: which is next, and which is to end early."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .protocol import EndTrial, Trial


class TrialOrders:
    """The orders of trials, which one thread takes and another one carries out. Each is carried out once."""

    def __init__(self) -> None:
        self._waiting: Trial | None = None
        self._latest = 0
        self._give_up: Callable[[], None] | None = None
        self._changed = threading.Condition()

    def take(self, order: Trial | EndTrial) -> None:
        """Takes an order. One that came before, or that is of an earlier trial, changes nothing."""
        with self._changed:
            if isinstance(order, EndTrial):
                if order.number == self._latest and self._give_up is not None:
                    self._give_up()
            elif order.number > self._latest:
                self._latest, self._waiting = order.number, order
                self._changed.notify_all()

    def wake(self) -> None:
        """Has `next` look whether it is to go on."""
        with self._changed:
            self._changed.notify_all()

    def next(self, stopped: Callable[[], bool]) -> Trial | None:
        """Waits for the next trial, and returns it; None if `stopped` before."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting is not None or stopped())
            order, self._waiting = self._waiting, None
            return None if stopped() else order

    def begun(self, give_up: Callable[[], None] | None) -> None:
        """Says how the trial that goes on is ended early; None when it has ended."""
        with self._changed:
            self._give_up = give_up
