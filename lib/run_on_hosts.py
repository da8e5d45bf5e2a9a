"""A run on several hosts: lists the images, gives each host its share, follows the load, and adds it up."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any

from .counted import counted
from .durations import spoken
from .errors import RunError, Stopped
from .finish import log_result, pause_caution
from .hosts.arming import arm
from .hosts.collecting import Collection
from .hosts.driving import Limits, Load
from .hosts.fleet import StopAsked
from .hosts.gathering import gather
from .hosts.hearing import Hearing, Reports
from .hosts.member import Member
from .hosts.preparing import assign, begin, say_bye
from .hosts_setup import Connect, check_prunes, connecting, open_to_others, order_of
from .listing.selection import Selection
from .load.pace import Schedule
from .load.plan import Plan
from .options.hosts import Hosts, parse_hosts
from .pieces.gathered import Gathered
from .pieces.whole import Whole
from .prepare import Preparation, Surroundings
from .processes.cpu import own_seconds
from .progress.choose import start_progress
from .results.summary import Summary
from .run import announce_length
from .session import Session, network_of
from .streams import warn

# Carries out a capacity search on hosts that are prepared, in place of one load.
Search = Callable[[Session, Hearing, list[Member], Selection], None]
# The views read the states of the hosts this often, in seconds.
_LOOK = 0.5


def carrying_out(
    options: Mapping[str, Any],
    connect: Connect | None = None,
    now: Callable[[], float] = monotonic,
    *,
    search: Search | None = None,
) -> Callable[[Session, ExitStack], None]:
    """Returns what carries out a load on hosts in place of `run`'s own. `options` are those of the main command.

    With `search`, the hosts carry out its trials, and no other load.

    Raises `UsageError` if the package `distributed` is missing, or if the files for TLS cannot be used.
    """
    joined = connect or connecting(parse_hosts(options))
    return lambda session, lasting: _OnHosts(session, options, joined, now, search).carry_out(lasting)


class _UnderWay:
    """A load on hosts, as the views read it."""

    def __init__(self, plan: Plan, load: Load) -> None:
        self._plan = plan
        self._load = load

    @property
    def second(self) -> float:
        """The second of the load, at most until its planned end."""
        second = self._load.second() or 0.0
        return second if self._plan.end is None else min(second, self._plan.end)

    @property
    def running(self) -> int:
        """The number of workers that run on the hosts that are not lost, as the plan has it."""
        return self._load.workers(self.planned)

    @property
    def planned(self) -> int:
        """The number of workers that the plan has running now."""
        second = self._load.second()
        if second is None or (self._plan.end is not None and second >= self._plan.end):
            return 0
        return self._plan.workers_at(second)

    @property
    def client_cpu_seconds(self) -> float:
        """The CPU seconds of all clients that are counted."""
        gathered = self._load.gathered
        return gathered.client_cpu_seconds if gathered is not None else 0.0


class _OnHosts:
    """One run on hosts."""

    def __init__(
        self,
        session: Session,
        options: Mapping[str, Any],
        connect: Connect,
        now: Callable[[], float],
        search: Search | None,
    ) -> None:
        self._session = session
        self._settings = session.state.settings
        self._options = options
        self._connect = connect
        self._now = now
        self._search = search
        assert self._settings.hosts is not None
        self._hosts: Hosts = self._settings.hosts
        self._looked = 0.0

    def carry_out(self, lasting: ExitStack) -> None:
        """Carries out the load. `lasting` is closed by the caller, after the summary is written."""
        stop, state, outputs = self._session.stop, self._session.state, self._session.outputs
        with ExitStack() as resources:
            around = Surroundings(
                network=network_of(self._session, lasting),
                resources=resources,
                lasting=lasting,
                stopped=stop.wait,
                log=outputs.log,
                warn=warn,
                state=state,
            )
            ready = Preparation(self._session.beginning, around)
            ready.endpoint()
            ready.ways()
            state.select(ready.selection())
            announce_length(ready.plan(), outputs)
            ready.schedule()
            danger = open_to_others(self._hosts)
            if danger is not None:
                self._caution(danger)
            outputs.log(awaited(self._hosts))
            run = secrets.token_hex(8)
            with self._connect(self._hosts, run, stop.heed) as (fleet, distributed):
                hearing = Hearing(fleet, run, Reports(log=outputs.log, caution=self._caution), now=self._now)
                with stop.calling(lambda: fleet.inbox.put(StopAsked(stop.count))):
                    self._with_hosts(hearing, distributed, ready)

    def _with_hosts(self, hearing: Hearing, distributed: str, ready: Preparation) -> None:
        """Gathers the hosts, and carries out the load on them."""
        workers = len(ready.selection().image_sets)
        members = assign(hearing, gather(hearing, self._hosts, distributed), workers)
        check_prunes(ready, members)
        load = self._load(hearing, members)
        try:
            hearing.fleet.hold([each.address for each in members])
            order = order_of(self._settings, self._options, ready.selection())
            begin(hearing, members, replace(order, trials=self._search is not None))
            if self._search is None:
                self._drive(hearing, members, load, ready)
            else:
                self._try(hearing, members, ready, self._search)
        finally:
            say_bye(hearing, members)

    def _load(self, hearing: Hearing, members: list[Member]) -> Load:
        settings = self._settings
        limits = Limits(lost_hosts=self._hosts.lost, keep_going=settings.keep_going, grace=settings.grace)
        return Load(hearing, members, limits)

    def _drive(self, hearing: Hearing, members: list[Member], load: Load, ready: Preparation) -> None:
        state, outputs, plan = self._session.state, self._session.outputs, ready.plan()
        self._assemble(load, plan, ready.schedule(), len(members))
        at = arm(hearing, members, self._start(), self._session.clock.offset)
        outputs.began = state.begin = at
        load.begin(at)
        hearing.wait(lambda: load.hopeless is not None, at)
        progress = start_progress(self._settings.progress, state, plan, outputs)
        used = own_seconds()
        try:
            load.follow(lambda: self._look(load))
        finally:
            state.hosts = load.lines()
            state.elapsed = (
                max((part.elapsed for part in load.whole.parts), default=0.0) if load.whole else 0.0
            )
            state.unstarted = load.unstarted
            state.driver_cpu_seconds = own_seconds() - used
            log_result(outputs.log, state)
            progress.end()
            stopped = pause_caution(state.tally)
            if stopped is not None:
                warn(stopped)
        reason = load.failure()
        try:
            self._collect(hearing, members)
        except RunError as error:
            reason = reason or str(error)
        if reason is not None:
            raise RunError(reason)

    def _try(self, hearing: Hearing, members: list[Member], ready: Preparation, search: Search) -> None:
        """Carries out the search, and collects the events of its trials however it ended."""
        try:
            search(self._session, hearing, members, ready.selection())
        except (RunError, Stopped):
            with suppress(RunError):
                self._collect_trials(hearing, members)
            raise
        self._collect_trials(hearing, members)

    def _collect_trials(self, hearing: Hearing, members: list[Member]) -> None:
        """Stops what may go on, and collects the events."""
        hearing.take = lambda *_: None
        if any(each.is_alive and each.state != "ended" for each in members):
            hearing.stop(max(1, hearing.stops))
        for member in members:
            member.state = "ended" if member.is_alive else member.state
        self._collect(hearing, members)

    def _assemble(self, load: Load, plan: Plan, schedule: Schedule | None, hosts: int) -> None:
        """From now on, the state shows the hosts, which are ready, and the summary is theirs."""
        state, outputs = self._session.state, self._session.outputs

        def gathering(whole: Whole) -> Gathered:
            return Gathered(whole, schedule=schedule, on_sample=outputs.on_sample, patience=load.patience)

        state.tally = load.assemble(gathering)
        state.driver = _UnderWay(plan, load)
        state.load = plan.about
        state.hosts = load.lines()
        state.summarized = lambda: self._summary(load)
        outputs.log(f"{plan.about}, on {counted(hosts, 'host')}")

    def _start(self) -> float | None:
        """Returns the moment of --start-at, monotonic; None without one."""
        start_at = self._session.beginning.start_at()
        if start_at is None:
            return None
        self._session.outputs.log(f"waiting for {start_at.isoformat(sep=' ')}")
        return self._now() + start_at.timestamp() - datetime.now().timestamp()

    def _look(self, load: Load) -> None:
        if self._now() - self._looked >= _LOOK:
            self._looked = self._now()
            self._session.state.hosts = load.lines()

    def _collect(self, hearing: Hearing, members: list[Member]) -> None:
        events = self._session.outputs.events
        if events is not None:
            Collection(hearing, members).write(events.write)

    def _summary(self, load: Load) -> Summary:
        """Returns the summary of what the hosts have counted."""
        state, settings = self._session.state, self._settings
        assert load.whole is not None
        facts = load.whole.facts(settings.thresholds)
        return load.whole.summary(
            replace(
                facts,
                started=state.started,
                interrupted=state.interrupted,
                reason=state.reason,
                command=state.command,
                settings=settings.as_json(),
                load=state.load,
                wall=lambda second: self._session.clock.wall((state.begin or 0.0) + second),
            )
        )

    def _caution(self, message: str) -> None:
        """Warns the user, and the log."""
        self._session.outputs.log(f"warning: {message}")
        warn(message)


def awaited(hosts: Hosts) -> str:
    """Returns in words which hosts the run waits for."""
    if hosts.local is not None:
        return f"starting {counted(hosts.local, 'host')} on this machine"
    least = f"at least {counted(hosts.least, 'host')}"
    return f"waiting up to {spoken(hosts.seconds)} for {least} at {hosts.address}"
