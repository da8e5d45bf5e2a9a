"""The checks of `doctor --hosts`: this machine lists the images and gathers the hosts, which check all the rest."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, Final

from .. import __version__
from ..counted import counted
from ..errors import RunError, UsageError
from ..figures import data, three
from ..hosts.clocks import compare_clocks
from ..hosts.fleet import StopAsked
from ..hosts.gathering import call_roll, take_on, too_few_machines, too_few_workers, wait_for_workers
from ..hosts.hearing import Hearing, Reports
from ..hosts.member import Member
from ..hosts.preparing import Order, assign, say_bye, start
from ..hosts.protocol import Body, Examined, Refused
from ..hosts.refusals import grouped, named
from ..hosts_setup import Connect, check_prunes, connecting, open_to_others, order_of
from ..images import Image
from ..listing.selection import Selection
from ..options.hosts import Hosts
from ..results.summary import ClientInfo
from .check import FAILURE, OK, WARNING, Check
from .checks import checks_here
from .examination import Examination
from .merged import common_changes, merged, same_clients
from .trial import trial_image

# Hosts whose memory differs by more than this factor are reported.
_ALIKE: Final = 2.0
_NO_IMAGES: Final = Selection(0, ())


@dataclass(frozen=True, slots=True)
class Way:
    """How the hosts are reached: `connect` connects to them, and `now` is the monotonic clock."""

    connect: Connect | None = None
    now: Callable[[], float] = monotonic


def checks(exam: Examination, options: Mapping[str, Any], way: Way | None = None) -> Iterator[Check]:
    """Yields all checks of a load on hosts. `options` are those of the main command."""
    yield from checks_here(exam)
    hosts, way = exam.settings.hosts, way or Way()
    assert hosts is not None
    danger = open_to_others(hosts)
    if danger is not None:
        yield Check("hosts", WARNING, danger)
    run, cautions = secrets.token_hex(8), list[str]()
    reports = Reports(log=lambda _: None, caution=cautions.append)
    try:
        connect = way.connect or connecting(hosts)
        with connect(hosts, run, exam.stop.heed) as (fleet, distributed):
            hearing = Hearing(fleet, run, reports, now=way.now)
            with exam.stop.calling(lambda: fleet.inbox.put(StopAsked(exam.stop.count))):
                yield from _Hosts(exam, hearing, hosts, cautions).checks(distributed, options)
    except (RunError, UsageError) as error:
        yield from _warnings(cautions)
        yield Check("hosts", FAILURE, str(error))


def _warnings(cautions: list[str]) -> Iterator[Check]:
    for message in cautions:
        yield Check("hosts", WARNING, message)
    cautions.clear()


@dataclass(slots=True)
class _Hosts:
    """The hosts of one examination. `cautions` are the warnings of `hearing`."""

    exam: Examination
    hearing: Hearing
    hosts: Hosts
    cautions: list[str]
    examined: dict[str, Examined] = field(default_factory=dict)

    def checks(self, distributed: str, options: Mapping[str, Any]) -> Iterator[Check]:
        """Yields the checks of the hosts, and adds to the examination what they recommend."""
        members = yield from self._gathered(distributed)
        if not members:
            return
        members = assign(self.hearing, members, self._workers())
        yield from _warnings(self.cautions)
        yield from _differences(members)
        self.hearing.fleet.hold([each.address for each in members])
        yield from self._clocks(members)
        yield from self._prunes(members)
        try:
            self._examine(members, self._order(options))
        finally:
            say_bye(self.hearing, members)
        yield from _warnings(self.cautions)
        yield from self._found(members)

    # ---- who takes part

    def _gathered(self, distributed: str) -> Generator[Check, None, list[Member]]:
        """Yields the checks of which hosts there are. Returns those that can take part."""
        joined = wait_for_workers(self.hearing, self.hosts)
        yield from _failure(too_few_workers(joined, self.hosts))
        roll = call_roll(self.hearing, joined, distributed)
        yield from merged({name: [Check("hosts", FAILURE, reason)] for name, reason in roll.refused})
        members = take_on(self.hearing, roll, self.hosts)
        yield from _warnings(self.cautions)
        if len(roll.able) >= self.hosts.least:
            yield from _failure(too_few_machines(members, self.hosts))
        if members:
            who = f"{counted(len(members), 'host')} can take part: {named([each.name for each in members])}"
            yield Check("hosts", OK, f"{who}; with ocidriver {__version__} and distributed {distributed}")
        return members

    def _workers(self) -> int:
        """The number of workers of the load."""
        settings = self.exam.settings
        selection: Selection | None = self.exam.preparation.values.get("selection")
        return len(selection.image_sets) if selection else settings.workers or len(settings.patterns)

    def _clocks(self, members: Sequence[Member]) -> Iterator[Check]:
        try:
            compare_clocks(self.hearing, members, lambda: self.hearing.scheduler_lost is not None)
        except RunError as error:
            yield from _warnings(self.cautions)
            yield Check("clocks", FAILURE, str(error))
            return
        yield from _warnings(self.cautions)
        self.hearing.check_scheduler()
        worst = max(members, key=lambda each: each.clock.bound)
        bound = f"±{three(1000 * worst.clock.bound)} ms"
        yield Check(
            "clocks", OK, f"the differences are known to {bound} or better (least exactly: host {worst.name})"
        )

    def _prunes(self, members: Sequence[Member]) -> Iterator[Check]:
        exam = self.exam
        if "selection" not in exam.preparation.values:
            return
        if not (yield from exam.carry_out("prune", lambda: check_prunes(exam.preparation, members))):
            exam.changes.update(dict.fromkeys(("--prune", "--prune-first")))

    # ---- what the hosts find

    def _order(self, options: Mapping[str, Any]) -> Order:
        """Returns what the hosts are to do, with the options that the examination has changed."""
        settings = self.exam.settings
        selection: Selection = self.exam.preparation.values.get("selection") or _NO_IMAGES
        changed = {**options, "workers": settings.workers, "patterns": settings.patterns}
        return replace(order_of(settings, changed, selection), examine=True)

    def _examine(self, members: Sequence[Member], order: Order) -> None:
        """Has the hosts carry out their checks. Those that try the same image do so one after the other."""
        self.hearing.take = self._take
        for wave in self._waves(members, order.selection):
            start(self.hearing, wave, order)
            self.hearing.wait(lambda: not any(each.state == "preparing" for each in wave))  # noqa: B023

    def _take(self, member: Member, body: Body) -> None:
        match body:
            case Examined():
                self.examined[member.name] = body
                member.state = "ended"
            case Refused():
                member.state, member.reason = "refused", body.reason
            case _:
                raise ValueError("it is no answer to an examination")

    def _waves(self, members: Sequence[Member], selection: Selection) -> Iterable[Sequence[Member]]:
        """Returns hosts that may carry out their checks at the same time: none prunes what another one pulls."""
        settings = self.exam.settings
        if not (settings.prune or settings.prune_first) or not selection.image_sets:
            return [members]
        waves: list[dict[Image, Member]] = []
        for member in members:
            own = replace(selection, image_sets=tuple(member.share.pick(selection.image_sets)))
            image = trial_image(own)
            free = next((wave for wave in waves if image not in wave), None)
            if free is None:
                waves.append(free := {})
            free[image] = member
        return [list(wave.values()) for wave in waves]

    def _found(self, members: Sequence[Member]) -> Iterator[Check]:
        self.exam.hosts = tuple(each.name for each in members)
        found = {}
        for member in members:
            examined = self.examined.get(member.name)
            if examined is None:
                found[member.name] = [Check("hosts", FAILURE, member.reason or "it has not ended its checks")]
            else:
                found[member.name] = [
                    Check(each.name, each.status, each.message, each.advice) for each in examined.checks
                ]
        yield from merged(found)
        yield from same_clients(self._clients(found))
        changes, undecided = common_changes(list(self.examined.values()))
        self.exam.changes.update(changes)
        self.exam.undecided |= undecided or any(each.undecided for each in self.examined.values())

    def _clients(self, found: Mapping[str, Sequence[Check]]) -> Mapping[str, ClientInfo]:
        """Returns the clients of the hosts whose own check of it did not fail."""
        return {
            name: each.client
            for name, each in self.examined.items()
            if each.client is not None
            and not any(check.name == "client" and check.status == FAILURE for check in found[name])
        }


def _failure(reason: str | None) -> Iterator[Check]:
    if reason is not None:
        yield Check("hosts", FAILURE, reason)


def _differences(members: Sequence[Member]) -> Iterator[Check]:
    """Warns if the machines differ in what limits a load."""
    advice = "each host gets an equal part of the load, so the smallest one limits it"
    cores = {each.name: f"{three(each.facts.cores)} cores" for each in members}
    if len(set(cores.values())) > 1:
        yield Check("hosts", WARNING, f"the hosts differ in cores: {grouped(cores.items())}", advice)
    memory = sorted(each.facts.memory_bytes for each in members)
    if memory[-1] > _ALIKE * memory[0]:
        yield Check(
            "hosts",
            WARNING,
            f"the hosts differ in memory: from {data(memory[0])} to {data(memory[-1])}",
            advice,
        )
