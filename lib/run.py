"""One run, from the settings to the exit status: opens the outputs, prepares, drives the load, writes the summary."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from time import monotonic

from .drive import drive, made_ready, staffed
from .durations import spoken
from .errors import Stopped
from .finish import finish, log_result, pause_caution
from .load.driver import Rules
from .load.plan import Plan
from .options.settings import Settings
from .prepare import Prepared
from .processes.signals import Stop
from .progress.choose import start_progress
from .results.output import Outputs
from .results.summarize import facts_of
from .session import Session, opened, recorded
from .streams import say, warn

# A load that takes longer than this states its length before it starts.
_LONG_SECONDS = 3600.0


def run(
    settings: Settings,
    command: tuple[str, ...] = (),
    *,
    show: bool = True,
    carry_out: Callable[[Session, ExitStack], None] | None = None,
) -> int:
    """Carries out the load test and returns the exit status. Writes the summary even if the run fails.

    `show`: the result is shown at the end. `carry_out` carries out the load in place of this process.

    Raises UsageError or RunError, before any traffic, if the first stages (`Beginning`) or the outputs fail.
    """
    session = opened(settings, command)
    with session.stop.listening(), ExitStack() as lasting:
        try:
            with recorded(session):
                (carry_out or _carry_out)(session, lasting)
        finally:
            status = finish(session.clock, session.stop, session.outputs, session.state, show=show)
            session.outputs.close()
    return status


def _carry_out(session: Session, lasting: ExitStack) -> None:
    """Prepares and drives the load. `lasting` is closed by the caller, after the summary is written."""
    with made_ready(session, lasting, announce_length) as (ready, kill):
        record = _recording(session, ready)
        _wait_until(ready.start_at, session.stop, session.outputs)
        _drive(session, ready, kill, record)


def announce_length(plan: Plan, outputs: Outputs) -> None:
    """Tells the user how long the load takes, if that is longer than an hour."""
    if plan.end is not None and plan.end > _LONG_SECONDS:
        message = f"this load takes {spoken(round(plan.end))}"
        outputs.log(message)
        say(message)


def _wait_until(start_at: datetime | None, stop: Stop, outputs: Outputs) -> None:
    if start_at is None:
        return
    seconds = start_at.timestamp() - datetime.now().timestamp()
    if seconds < 0:
        outputs.log(
            f"warning: the preparation ended {spoken(round(-seconds))} after --start-at ({start_at.isoformat(sep=' ')})"
        )
        warn(f"the preparation ended {spoken(round(-seconds))} after --start-at; the test begins at once")
        return
    outputs.log(f"waiting for {start_at.isoformat(sep=' ')}")
    if stop.wait(seconds):
        raise Stopped


def _drive(
    session: Session, prepared: Prepared, kill: Callable[[], None], record: Callable[[], None]
) -> None:
    """Drives the load. `record` is called when it begins."""
    outputs, state = session.outputs, session.state
    settings = state.settings
    rules = Rules(tally_seconds=settings.tally_seconds, grace=settings.grace, keep_going=settings.keep_going)
    driver = staffed(session, prepared, kill, rules, outputs.caution)
    progress = start_progress(settings.progress, state, prepared.plan, outputs)
    state.begin = monotonic()
    record()
    try:
        drive(session, driver)
    finally:
        log_result(outputs.log, state)
        progress.end()
        stopped = pause_caution(state.tally)
        if stopped is not None:
            warn(stopped)


def _recording(session: Session, prepared: Prepared) -> Callable[[], None]:
    """Returns what begins the pieces file when the load begins. With many images, its header is made before."""
    file, state, clock = session.outputs.pieces, session.state, session.clock
    if file is None:
        return lambda: None
    from .record import header_of, record_pieces, to_file

    header = header_of(state, prepared, facts_of(state, clock))
    return lambda: record_pieces(to_file(file), state, header, clock)
