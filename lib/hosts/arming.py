"""Arms the hosts, so that all of them begin the load at the same moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ..errors import RunError
from ..figures import three
from .clocks import compare_clocks
from .hearing import ANSWER_SECONDS, Hearing
from .member import Member
from .preparing import raise_why
from .protocol import Arm, Disarm, Pass
from .refusals import grouped, named

# A start lies at least so far ahead, in seconds; and per host, and in round trips.
_AHEAD, _AHEAD_PER_HOST, _ROUND_TRIPS = 3.0, 0.01, 4
# All hosts must be armed this many seconds before the start.
_ARMED_BEFORE: Final = 1.0
# The clocks are compared this many seconds before the planned beginning, so that they have no time to part.
PROBE_BEFORE: Final = 60.0
# A load that begins this many seconds after its planned beginning is late.
_LATE: Final = 0.1
_NO_ANSWER: Final = "no answer in time"


def arm(hearing: Hearing, members: Sequence[Member], start: float | None, clock_offset: float) -> float:
    """Arms all hosts, and returns the moment when the load begins.

    `start` is the planned beginning, or None for as soon as possible; all moments are monotonic. `clock_offset` turns
    them into wall-clock time. Raises `RunError` if a host is not armed in time, also at a second try.
    """
    if start is not None and start - hearing.now() > PROBE_BEFORE:
        hearing.wait(lambda: _broken(hearing, members), start - PROBE_BEFORE)
        _check_all(hearing, members)
    compare_clocks(hearing, members, lambda: _broken(hearing, members))
    _check_all(hearing, members)
    at = _moment(hearing, members, start)
    late = _arm_once(hearing, members, at, clock_offset)
    if late:
        hearing.caution(f"not all hosts confirmed the beginning in time: {grouped(late)}; trying once more")
        _disarm(hearing, members)
        at = _moment(hearing, members, start)
        late = _arm_once(hearing, members, at, clock_offset)
    if late:
        _check_none_has_begun(members)
        raise RunError(
            f"the load did not begin, because not all hosts confirmed its beginning in time: {grouped(late)}"
        )
    if start is not None and at > start + _LATE:
        hearing.caution(
            f"the hosts were ready too late for --start-at; the load begins {three(at - start)} s after it"
        )
    return at


def _moment(hearing: Hearing, members: Sequence[Member], start: float | None) -> float:
    """Returns the planned beginning, or the next moment for which all hosts can be armed."""
    slowest = max(2 * each.clock.bound for each in members)
    ahead = max(_AHEAD, _ROUND_TRIPS * slowest, _AHEAD_PER_HOST * len(members))
    return max(hearing.now() + ahead, start if start is not None else 0.0)


def _broken(hearing: Hearing, members: Sequence[Member]) -> bool:
    return hearing.scheduler_lost is not None or any(not each.is_alive for each in members)


def _check_all(hearing: Hearing, members: Sequence[Member]) -> None:
    if _broken(hearing, members):
        raise_why(hearing, members)


def _arm_once(
    hearing: Hearing, members: Sequence[Member], at: float, clock_offset: float
) -> list[tuple[str, str]]:
    """Arms all hosts for the moment `at`. Returns the names of those that are not armed in time, with the reasons."""
    for member in members:
        member.armed_at, member.unarmed, member.arming = None, None, at + member.clock.offset
        hearing.order(
            member, Pass(run=hearing.run, order=Arm(member.arming, clock_offset - member.clock.offset))
        )

    def settled() -> bool:
        return _broken(hearing, members) or all(each.is_armed or each.unarmed for each in members)

    hearing.wait(settled, min(at - _ARMED_BEFORE, hearing.now() + ANSWER_SECONDS))
    _check_all(hearing, members)
    return [(each.name, each.unarmed or _NO_ANSWER) for each in members if not each.is_armed]


def _disarm(hearing: Hearing, members: Sequence[Member]) -> None:
    """Takes the moment back. Raises `RunError` if the load of a host has begun by then."""
    for member in members:
        member.disarmed = False
        hearing.order(member, Pass(run=hearing.run, order=Disarm()))

    def settled() -> bool:
        return _broken(hearing, members) or all(each.disarmed or each.is_loading for each in members)

    hearing.wait(settled, hearing.now() + 2 * _ARMED_BEFORE)
    _check_all(hearing, members)
    _check_none_has_begun(members)


def _check_none_has_begun(members: Sequence[Member]) -> None:
    begun = [each.name for each in members if each.is_loading]
    if begun:
        raise RunError(f"the load began on some hosts only: {named(begun)}; repeat the run")
