"""Follows the load on the hosts: adds up their pieces, passes on stops, and judges losses and the first pulls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ..counted import counted
from ..durations import spoken
from ..errors import RunError, UsageError
from ..figures import three
from ..load.driver import HOPELESS_AFTER
from ..pieces.file import Reader
from ..pieces.fold import Ended
from ..pieces.gathered import Gathered
from ..pieces.part import Part
from ..pieces.whole import Whole
from ..pieces.wire import End, Header, PieceLine
from ..results.host_line import HostLine, HostState
from .hearing import Hearing
from .member import Member
from .protocol import Armed, Body, Ready, Refused, Started, Unarmed

# An interval is shown at the latest this many seconds, and this many beats, after its end.
_PATIENCE, _PATIENCE_BEATS = 5.0, 2
# After the last host has ended, the driver waits this many seconds for pieces that are missing.
MISSING_SECONDS: Final = 10.0


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
        self._pieces_at: dict[str, float] = {}
        self._said_signal = 0
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
        headers = [_named(each, each.ready.header) for each in self._members if each.ready is not None]
        whole = Whole(headers[0])
        try:
            for member in self._members:
                assert member.ready is not None
                header = _named(member, member.ready.header)
                reader = Reader(f"host {member.name}", "repeat the run")
                reader.accept(header)
                self._readers[member.address] = reader
                member.part = whole.begin(f"host {member.name}", header, member.share)
                member.part.address = member.address
        except UsageError as error:
            raise RunError(str(error)) from None
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
        """Follows the load until all hosts have ended or are lost. `tick` is called several times a second."""
        hearing = self._hearing

        def turn() -> None:
            self._heed_signals()
            self._close(self.parts)
            tick()

        hearing.tick = turn
        try:
            hearing.wait(self._is_over, heed=False)
        finally:
            hearing.tick = lambda: None
        if self.gathered is not None:
            self.gathered.finish()

    def incomplete(self) -> str | None:
        """Returns whose counts are incomplete although it has ended; None if they all add up."""
        for member in self._members:
            if member.part is None or member.end is None:
                continue
            try:
                member.part.check()
            except RunError:
                return f"the counts of host {member.name} are incomplete: it lacks pieces; repeat the run"
        return None

    def workers(self, planned: int) -> int:
        """Returns how many of so many workers are on hosts whose load goes on."""
        return sum(each.share.count(planned) for each in self._members if each.is_loading)

    def lines(self) -> tuple[HostLine, ...]:
        """Returns what is known now of each host."""
        if self.gathered is None:
            return ()
        return tuple(
            self.gathered.line(each.part, _shown(each), self._pieces_at.get(each.address))
            for each in self._members
            if each.part is not None
        )

    def _is_over(self) -> bool:
        return all(each.state == "ended" or not each.is_alive for each in self._members)

    def _close(self, parts: Sequence[Part]) -> None:
        second = self.second()
        if self.gathered is not None and second is not None:
            self.gathered.close(second, parts)

    def _heed_signals(self) -> None:
        signals = self._hearing.signals
        if signals > self._said_signal:
            if not self._said_signal:
                self._hearing.caution(
                    f"stopping: clients have {spoken(self._limits.grace)} to finish; a second signal ends them at once"
                )
            self._said_signal = signals
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
                member.ready, member.state = body, "ready"
            case Refused():
                member.state, member.reason, member.usage = "refused", body.reason, body.usage
            case Armed():
                member.armed_at = body.at
            case Unarmed():
                member.unarmed, member.armed_at = body.reason or "disarmed", None
                if body.reason:
                    self._hearing.log(f"host {member.name}: {body.reason}")
            case Started():
                self._start(member, body)
            case PieceLine():
                self._add(member, body)
            case End():
                self._end(member, body)

    def _start(self, member: Member, started: Started) -> None:
        if member.is_alive:
            member.state = "running"
        member.start_error = started.error_seconds
        if member.part is not None:
            member.part.header = _named(member, started.header)
            member.part.start_error_ms = 1000 * started.error_seconds
        self._hearing.log(f"host {member.name} began {three(1000 * started.error_seconds)} ms late")

    def _add(self, member: Member, line: PieceLine) -> None:
        if self.gathered is None or member.part is None:
            return
        taken = self._readers[member.address].accept(line)
        if isinstance(taken, Ended):
            self.gathered.take(member.part, taken)
            self._pieces_at[member.address] = self._hearing.now()
            self._judge_beginning()

    def _end(self, member: Member, end: End) -> None:
        self._readers[member.address].accept(end)
        member.end = end
        if member.part is not None:
            member.part.end = end
        if member.state == "running":
            member.state = "ended"
        if end.reason is not None and not self._hearing.stops:
            self.end_early(f"host {member.name}: {end.reason}")

    def _note_loss(self, member: Member) -> None:
        if member.part is not None:
            member.part.lost_reason = member.reason
        lost = [each for each in self._members if each.state == "lost"]
        if self.began is None or self._hearing.scheduler_lost is not None:
            return
        if len(lost) > self._limits.lost_hosts:
            told = "; ".join(f"host {each.name} lost ({each.reason})" for each in lost)
            self.end_early(
                f"{told}; to go on without {counted(len(lost), 'host')}, give --lost-hosts {len(lost)}"
            )

    def _judge_beginning(self) -> None:
        if self._limits.keep_going or self.gathered is None or self.gathered.pulled:
            return
        totals = self.gathered.totals
        if totals.failed >= HOPELESS_AFTER:
            examples = iter(totals.examples.items())
            (_, error_class), message = next(examples, (("", "other"), ""))
            self.end_early(
                f"none of the first {totals.failed} pulls succeeded: {error_class}: {message} "
                "(to find the cause, run ocidriver doctor; to continue regardless, use --keep-going)"
            )


def _shown(member: Member) -> HostState:
    """Returns the state of a host as the views show it."""
    if member.state in ("lost", "refused"):
        return "lost"
    if member.state == "ended":
        return "ended"
    if member.silent:
        return "silent"
    return "running" if member.state == "running" else "ready" if member.state == "ready" else "joined"


def _named(member: Member, header: Header) -> Header:
    """Returns the header with the name that the host has in this run."""
    return msgspec.structs.replace(header, host=member.name)
