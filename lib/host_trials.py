"""The trials of a capacity search in the process of a host: its share of each is a load, whose pulls it reports."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .drive import drive
from .errors import RunError
from .hosts.protocol import Body, Trial
from .hosts.trial_orders import TrialOrders
from .load.driver import Driver
from .load.event import PULL, Event
from .load.pulls import Pull, pack, pull_of
from .pieces.wire import End, Line, PieceLine
from .record import record_end
from .results.summarize import facts_of
from .session import Session
from .trial_load import LOST, Pace, TrialLoads, Watching, of_trial


class HostTrials:
    """Carries out the share of a host in each trial. `post` sends pieces and ends to the controller."""

    def __init__(
        self, session: Session, loads: TrialLoads, orders: TrialOrders, post: Callable[[Body], object]
    ) -> None:
        self._session = session
        self._loads = loads
        self._orders = orders
        self._post = post
        self._driver: Driver | None = None

    def make_ready(self, order: Trial) -> Callable[[Line], None]:
        """Prepares a trial, and returns what reports its lines. With a pruner, it prunes the images of this host.

        Raises RunError if an image cannot be pruned, and Stopped after a signal.
        """
        session, pace, pulls = self._session, Pace(order.rate, order.seconds), list[Pull]()

        def observe(event: Event) -> None:
            if event.op == PULL:
                pulls.append(pull_of(event, driver.began))
            session.outputs.on_event(event)

        def record(line: Line) -> None:
            if isinstance(line, PieceLine):
                self._post(msgspec.structs.replace(line, pulls=pack(pulls)))
                pulls.clear()
            elif isinstance(line, End):
                self._post(line)

        session.state.settings = of_trial(session.state.settings, pace)
        # the controller warns of a stop itself
        watching = Watching(observe=observe, on_sample=session.outputs.on_sample, caution=session.outputs.log)
        driver = self._loads.make(pace, watching)
        self._driver = driver
        return record

    def drive(self) -> None:
        """Carries out the trial that is ready. Raises `RunError` if its driver ended it early by itself."""
        driver = self._driver
        assert driver is not None
        self._orders.begun(lambda: driver.give_up(LOST))
        try:
            drive(self._session, driver)
        except RunError:
            if driver.hopeless != LOST:
                raise
        finally:
            self._orders.begun(None)

    def report_end(self, record: Callable[[Line], None]) -> None:
        """Reports the end of a trial, when its events are in their file."""
        self._session.outputs.finish(0.0)
        record_end(record, self._session.state, facts_of(self._session.state, self._session.clock))
