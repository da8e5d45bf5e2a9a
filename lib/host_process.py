"""The process of one host of a load: takes the controller's orders on stdin, and reports on stdout.

It is an ordinary run of one share. It begins when the controller says so, and does not outlive the controller's lease.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec

from .choices import NEVER, NONE, TSV
from .clean import clean
from .clock import Clock
from .counted import counted
from .drive import drive, made_ready, staffed
from .errors import ExitStatus, RunError, Stopped, UsageError
from .fault import fault_line
from .finish import log_result
from .first_pulls import warm_up
from .host_trials import HostTrials
from .hosts.appointment import Appointment, wait_for
from .hosts.kept import keep
from .hosts.machine_lock import inherited
from .hosts.notes import HostOutputs, Notes
from .hosts.orders import Orders
from .hosts.outbox import Outbox
from .hosts.protocol import (
    LEASE_SECONDS,
    Arm,
    Disarm,
    EndTrial,
    FirstOrder,
    LaterOrder,
    Lease,
    Leave,
    Note,
    Ready,
    Refused,
    Started,
    Trial,
)
from .hosts.selected import unpack
from .hosts.trial_orders import TrialOrders
from .hosts.worker_stderr import take, use
from .load.driver import Rules
from .options.hosts import DEFAULTS
from .options.settings import Settings, make_settings
from .pieces.wire import End, Header, Line, PieceLine, encoded
from .prepare import Prepared
from .processes.guard import Guard
from .processes.limits import of_this_machine
from .processes.scratch import Scratch
from .processes.signals import Stop
from .record import begun, header_of, record_end, record_pieces
from .results.output import Outputs
from .results.run_state import Run
from .results.summarize import facts_of
from .session import Given, Session, opened, prepared, recorded
from .streams import LINE_LENGTH, divert, open_standard_descriptors, say
from .trial_load import TrialLoads

# The load may be armed for a moment this far ahead, in seconds, and --hosts-timeout.
_MOST_AHEAD: Final = 3600.0
# A host that prepares its load, or whose clients finish their last pulls, sends no pieces. It then shows every so many
# seconds, or fewer beats, that it lives.
_QUIET_SECONDS, _QUIET_BEATS = 10.0, 2
# Options that name files on the host. JSON has no paths.
_PATHS: Final = ("client_cert", "client_key")


class HostProcess:
    """Carries out one host's share of a load. Its orders call it from a thread of their own."""

    def __init__(self, order: FirstOrder, outbox: Outbox, stop: Stop) -> None:
        self._order = order
        self._outbox = outbox
        self._stop = stop
        self._notes = Notes(outbox.post)
        self._most_ahead = _MOST_AHEAD + float(order.options.get("hosts_timeout") or 0.0)
        self._appointment = Appointment(self._most_ahead)
        self._trials = TrialOrders()
        self._state: Run | None = None
        self._loading = False
        self._ended = False
        self._forsaken: str | None = None
        # the number of the message with the end of the load
        self._last: int | None = None
        self._worker_stderr = take()
        self._over = threading.Event()
        self._stopping = threading.Lock()
        self._own_log: Callable[[str], None] = self._notes.log

    # ---- orders

    def heed(self, order: LaterOrder) -> None:
        """Obeys an order."""
        match order:
            case Arm():
                self._outbox.post(self._appointment.arm(order))
            case Disarm():
                answer = self._appointment.disarm()
                if answer is not None:
                    self._outbox.post(answer)
            case Lease():
                self._outbox.acknowledge(order.acked)
                self._stop_up_to(order.stop)
                self._show_life()
            case Trial() | EndTrial():
                self._trials.take(order)
            case Leave():
                self._over.set()
                if not self._trials.end():
                    self._stop_up_to(2)

    def puzzled(self, reason: str) -> None:
        """Reports a line that is no order."""
        self._notes.caution(reason)

    def forsaken(self, reason: str) -> None:
        """Stops the load: the controller is gone."""
        self._forsaken = reason
        self._over.set()
        self._stop_up_to(1)

    def _stop_up_to(self, count: int) -> None:
        """Acts as after so many signals. After the load, only signals count."""
        with self._stopping:
            while not self._ended and self._stop.count < count:
                self._stop.request(signal.SIGTERM)

    def _show_life(self) -> None:
        quiet = max(_QUIET_SECONDS, _QUIET_BEATS * self._order.beat_seconds)
        if self._ended or self._outbox.quiet_seconds <= quiet:
            return
        driver = self._state.driver if self._state is not None else None
        if self._loading and driver is not None:
            self._notes.log(f"waiting for the last pulls of {counted(driver.running, 'worker')}")
        else:
            self._outbox.post(Note(""))

    # ---- the load

    def carry_out(self) -> None:
        """Prepares the load, carries it out, and waits until this host is no longer needed. Leaves nothing."""
        divert(self._notes.divert)
        with ExitStack() as resources:
            resources.callback(divert, None)
            try:
                self._carry_out(resources)
            except UsageError as error:
                self._refuse(str(error), usage=True)
            except RunError as error:
                self._refuse(str(error))
            except Stopped:
                self._refuse("it was stopped")
            except Exception as error:
                self._refuse(of_this_machine(error) or fault_line(error))
            self._wait_until_over()
            divert(None)
            if (
                self._forsaken is not None
                and not self._order.trials
                and self._last is not None
                and not self._outbox.has_arrived(self._last)
            ):
                self._keep()

    def _refuse(self, reason: str, *, usage: bool = False) -> None:
        self._outbox.post(Refused(clean(reason, LINE_LENGTH), usage))

    def _carry_out(self, resources: ExitStack) -> None:
        """Carries out the load. `resources` keeps its files, and the guard against what clients leave behind."""
        scratch = resources.enter_context(Scratch())
        settings = self._settings(scratch.path)
        if not settings.dry_run:
            resources.enter_context(Guard(str(scratch.path)))
        if self._order.examine:
            self._examine(settings, scratch)
            return
        session = opened(settings, (), self._given(scratch))
        resources.callback(session.outputs.close)
        self._state = session.state
        with ExitStack() as lasting, recorded(session):
            (self._carry_out_trials if self._order.trials else self._load)(session, lasting)
        self._end(session)

    def _examine(self, settings: Settings, scratch: Scratch) -> None:
        """Carries out the checks of `doctor`, and reports them."""
        from .doctor.on_host import examined  # only this needs it

        self._outbox.post(examined(settings, self._given(scratch).values, self._stop))

    def _settings(self, folder: Path) -> Settings:
        """Returns the settings of the controller's command, as they are for this host."""
        given = self._order.options
        options: dict[str, Any] = {
            **given,
            **DEFAULTS,
            **{name: Path(given[name]) for name in _PATHS if given[name] is not None},
            "share": self._order.share,
            "metrics_file": str(folder / "metrics"),
            "metrics_format": TSV,
            "metrics_listen": None,
            "log_file": str(folder / "log"),
            "events_file": folder / "events.jsonl" if given["events_file"] is not None else None,
            "pieces_file": None if self._order.trials else folder / "pieces",
            "summary_file": None,
            "report_file": None,
            "progress": NEVER,
            "start_at": None,
            "annotations": NONE,
            "ca_file": None,
        }
        if self._order.ca_pem is not None:
            options["ca_file"] = folder / "ca.pem"
            options["ca_file"].write_text(self._order.ca_pem)
        return make_settings(options)

    def _given(self, scratch: Scratch) -> Given:
        try:
            selection = unpack(self._order.selection)
        except ValueError as error:
            raise RunError(str(error)) from None
        values = {
            "image_list": None,
            "listing": None,
            "selection": selection,
            "scratch": scratch,
            "guard": None,
        }

        def outputs(settings: Settings, clock: Clock) -> Outputs:
            made = HostOutputs(settings, clock, self._notes)
            self._own_log = made.own_log
            return made

        return Given(values=values, stop=self._stop, outputs=outputs)

    def _load(self, session: Session, lasting: ExitStack) -> None:
        settings = session.state.settings
        with made_ready(session, lasting) as (ready, kill):
            rules = Rules(
                tally_seconds=settings.tally_seconds,
                grace=settings.grace,
                keep_going=True,  # the controller judges the first pulls of all hosts
                beat_seconds=self._order.beat_seconds,
            )
            driver = staffed(session, ready, kill, rules, session.outputs.log)
            self._begin(session, ready, self._record(session))
            drive(session, driver)

    def _begin(self, session: Session, ready: Prepared, record: Callable[[Line], None]) -> None:
        """Reports that the load is prepared, and waits until it begins. `record` receives its pieces from then on."""
        state, clock = session.state, session.clock
        header = self._header(session, ready)
        self._appointment.open()
        self._outbox.post(Ready(header=header, folder=str(ready.scratch.path)))
        arm = self._armed()
        clock.offset, state.begin = arm.clock_offset, arm.at
        header = msgspec.structs.replace(header, started=clock.wall(session.began))
        error = wait_for(arm.at)
        record_pieces(record, state, header, clock)
        self._outbox.post(Started(header=begun(header, state, clock), error_seconds=error))
        self._loading = True

    def _header(self, session: Session, ready: Prepared) -> Header:
        header = header_of(session.state, ready, facts_of(session.state, session.clock))
        return msgspec.structs.replace(header, host=self._order.host)

    # ---- the trials of a capacity search

    def _carry_out_trials(self, session: Session, lasting: ExitStack) -> None:
        """Prepares the host once, and carries out each trial that is ordered."""
        stop = session.stop
        with prepared(session, lasting) as (ready, kill):
            if session.state.settings.warm_up:
                warm_up(ready, kill, stop, session.outputs, session.state)
            self._outbox.post(Ready(header=self._header(session, ready), folder=str(ready.scratch.path)))
            loads = TrialLoads(session, ready, kill, beat_seconds=self._order.beat_seconds)
            trials = HostTrials(session, loads, self._trials, self._outbox.post)
            with stop.calling(self._trials.wake):
                while (order := self._trials.next(lambda: stop.count > 0)) is not None:
                    self._appointment = Appointment(self._most_ahead)
                    record = trials.make_ready(order)
                    self._begin(session, ready, record)
                    trials.drive()
                    if stop.count:
                        raise Stopped
                    trials.report_end(record)
                    self._loading = False

    def _armed(self) -> Arm:
        with self._stop.calling(self._appointment.wake):
            try:
                return self._appointment.settle(lambda: self._stop.count > 0)
            finally:
                self._appointment.close()

    def _record(self, session: Session) -> Callable[[Line], None]:
        """Returns what writes a line to the pieces file, if there is one, and then sends it."""
        file = session.outputs.pieces

        def record(line: Line) -> None:
            if file is not None:
                file.write(encoded(line))
            if isinstance(line, (PieceLine, End)):
                number = self._outbox.post(line)
                self._last = number if isinstance(line, End) else None

        return record

    def _end(self, session: Session) -> None:
        """Reports the end of the load, or that it did not begin."""
        state, outputs = session.state, session.outputs
        if not self._loading:
            if not self._trials.ended:
                self._refuse(state.reason or "the load did not begin")
            return
        log_result(self._own_log, state)
        if self._forsaken is not None:
            state.reason = f"the controller is gone: {self._forsaken}"
        record_end(self._record(session), state, facts_of(state, session.clock))
        outputs.finish(0.0)

    def _wait_until_over(self) -> None:
        """Waits until the controller needs this host no more or is gone, or for a signal."""
        with self._stopping:
            self._ended = True
            seen = self._stop.count

        def look() -> None:
            if self._stop.count > seen:
                self._over.set()

        with self._stop.calling(look):
            self._over.wait()

    def _keep(self) -> None:
        """Keeps the record of a load that the controller did not see to its end."""
        use(self._worker_stderr)
        state, host = self._state, self._order.host
        assert state is not None
        assert state.settings.pieces_file is not None
        tally = state.tally
        say(
            f"host {host}: the controller is gone ({self._forsaken}); {tally.pulled:,} pulled, "
            f"{tally.failed:,} failed, {tally.interrupted:,} interrupted in {state.elapsed:.1f} s"
        )
        path = keep(state.settings.pieces_file, self._order.run, host)
        if path is None:
            say(
                f"host {host}: its pieces are lost: neither working directory nor temporary folder takes them"
            )
        else:
            say(f"host {host}: its pieces are in {path}; ocidriver merge adds up those of all hosts")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carries out the orders on stdin, and returns the exit status."""
    parser = ArgumentParser("ocidriver-host", description="The process of one host of a load on many hosts.")
    parser.add_argument("--lease-seconds", type=float, default=LEASE_SECONDS, help=SUPPRESS)
    lease_seconds: float = parser.parse_args(arguments).lease_seconds
    open_standard_descriptors()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # see cli.main
    source, target = _taken_over()
    stop = Stop()
    with inherited(), stop.listening():
        orders = Orders(source, lease_seconds)
        try:
            first = orders.first()
        except ValueError as error:
            say(f"a host process needs its orders on stdin; the first one is not valid: {error}")
            return ExitStatus.USAGE
        try:
            outbox = Outbox()
            outbox.write_all(target)
            process = HostProcess(first, outbox, stop)
            orders.obey(process)
            process.carry_out()
        except Exception as error:
            say(of_this_machine(error) or fault_line(error))
            return ExitStatus.FAILED
    return ExitStatus.OK


def _taken_over() -> tuple[int, int]:
    """Returns descriptors for orders and for messages. What else reads stdin gets nothing, and stdout is stderr."""
    source, target = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return source, target


if __name__ == "__main__":
    sys.exit(main())
