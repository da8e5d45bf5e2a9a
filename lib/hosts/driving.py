"""Follows the load on the hosts: adds up their pieces, passes on stops, and judges losses and the first pulls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ..clean import clean
from ..durations import spoken
from ..errors import RunError, UsageError
from ..figures import three
from ..load.driver import HOPELESS_AFTER, none_succeeded, stopping
from ..load.event import PULL
from ..outcomes import Failure
from ..pieces.bounds import check_header
from ..pieces.file import Reader
from ..pieces.fold import Ended
from ..pieces.gathered import Gathered
from ..pieces.part import Part
from ..pieces.whole import Whole, cautions
from ..pieces.wire import End, Header, PieceLine
from ..results.host_line import HostLine, HostState
from .hearing import Hearing
from .member import Member
from .protocol import Armed, Body, Ready, Refused, Started, Unarmed
from .refusals import grouped

# An interval is shown at the latest this many seconds, and this many beats, after its end.
_PATIENCE, _PATIENCE_BEATS = 5.0, 2
# So many signals end the load without waiting for the hosts any longer.
_NO_MORE_WAITING: Final = 3
_REPEAT: Final = "repeat the run"
# A host that begins this many seconds late is not believed.
_MOST_ERROR: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends the load early: more than `lost_hosts` lost hosts; without `keep_going`, only failures at first.

    After a stop, clients have `grace` seconds to finish.
    """

    lost_hosts: int
    keep_going: bool
    grace: float


class Load:
    """The load that the hosts carry out together.

    `whole` is made from the first header; `gathered` by `gathering`, with the whole, when all hosts are ready.
    `hopeless` is the reason why the load was ended early, or None.
    """

    def __init__(self, hearing: Hearing, members: Sequence[Member], limits: Limits) -> None:
        self.whole: Whole | None = None
        self.gathered: Gathered | None = None
        self.hopeless: str | None = None
        self.began: float | None = None
        self._hearing = hearing
        self._members = members
        self._limits = limits
        self._readers: dict[str, Reader] = {}
        self._heeded = 0
        hearing.take = self._take
        hearing.lost = self._note_loss
        hearing.second = self.second

    def second(self) -> float | None:
        """Returns the second of the load; None before it begins."""
        return None if self.began is None else max(0.0, self._hearing.now() - self.began)

    @property
    def patience(self) -> float:
        """The seconds that an interval waits for the pieces of slow hosts."""
        return max(_PATIENCE, _PATIENCE_BEATS * self._hearing.beat)

    @property
    def parts(self) -> list[Part]:
        """The parts of hosts that are not lost."""
        return [each.part for each in self._members if each.part is not None and each.is_alive]

    def assemble(self, gathering: Callable[[Whole], Gathered]) -> Gathered:
        """Begins the sum of the hosts, which are all ready. Raises `RunError` if they are not of one load."""
        try:
            headers = [_header_of(each) for each in self._members]
            whole = Whole(headers[0])
            for member, header in zip(self._members, headers, strict=True):
                reader = Reader(f"host {member.name}", _REPEAT)
                reader.accept(header)
                part = whole.begin(f"host {member.name}", header, member.share)
                part.address = member.address
                self._readers[member.address], member.part = reader, part
        except (UsageError, ValueError) as error:
            raise RunError(f"the hosts prepared different loads: {clean(str(error))}") from None
        for caution in cautions(headers):
            self._hearing.caution(caution)
        self.whole = whole
        self.gathered = gathering(whole)
        return self.gathered

    def begin(self, at: float) -> None:
        """Notes the moment when the load begins, which the hosts know already."""
        self.began = at
        for member in self._members:
            if member.part is not None:
                member.part.clock_error_ms = 1000 * member.clock.bound

    def follow(self, tick: Callable[[], None]) -> None:
        """Follows the load until all hosts have ended or are lost. `tick` is called several times per second.

        A third signal ends it at once; the hosts that go on then count as lost.
        """
        hearing = self._hearing

        def turn() -> None:
            self._close()
            tick()

        hearing.tick = turn
        try:
            hearing.wait(self._is_over, heed=False)
        finally:
            hearing.tick = lambda: None
            self._give_up_the_rest()
            if self.gathered is not None:
                self.gathered.finish()

    def failure(self) -> str | None:
        """Returns why the load did not succeed, when it is over; None if it did."""
        hearing = self._hearing
        if hearing.scheduler_lost is not None:
            return f"lost the scheduler ({hearing.scheduler_lost}); the summary has what arrived before"
        if self.hopeless is not None:
            return self.hopeless
        lost = [(each.name, each.reason or "lost") for each in self._members if not each.is_alive]
        if len(lost) == len(self._members):
            return f"no host carried out its share: {grouped(lost)}"
        return self._incomplete()

    def _incomplete(self) -> str | None:
        """Returns whose counts are incomplete although its load has ended; None if they all add up."""
        lacking = []
        for member in self._members:
            try:
                if member.part is not None:
                    member.part.check()
            except (RunError, ValueError):
                lacking.append((member.name, "its counts are incomplete, because pieces are missing"))
        return f"{grouped(lacking)}; {_REPEAT}" if lacking else None

    @property
    def unstarted(self) -> int:
        """The number of pulls of the schedule that did not start, on the hosts that have ended."""
        return sum(each.end.unstarted for each in self._members if each.end is not None)

    def workers(self, planned: int) -> int:
        """Returns how many of so many workers are on hosts whose load goes on."""
        return sum(each.share.count(planned) for each in self._members if each.is_loading)

    def lines(self) -> tuple[HostLine, ...]:
        """Returns what is known now of each host."""
        if self.gathered is None:
            return ()
        return tuple(
            self.gathered.line(each.part, _shown(each), each.last_piece)
            for each in self._members
            if each.part is not None
        )

    def _is_over(self) -> bool:
        self._heed_signals()
        if self._hearing.signals >= _NO_MORE_WAITING:
            return True
        return all(each.state == "ended" or not each.is_alive for each in self._members)

    def _give_up_the_rest(self) -> None:
        for member in self._members:
            if member.is_alive and member.state != "ended":
                self._hearing.lose(member, "the driver did not wait for its end")

    def _close(self) -> None:
        second = self.second()
        if self.gathered is not None and second is not None:
            self.gathered.close(second, self.parts)

    def _heed_signals(self) -> None:
        signals = self._hearing.signals
        if signals <= self._heeded:
            return
        if not self._heeded:
            self._hearing.caution(stopping(self._limits.grace))
        self._heeded = signals
        self._hearing.stop(signals)

    def end_early(self, reason: str) -> None:
        """Stops the load on all hosts, whose clients may end within the grace period."""
        if self.hopeless is None:
            self.hopeless = reason
            self._hearing.stop(max(1, self._hearing.stops))

    # ---- what the hosts say

    def _take(self, member: Member, body: Body) -> None:
        match body:
            case Ready():
                if member.state == "preparing":
                    member.ready, member.state = body, "ready"
            case Refused():
                self._refuse(member, clean(body.reason, 1000))
            case Armed():
                member.armed_at = body.at
            case Unarmed():
                self._unarm(member, body)
            case Started():
                self._start(member, body)
            case PieceLine():
                self._add(member, body)
            case End():
                self._end(member, body)

    def _refuse(self, member: Member, reason: str) -> None:
        """Notes that a host does not carry out its share. If the others do, it is lost."""
        if self.began is not None and not self._hearing.stops:
            self._hearing.lose(member, reason)
        elif member.is_alive:
            member.state, member.reason = "refused", reason

    def _unarm(self, member: Member, body: Unarmed) -> None:
        if body.reason:
            member.unarmed = clean(body.reason)
        else:
            member.disarmed, member.armed_at = True, None

    def _start(self, member: Member, started: Started) -> None:
        check_header(started.header)
        if not abs(started.error_seconds) < _MOST_ERROR:
            raise ValueError("the error of its beginning is out of bounds")
        if member.state == "ready":
            member.state = "running"
        member.start_error = started.error_seconds
        if member.part is not None:
            given = started.header
            member.part.header = msgspec.structs.replace(
                member.part.header, started=given.started, clock_offset=given.clock_offset, began=given.began
            )
            member.part.start_error_ms = 1000 * started.error_seconds
        self._hearing.log(f"host {member.name} began {1000 * started.error_seconds:.1f} ms late")

    def _add(self, member: Member, line: PieceLine) -> None:
        if self.gathered is None or member.part is None:
            return
        if line.number > member.acked:
            raise ValueError("the number of a piece is too large")
        taken = self._readers[member.address].accept(line)
        if isinstance(taken, Ended):
            self.gathered.take(member.part, taken)
            member.last_piece = self._hearing.now()
            self._note_pulls(line)
            self._judge_beginning()

    def _note_pulls(self, line: PieceLine) -> None:
        """Takes the pulls of a piece; a load does not look at them one by one."""

    def _end(self, member: Member, end: End) -> None:
        if member.part is None:
            return
        self._readers[member.address].accept(end)
        member.end = member.part.end = end
        if end.reason is not None and not self._hearing.stops:
            self._hearing.lose(member, f"its load ended early: {clean(end.reason)}")
        elif member.is_loading:
            member.state = "ended"

    def _note_loss(self, member: Member) -> None:
        if member.part is not None:
            member.part.lost_reason, member.part.lost_at = member.reason, member.lost_at
        lost = [each for each in self._members if each.state == "lost"]
        if self.began is None or self._hearing.scheduler_lost is not None:
            return
        if len(lost) > self._limits.lost_hosts:
            self.end_early(
                f"{grouped([(each.name, _loss(each)) for each in lost])}; {self._advice(len(lost))}"
            )

    def _advice(self, lost: int) -> str:
        """Returns what the user can do after so many hosts were lost."""
        if self._hearing.stopped:
            return f"this process was stopped for {spoken(round(self._hearing.stopped))}; {_REPEAT}"
        if lost == len(self._members):
            return _REPEAT
        return f"to go on without {'it' if lost == 1 else 'them'}, give --lost-hosts {lost}"

    def _judge_beginning(self) -> None:
        if self._limits.keep_going or self.gathered is None or self.gathered.pulled:
            return
        totals = self.gathered.totals
        if totals.failed >= HOPELESS_AFTER and self.hopeless is None and self._all_have_begun():
            examples = ((key[1], text) for key, text in totals.examples.items() if key[0] == PULL)
            error_class, message = next(examples, ("other", "the host gives no message"))
            self._end_hopeless(none_succeeded(totals.failed, Failure(error_class, clean(message))))

    def _all_have_begun(self) -> bool:
        """Returns whether each host that is not lost has delivered a piece, or has had enough time for it."""
        had_time = (self.second() or 0.0) > self._hearing.beat + self.patience
        return had_time or all(part.pieces for part in self.parts)

    def _end_hopeless(self, reason: str) -> None:
        """Ends the load, none of whose first pulls succeeded."""
        self.end_early(reason)


def _header_of(member: Member) -> Header:
    """Returns the header of a host that is ready. Raises `ValueError` if it is not that of its share."""
    if member.ready is None:
        raise ValueError(f"host {member.name} is not ready")
    header = member.ready.header
    if header.share != str(member.share):
        raise ValueError(f"host {member.name} prepared share {header.share} in place of {member.share}")
    return _named(member, header)


def _loss(member: Member) -> str:
    at = "" if member.lost_at is None else f" at {three(member.lost_at)} s"
    return f"lost{at} ({member.reason})"


def _shown(member: Member) -> HostState:
    """Returns the state of a host as the views show it."""
    match member.state:
        case "lost" | "refused":
            return "lost"
        case "ended":
            return "ended"
        case _ if member.silent:
            return "silent"
        case "joined" | "preparing":
            return "joined"
        case "ready" | "running":
            return member.state


def _named(member: Member, header: Header) -> Header:
    """Returns the header with the name that the host has in this run."""
    return msgspec.structs.replace(header, host=member.name)
