"""One load from its preparation to its last pull, as a run and the process of a host carry it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from .choices import POISSON
from .crew import crew
from .errors import RunError
from .first_pulls import prune_first, warm_up
from .load.driver import Clients, Driver, Reports, Rules
from .load.plan import Plan
from .load.tally import Tally
from .options.settings import Settings
from .prepare import Prepared
from .processes.cpu import cores
from .results.output import Outputs
from .results.run_state import COLD
from .session import Session, prepared


@contextmanager
def made_ready(
    session: Session, lasting: ExitStack, announce: Callable[[Plan, Outputs], None] = lambda *_: None
) -> Iterator[tuple[Prepared, Callable[[], None]]]:
    """Prepares the load, and prunes or pulls its images before it if that is asked for.

    Yields what the load needs, and what ends all running clients. `announce` is called when the plan is known, before
    anything that takes long. `lasting` is closed by the caller, after the result is written.
    """
    stop, outputs, state = session.stop, session.outputs, session.state
    with prepared(session, lasting) as (ready, kill):
        state.tally = Tally(
            len(ready.selection.image_sets),
            retries_known=ready.client_setup.retries_known,
            on_sample=outputs.on_sample,
            schedule=ready.schedule,
            cores=cores(),
        )
        state.tally.sized = ready.has_sizes
        announce(ready.plan, outputs)
        if state.settings.prune_first and ready.pruner is not None:
            folder = ready.scratch.folder("prune-first")
            with stop.calling(kill):
                prune_first(ready.pruner, ready.selection, folder, stop, outputs, state.own_tally)
            state.first_pulls = COLD
        if state.settings.warm_up:
            warm_up(ready, kill, stop, outputs, state)
        yield ready, kill


def staffed(
    session: Session, ready: Prepared, kill: Callable[[], None], rules: Rules, caution: Callable[[str], None]
) -> Driver:
    """Returns the driver of the load, whose workers are ready to start. `caution` receives its warnings."""
    outputs, state, launcher = session.outputs, session.state, ready.client_setup.launcher
    driver = Driver(
        ready.plan,
        state.own_tally,
        session.stop,
        rules,
        Clients(kill=kill, running_cpu=launcher.running_cpu_seconds if launcher else lambda: 0.0),
        Reports(observe=outputs.on_event, log=outputs.log, caution=caution),
    )
    state.driver = driver
    state.workers = crew(state.settings, ready, ready.schedule, driver)
    state.load = ready.plan.about
    _log_load(state.settings, state.load, outputs)
    return driver


def _log_load(settings: Settings, about: str, outputs: Outputs) -> None:
    outputs.log(about)
    if settings.draw is not None or settings.arrivals == POISSON:
        outputs.log(
            "random: "
            + (f"draw {settings.draw}, " if settings.draw is not None else "")
            + f"arrivals {settings.arrivals}, seed {settings.seed}"
        )


def drive(session: Session, driver: Driver) -> None:
    """Carries out the load, which begins at `session.state.begin`, and records how it went.

    Raises `RunError` if the driver ended it early.
    """
    state = session.state
    settings = state.settings
    assert state.begin is not None
    session.outputs.began = state.begin
    try:
        driver.drive(state.workers, state.begin)
    finally:
        state.elapsed = driver.elapsed
        state.driver_cpu_seconds = driver.cpu_seconds
        if state.tally.schedule is not None:
            state.unstarted = state.tally.schedule.unstarted(driver.second)
        if settings.herd and settings.prune and state.tally.pruned and not state.tally.prune_failed:
            state.first_pulls = COLD
    if driver.hopeless is not None:
        raise RunError(driver.hopeless)
