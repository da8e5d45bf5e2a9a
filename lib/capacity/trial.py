"""Carries out trials: each is an ordinary load of the open model at a fixed rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final, Literal

from ..choices import POISSON
from ..crew import crew
from ..errors import RunError, Stopped
from ..first_pulls import prune_first
from ..load.account import limit_of
from ..load.arrivals import Poisson
from ..load.closed import Sample, joined
from ..load.constant import plan_constant
from ..load.curve import Rate
from ..load.driver import Clients, Driver, Reports, Rules
from ..load.event import Event
from ..load.pace import Schedule
from ..load.tally import Tally
from ..options.settings import Settings
from ..prepare import Prepared
from ..processes.cpu import cores
from ..processes.signals import Stop
from ..results.output import Outputs
from ..results.run_state import Run
from .observed import Observed
from .result import CLIENT, MACHINE

# Tally intervals of a trial. After each of them, a trial that cannot hold any more ends.
_INTERVALS: Final = 12
# From this share of pulls on, what made them late is the limit.
_MANY_LATE: Final = 0.05
# Whether a machine was busy is judged over at least so many seconds: in a shorter time, clients start in bursts.
_WINDOW: Final = 2.5
_LOST: Final = "the trial can no longer meet the SLOs"


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has ended."""

    observed: Observed
    tally: Tally

    @property
    def limited_by(self) -> Literal["client", "machine"] | None:
        """What else than the server limited the trial, `client` or `machine`, else None."""
        many_late = self.tally.late_machine > _MANY_LATE * self.tally.attempts
        limit = limit_of([*_windows(self.tally.samples)])
        if limit == CLIENT:
            return CLIENT
        return MACHINE if limit is not None or many_late else None

    @property
    def lacked_workers(self) -> bool:
        """Whether many pulls started late because all workers were busy."""
        return self.tally.late_no_worker > _MANY_LATE * self.tally.attempts


def _windows(samples: Sequence[Sample]) -> Iterator[Sample]:
    """Joins intervals, so that each lasts `_WINDOW` seconds or longer if the trial does."""
    left = list(samples)
    while left:
        count, seconds = 0, 0.0
        while count < len(left) and seconds < _WINDOW:
            seconds += left[count].seconds
            count += 1
        if sum(each.seconds for each in left[count:]) < _WINDOW:
            count = len(left)
        yield joined(left[:count])
        left = left[count:]


class Trials:
    """Carries out trials with what was prepared once. `state` always shows the last one.

    `kill` ends all running clients. `lost` says whether a trial that still runs cannot hold any more.
    """

    def __init__(
        self,
        prepared: Prepared,
        state: Run,
        outputs: Outputs,
        stop: Stop,
        kill: Callable[[], None],
        lost: Callable[[Observed], bool],
    ) -> None:
        self._prepared = prepared
        self._state = state
        self._outputs = outputs
        self._stop = stop
        self._kill = kill
        self._lost = lost
        self._pulled = 0

    def carry_out(self, rate: float, seconds: float) -> Trial:
        """Returns the trial at `rate` pulls per second. It may end before `seconds` if it cannot hold any more.

        Raises Stopped after a signal, and RunError if no pull of the search has succeeded yet.
        """
        settings = replace(self._state.settings, rate=Rate(rate, rate), duration=seconds)
        observed = Observed(rate, seconds)
        plan = plan_constant(len(self._prepared.selection.image_sets), seconds, settings.rate)
        assert plan.curve is not None
        arrivals = Poisson(settings.seed) if settings.arrivals == POISSON else None
        schedule = Schedule(plan.curve, arrivals)

        def on_sample(sample: Sample) -> None:
            self._outputs.began = driver.began
            self._outputs.on_sample(sample)
            observed.lasted = min(sample.at, seconds)
            if sample.at < seconds and self._lost(observed):
                driver.give_up(_LOST)

        def on_event(event: Event) -> None:
            observed.began = driver.began
            observed.add(event)
            self._outputs.on_event(event)

        tally = self._tally(schedule, on_sample)
        self._make_cold(tally)
        driver = Driver(
            plan,
            tally,
            self._stop,
            self._rules(settings, seconds),
            self._clients(),
            Reports(observe=on_event, log=self._outputs.log, caution=self._outputs.caution),
        )
        state = self._state
        state.tally, state.driver = tally, driver
        state.workers = crew(settings, self._prepared, schedule, driver)
        self._outputs.log(f"trial at {plan.about}")
        driver.drive(state.workers, monotonic())
        observed.unstarted = schedule.unstarted(driver.second)
        if self._stop.count:
            raise Stopped
        self._pulled += tally.pulled
        if driver.hopeless not in (None, _LOST) and not self._pulled:
            raise RunError(driver.hopeless)
        return Trial(observed, tally)

    def _tally(self, schedule: Schedule, on_sample: Callable[[Sample], None]) -> Tally:
        tally = Tally(
            len(self._prepared.selection.image_sets),
            retries_known=self._prepared.client_setup.retries_known,
            on_sample=on_sample,
            schedule=schedule,
            cores=cores(),
        )
        tally.sized = self._prepared.has_sizes
        return tally

    def _rules(self, settings: Settings, seconds: float) -> Rules:
        shortest = min(settings.tally_seconds, seconds / _INTERVALS)
        return Rules(tally_seconds=shortest, grace=settings.grace, keep_going=settings.keep_going)

    def _clients(self) -> Clients:
        launcher = self._prepared.client_setup.launcher
        return Clients(kill=self._kill, running_cpu=launcher.running_cpu_seconds if launcher else lambda: 0.0)

    def _make_cold(self, tally: Tally) -> None:
        """Prunes the images, so that the trial begins cold."""
        if self._prepared.pruner is None:
            return
        folder = self._prepared.scratch.folder("prune-first")
        with self._stop.calling(self._kill):
            prune_first(
                self._prepared.pruner, self._prepared.selection, folder, self._stop, self._outputs, tally
            )
