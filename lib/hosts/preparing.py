"""Prepares the hosts: each gets its share, makes itself ready, and all of them begin at the same moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..counted import counted
from ..durations import spoken
from ..errors import RunError
from ..figures import three
from ..listing.selection import Selection
from ..load.share import Share
from .hearing import ANSWER_SECONDS, Hearing
from .member import Member
from .protocol import (
    Arm,
    Begin,
    Begun,
    Bye,
    ClockRead,
    Disarm,
    Failed,
    FirstOrder,
    Pass,
    ReadClock,
    beat_of,
)
from .refusals import grouped, named
from .selected import Packer

_PROBES: Final = 16
# The clock of a host may be this uncertain, in seconds, with and without a warning.
_CAUTION_BOUND, _MOST_BOUND = 0.05, 0.5
# A start lies at least so far ahead, in seconds; and per host, and in round trips.
_AHEAD, _AHEAD_PER_HOST, _ROUND_TRIPS = 3.0, 0.01, 4
# All hosts must be armed this many seconds before the start.
_ARMED_BEFORE: Final = 1.0
# Time for a host process to begin, and for the others to tell what is wrong once one has, in seconds.
_BEGIN_SECONDS, _OTHERS_SECONDS = 60.0, 10.0
# Time for hosts to end what they have begun, in seconds.
_BYE_SECONDS: Final = 20.0
# The clocks are compared this many seconds before the planned beginning, so that they have no time to part.
_PROBE_BEFORE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the hosts are to do. `options` are those of the command, for every host; `by` says who drives the run.

    `locks` returns the name of the lock that a host takes.
    """

    options: Mapping[str, Any]
    selection: Selection
    ca_pem: str | None
    by: str
    lock: Callable[[Member], str]


def assign(hearing: Hearing, members: Sequence[Member], workers: int) -> list[Member]:
    """Gives each member its share of so many workers, and returns those that have any. Warns of the others."""
    used, idle = list(members[:workers]), members[workers:]
    if idle:
        hearing.caution(
            f"{counted(len(idle), 'host')} will be idle, because the load has only {counted(workers, 'worker')}: "
            f"{named([each.name for each in idle])}; give more workers"
        )
    for each in idle:
        del hearing.members[each.address]
    for number, member in enumerate(used, start=1):
        member.share = Share(number, len(used))
    return used


def begin(hearing: Hearing, members: Sequence[Member], order: Order) -> None:
    """Starts the host processes and waits until all are ready. Raises `RunError` with all that is wrong."""
    hearing.beat = beat_of(len(members))
    packer = Packer(order.selection)

    def request(member: Member) -> Begin:
        first = FirstOrder(
            run=hearing.run,
            host=member.name,
            share=str(member.share),
            options=dict(order.options),
            selection=packer.pack(member.share),
            ca_pem=order.ca_pem,
            beat_seconds=hearing.beat,
        )
        return Begin(by=order.by, lock=order.lock(member), order=first)

    answers = hearing.ask_each(members, request, _BEGIN_SECONDS)
    for member in members:
        answered = answers.get(member.address)
        answer = answered.answer if answered is not None else None
        member.answered = member.heard = hearing.now()
        if isinstance(answer, Begun):
            member.state = "preparing"
            hearing.claim(member, answer.incarnation)
        else:
            member.state, member.reason = (
                "refused",
                _why(answer, answered.error if answered else "it is gone"),
            )
    _until_ready(hearing, members)


def _why(answer: object, error: str) -> str:
    if isinstance(answer, Failed):
        driving = answer.driving
        return (
            f"it has been driving another run since {driving.since} (by {driving.by})"
            if driving
            else answer.reason
        )
    return error or "it gave an answer of the wrong kind"


def _until_ready(hearing: Hearing, members: Sequence[Member]) -> None:
    def settled() -> bool:
        return all(not each.is_alive or each.state == "ready" for each in members)

    def wrong() -> bool:
        return any(not each.is_alive for each in members)

    hearing.wait(lambda: settled() or wrong())
    if wrong():
        hearing.wait(settled, hearing.now() + _OTHERS_SECONDS)
        raise RunError(told(hearing, members))


def told(hearing: Hearing, members: Sequence[Member]) -> str:
    """Returns what is wrong with hosts that are refused or lost, as the reason why the run ends before its load."""
    if hearing.scheduler_lost is not None:
        return f"lost the scheduler: {hearing.scheduler_lost}"
    wrong = [(each.name, each.reason or "lost") for each in members if not each.is_alive]
    return grouped(wrong)


def compare_clocks(hearing: Hearing, members: Sequence[Member]) -> None:
    """Finds out by how much each host's clock differs. Raises `RunError` if it cannot be told well enough."""
    for _ in range(_PROBES):
        for address, answered in hearing.ask_each(members, lambda _: ReadClock(), ANSWER_SECONDS).items():
            if isinstance(answered.answer, ClockRead):
                hearing.members[address].clock.take(
                    answered.sent, answered.received, answered.answer.monotonic
                )
        if any(not member.is_alive for member in members):
            raise RunError(told(hearing, members))
    wide = [(each.name, each.clock.bound) for each in members if each.clock.bound > _CAUTION_BOUND]
    refused = [(name, _uncertain(bound)) for name, bound in wide if bound > _MOST_BOUND]
    if refused:
        raise RunError(f"{grouped(refused)}; use hosts with a faster network between them")
    for name, bound in wide:
        hearing.caution(f"host {name}: {_uncertain(bound)}, so its intervals may be off by as much")


def _uncertain(bound: float) -> str:
    if bound == float("inf"):
        return "its clock could not be read"
    return f"its clock is known only to ±{three(1000 * bound)} ms"


def arm(hearing: Hearing, members: Sequence[Member], start: float | None, clock_offset: float) -> float:
    """Arms all hosts, and returns the moment when the load begins.

    `start` is the planned beginning, or None for as soon as possible; all moments are monotonic. `clock_offset` turns
    them into wall-clock time. Raises `RunError` if a host is not armed in time, also at a second try.
    """
    if start is not None and start - hearing.now() > _PROBE_BEFORE:
        hearing.wait(lambda: _broken(hearing, members), start - _PROBE_BEFORE)
        for member in members:
            member.clock = type(member.clock)()
    _check_all(hearing, members)
    compare_clocks(hearing, members)
    for attempt in (1, 2):
        slowest = max(2 * each.clock.bound for each in members)
        ahead = max(_AHEAD, _ROUND_TRIPS * slowest, _AHEAD_PER_HOST * len(members))
        at = max(hearing.now() + ahead, start if start is not None else 0.0)
        late = _arm_once(hearing, members, at, clock_offset)
        if not late:
            return at
        _check_all(hearing, members)
        names = named(late)
        if attempt == 1:
            hearing.caution(f"not armed in time: {names}; trying once more")
            _disarm(hearing, members)
    raise RunError(f"the load did not begin, because hosts were not armed in time: {names}; repeat the run")


def _broken(hearing: Hearing, members: Sequence[Member]) -> bool:
    return hearing.scheduler_lost is not None or any(not each.is_alive for each in members)


def _check_all(hearing: Hearing, members: Sequence[Member]) -> None:
    if _broken(hearing, members):
        raise RunError(told(hearing, members))


def _arm_once(hearing: Hearing, members: Sequence[Member], at: float, clock_offset: float) -> list[str]:
    """Arms all hosts for the moment `at`. Returns the names of those that are not armed in time."""
    for member in members:
        member.armed_at = member.unarmed = None
        order = Arm(at + member.clock.offset, clock_offset - member.clock.offset)
        hearing.ask(member.address, Pass(run=hearing.run, order=order), ANSWER_SECONDS, lambda _: None)

    def settled() -> bool:
        return all(each.armed_at is not None or each.unarmed or not each.is_alive for each in members)

    hearing.wait(settled, at - _ARMED_BEFORE)
    return [each.name for each in members if each.armed_at is None or not each.is_alive]


def _disarm(hearing: Hearing, members: Sequence[Member]) -> None:
    for member in members:
        member.unarmed = None
        hearing.ask(member.address, Pass(run=hearing.run, order=Disarm()), ANSWER_SECONDS, lambda _: None)
    hearing.wait(
        lambda: all(each.unarmed is not None or not each.is_alive for each in members), hearing.now() + 2.0
    )
    begun = [each.name for each in members if each.state == "running"]
    if begun:
        raise RunError(f"the load began on some hosts only: {named(begun)}; repeat the run")


def say_bye(hearing: Hearing, members: Sequence[Member]) -> None:
    """Ends all host processes, and waits until nothing of them is left, but not for ever."""
    answers: set[str] = set()
    wanted = [each for each in members if each.incarnation is not None and each.state != "lost"]
    for member in wanted:
        hearing.ask(
            member.address,
            Bye(hearing.run),
            _BYE_SECONDS,
            lambda _, address=member.address: answers.add(address),  # type: ignore[misc]
        )
    hearing.wait(
        lambda: len(answers) == len(wanted) or hearing.scheduler_lost is not None,
        hearing.now() + _BYE_SECONDS,
        heed=False,
    )
    left = [each.name for each in wanted if each.address not in answers]
    if left:
        hearing.log(f"no answer to the end of the run within {spoken(_BYE_SECONDS)}: {named(left)}")
