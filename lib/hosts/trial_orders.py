"""The trials that the controller orders of a host process: which is next, and which is to end early."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .protocol import EndTrial, Trial


class TrialOrders:
    """The orders of trials, which one thread takes and another one carries out. Each is carried out once.

    `ended`: the search ended between two trials.
    """

    def __init__(self) -> None:
        self.ended = False
        self._idle = False
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
        """Waits for the next trial, and returns it; None if the search has ended, or if `stopped`, before it."""
        with self._changed:
            self._idle = True
            self._changed.wait_for(lambda: self._waiting is not None or self.ended or stopped())
            order, self._waiting, self._idle = self._waiting, None, False
            return None if self.ended or stopped() else order

    def end(self) -> bool:
        """Ends the search if no trial is prepared or goes on. Returns whether that is so."""
        with self._changed:
            self.ended = self._idle
            self._changed.notify_all()
            return self.ended

    def begun(self, give_up: Callable[[], None] | None) -> None:
        """Says how the trial that goes on is ended early; None when it has ended."""
        with self._changed:
            self._give_up, self._idle = give_up, give_up is None
