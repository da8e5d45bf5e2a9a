"""The load of one trial of a capacity search, as a search without hosts and the process of a host carry it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .choices import POISSON
from .crew import crew
from .first_pulls import prune_first
from .load.arrivals import Poisson
from .load.closed import Sample
from .load.curve import Rate
from .load.driver import Clients, Driver, Reports, Rules
from .load.event import Event
from .load.pace import Schedule
from .load.plan import Plan
from .load.tally import Tally
from .options.settings import Settings
from .prepare import Prepared, make_plan
from .processes.cpu import cores
from .session import Session

# Tally intervals of a trial. After each of them, a trial that cannot hold any more ends.
_INTERVALS = 12
# Why a driver ends a trial early.
LOST = "the trial can no longer meet the SLOs"


@dataclass(frozen=True, slots=True)
class Pace:
    """What a trial offers: so many pulls per second, of all hosts together, for so many seconds."""

    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Watching:
    """Who watches a trial.

    `observe` receives each Event, `on_sample` each tally interval that is closed, and `caution` the driver's warnings.
    """

    observe: Callable[[Event], None]
    on_sample: Callable[[Sample], None]
    caution: Callable[[str], None]


def of_trial(settings: Settings, pace: Pace) -> Settings:
    """Returns the settings of a trial."""
    return replace(settings, rate=Rate(pace.rate, pace.rate), duration=pace.seconds)


def plan_of(settings: Settings, lengths: tuple[int, ...]) -> tuple[Plan, Schedule]:
    """Returns the plan and the schedule of a trial with these settings."""
    plan = make_plan(settings, lengths)
    assert plan.curve is not None
    arrivals = Poisson(settings.seed) if settings.arrivals == POISSON else None
    return plan, Schedule(plan.curve, arrivals, settings.share)


class TrialLoads:
    """Makes the load of each trial from what was prepared once. The session's state always shows the last one.

    `kill` ends all running clients. A piece of a trial lasts at most `beat_seconds`, if they are given.
    """

    def __init__(
        self,
        session: Session,
        prepared: Prepared,
        kill: Callable[[], None],
        *,
        beat_seconds: float | None = None,
    ) -> None:
        self._session = session
        self._prepared = prepared
        self._kill = kill
        self._beat_seconds = beat_seconds

    def make(self, pace: Pace, watching: Watching) -> Driver:
        """Returns the driver of a trial, whose workers are ready to start. With a pruner, its images are pruned now.

        Raises RunError if an image cannot be pruned, and Stopped after a signal.
        """
        session, prepared, state = self._session, self._prepared, self._session.state
        settings = of_trial(state.settings, pace)
        plan, schedule = plan_of(settings, prepared.selection.lengths)
        tally = Tally(
            len(prepared.selection.image_sets),
            retries_known=prepared.client_setup.retries_known,
            on_sample=watching.on_sample,
            schedule=schedule,
            cores=cores(),
        )
        tally.sized = prepared.has_sizes
        self._make_cold(tally)
        driver = Driver(
            plan,
            tally,
            session.stop,
            self._rules(settings, pace),
            self._clients(),
            Reports(observe=watching.observe, log=session.outputs.log, caution=watching.caution),
        )
        state.tally, state.driver, state.load = tally, driver, plan.about
        state.workers = crew(settings, prepared, schedule, driver)
        session.outputs.log(f"trial at {plan.about}")
        return driver

    def _rules(self, settings: Settings, pace: Pace) -> Rules:
        return Rules(
            tally_seconds=min(settings.tally_seconds, pace.seconds / _INTERVALS),
            grace=settings.grace,
            # on hosts, the controller judges the first pulls of all of them
            keep_going=settings.keep_going or self._beat_seconds is not None,
            beat_seconds=self._beat_seconds,
        )

    def _clients(self) -> Clients:
        launcher = self._prepared.client_setup.launcher
        return Clients(kill=self._kill, running_cpu=launcher.running_cpu_seconds if launcher else lambda: 0.0)

    def _make_cold(self, tally: Tally) -> None:
        """Prunes the images, so that the trial begins cold."""
        session, prepared = self._session, self._prepared
        if prepared.pruner is None:
            return
        folder = prepared.scratch.folder("prune-first")
        with session.stop.calling(self._kill):
            prune_first(prepared.pruner, prepared.selection, folder, session.stop, session.outputs, tally)
