"""Prepares the hosts: each gets its share and makes itself ready. Ends them when the run is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from ..clean import clean
from ..counted import counted
from ..errors import RunError
from ..images import Image, distinct
from ..listing.selection import Selection
from ..load.share import Share
from .fleet import Answered
from .hearing import BYE_SECONDS, Hearing
from .member import Member
from .protocol import Begin, Begun, Failed, FirstOrder, beat_of
from .refusals import grouped, named
from .selected import Packer

# Time for a host process to begin, and for the others to report what is wrong once one has, in seconds.
_BEGIN_SECONDS, _OTHERS_SECONDS = 60.0, 10.0
# Time for the answer of a lost host to the end of the run, in seconds. It most likely gives none.
_LOST_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the hosts are to do. `options` are those of the command, for every host; `by` says who drives the run.

    `lock` returns the name of the lock that a host takes. `examine`: they carry out the checks of `doctor` in place
    of a load. With `trials`, they are to carry out trials.
    """

    options: Mapping[str, Any]
    selection: Selection
    ca_pem: str | None
    by: str
    lock: Callable[[Member], str]
    examine: bool = False
    trials: bool = False


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


def share_images(members: Sequence[Member], selection: Selection) -> bool:
    """Returns whether any image is pulled by more than one of the hosts."""
    return _share(members, selection, lambda image: image)


def share_repositories(members: Sequence[Member], selection: Selection) -> bool:
    """Returns whether more than one of the hosts pulls images of one repository."""
    return _share(members, selection, lambda image: image.path)


def _share(members: Sequence[Member], selection: Selection, of: Callable[[Image], object]) -> bool:
    seen: set[object] = set()
    for member in members:
        part = set(map(of, distinct(member.share.pick(selection.image_sets))))
        if not seen.isdisjoint(part):
            return True
        seen |= part
    return False


def begin(hearing: Hearing, members: Sequence[Member], order: Order) -> None:
    """Starts the host processes and waits until all are ready. Raises `RunError` with all that is wrong."""
    start(hearing, members, order)
    until_ready(hearing, members)


def start(hearing: Hearing, members: Sequence[Member], order: Order) -> None:
    """Starts the host processes. Members whose process does not start are then refused."""
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
            examine=order.examine,
            trials=order.trials,
        )
        member.asked = True
        return Begin(by=order.by, lock=order.lock(member), order=first)

    def take(member: Member, answered: Answered) -> None:
        answer = answered.answer
        if isinstance(answer, Begun) and member.is_alive:
            member.state = "preparing"
            hearing.claim(member, answer.incarnation)
        elif member.is_alive:
            member.state, member.reason = "refused", _why(answer, answered.error)

    hearing.ask_each(members, request, _BEGIN_SECONDS, then=take)


def _why(answer: object, error: str) -> str:
    if isinstance(answer, Failed):
        driving = answer.driving
        if driving is None:
            return clean(answer.reason)
        return f"it has been driving another run since {clean(driving.since)} (by {clean(driving.by)})"
    return error or "it gave an answer of the wrong kind"


def until_ready(hearing: Hearing, members: Sequence[Member]) -> None:
    """Waits until all hosts are ready. Raises `RunError` with all that is wrong."""

    def settled() -> bool:
        return all(not each.is_alive or each.state == "ready" for each in members)

    def wrong() -> bool:
        return any(not each.is_alive for each in members)

    hearing.wait(lambda: settled() or wrong())
    if wrong():
        hearing.wait(settled, hearing.now() + _OTHERS_SECONDS)
        raise_why(hearing, members)


def raise_why(hearing: Hearing, members: Sequence[Member]) -> NoReturn:
    """Raises `RunError` with what is wrong with hosts that are refused or lost before the load."""
    hearing.check_scheduler()
    wrong = [(each.name, each.reason or "lost") for each in members if not each.is_alive]
    raise RunError(f"the load did not begin: {grouped(wrong)}")


def say_bye(hearing: Hearing, members: Sequence[Member]) -> None:
    """Ends all host processes, and waits until nothing of them is left, but not for ever.

    A further signal ends the wait. The processes then end by themselves, as they get no more leases.
    """
    left = dict[str, bool]()
    wanted = [each for each in members if each.asked and not each.gone]
    signals = hearing.signals

    def leaving(member: Member) -> Callable[[Answered], None]:
        return lambda answered: left.__setitem__(member.name, answered.answer is not None)

    for member in wanted:
        member.leaving = True
        hearing.say_bye(member, leaving(member))
    lost_until, lost = hearing.now() + _LOST_SECONDS, [each for each in wanted if not each.is_alive]

    def over() -> bool:
        if hearing.scheduler_lost is not None or hearing.signals > signals:
            return True
        given_up = lost if hearing.now() >= lost_until else []
        return all(each.name in left or each in given_up for each in wanted)

    hearing.wait(over, hearing.now() + BYE_SECONDS, heed=False)
    hearing.tell_notes()
    missing = [each.name for each in wanted if not left.get(each.name)]
    if missing and hearing.scheduler_lost is None:
        hearing.log(f"these hosts did not confirm the end of the run: {named(missing)}")
