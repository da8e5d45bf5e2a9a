"""Hears the hosts: takes all that comes in, keeps the leases, and finds out which hosts are lost.

All of it runs in one thread. The phases of a run call `wait`, which takes what comes in until something has happened.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Final

from ..errors import Stopped, UsageError
from ..figures import three
from .fleet import Answered, Fleet, Heard, Input, Joined, Left, SchedulerLost, StopAsked
from .member import Member
from .protocol import (
    Body,
    ClockRead,
    Failed,
    Lease,
    Note,
    Pass,
    ReadClock,
    Request,
    decode_message,
)

# A lease goes to each host every so many seconds.
LEASE_EVERY: Final = 5.0
# A host that has not answered for so many seconds is silent, and then lost.
SILENT_AFTER: Final = 10.0
LOST_AFTER: Final = 30.0
# Time for the answer to a request that takes no time.
ANSWER_SECONDS: Final = 10.0
# The last messages of a process that is dead may take so many seconds.
_ON_THEIR_WAY: Final = 1.0
# While a load goes on, the clocks are compared again with every so many leases.
_LEASES_PER_PROBE: Final = 6
# A clock that has moved by more than this, in seconds and beyond what the probes can tell, is reported.
_DRIFT: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Where the controller reports: `log` gets lines for the log, `caution` gets warnings for the log and the user."""

    log: Callable[[str], None]
    caution: Callable[[str], None]


class Hearing:
    """The hosts of one run, and what is heard of them. `run` is its name, which no other run has.

    `take` receives each new message of a member, in their order; `lost` each member that is lost. `stops` is the number
    of stops that the hosts know of. A beat lasts `beat` seconds. `second` returns the second of the load; None before it begins.
    """

    def __init__(
        self, fleet: Fleet, run: str, reports: Reports, *, now: Callable[[], float] = monotonic
    ) -> None:
        self.fleet = fleet
        self.run = run
        self.now = now
        self.log, self.caution = reports.log, reports.caution
        self.members: dict[str, Member] = {}
        self.take: Callable[[Member, Body], None] = lambda *_: None
        self.lost: Callable[[Member], None] = lambda _: None
        self.tick: Callable[[], None] = lambda: None
        self.second: Callable[[], float | None] = lambda: None
        self.beat = 0.0
        self.signals = 0
        self.stops = 0
        self.scheduler_lost: str | None = None
        self._then: dict[int, Callable[[Answered], None]] = {}
        self._leased = 0.0
        self._leases = 0
        self._came_back: set[str] = set()
        # by address: when a host whose process is dead is given up, and why
        self._dead: dict[str, tuple[float, str]] = {}

    # ---- asking

    def ask(self, address: str, request: Request, seconds: float, then: Callable[[Answered], None]) -> None:
        """Sends a request. `then` is called with its answer, while `wait` goes on."""
        self._then[self.fleet.ask(address, request, seconds)] = then

    def ask_each(
        self,
        members: Iterable[Member],
        request: Callable[[Member], Request],
        seconds: float,
        *,
        heed: bool = True,
    ) -> dict[str, Answered]:
        """Asks all of them at the same time, and returns the answers by address.

        If the scheduler is lost, answers are missing. `heed`: raises `Stopped` after a signal.
        """
        return self.ask_addresses({each.address: request(each) for each in members}, seconds, heed=heed)

    def ask_addresses(
        self, requests: Mapping[str, Request], seconds: float, *, heed: bool = True
    ) -> dict[str, Answered]:
        """Does the same for workers that are no members yet."""
        answers: dict[str, Answered] = {}
        for address, request in requests.items():
            self.ask(address, request, seconds, partial(answers.__setitem__, address))
        self.wait(lambda: len(answers) == len(requests) or self.scheduler_lost is not None, heed=heed)
        return answers

    # ---- waiting

    def wait(self, done: Callable[[], bool], until: float | None = None, *, heed: bool = True) -> bool:
        """Takes what comes in until `done`, or until the moment `until`. Returns whether it is done.

        `heed`: raises `Stopped` after a signal.
        """
        while not done():
            if heed and self.signals:
                raise Stopped
            now = self.now()
            if until is not None and now >= until:
                return False
            self._keep_leases(now)
            self.tick()
            if done():
                break
            self._take_one(self._until_next(until) - self.now())
        return True

    def pause(self, seconds: float, *, heed: bool = True) -> None:
        """Takes what comes in for so many seconds."""
        self.wait(lambda: False, self.now() + seconds, heed=heed)

    def _until_next(self, until: float | None) -> float:
        following = self.now() + 0.2
        return following if until is None else min(until, following)

    def _take_one(self, timeout: float) -> None:
        try:
            arrived: Input = (
                self.fleet.inbox.get(timeout=timeout) if timeout > 0 else self.fleet.inbox.get_nowait()
            )
        except queue.Empty:
            return
        self._handle(arrived)
        for _ in range(1000):  # what is there already, but not for ever
            try:
                self._handle(self.fleet.inbox.get_nowait())
            except queue.Empty:
                return

    def _handle(self, arrived: Input) -> None:
        match arrived:
            case Answered():
                then = self._then.pop(arrived.token, None)
                if then is not None:
                    then(arrived)
            case Heard():
                self._hear(arrived)
            case Left():
                self._leave(arrived)
            case Joined():
                self._join(arrived)
            case SchedulerLost():
                self._lose_scheduler(arrived.reason)
            case StopAsked():
                self.signals = max(self.signals, arrived.count)

    # ---- hearing

    def _hear(self, heard: Heard) -> None:
        member = self.members.get(heard.address)
        if member is None:
            return
        if member.incarnation is None:
            member.unclaimed.append((heard.incarnation, heard.line))
        elif heard.incarnation == member.incarnation:
            self._take_line(member, heard.line)

    def claim(self, member: Member, incarnation: str) -> None:
        """Notes the incarnation of a member's process, and takes what it has said already."""
        member.incarnation = incarnation
        unclaimed, member.unclaimed = member.unclaimed, []
        for other, line in unclaimed:
            if other == incarnation:
                self._take_line(member, line)

    def _take_line(self, member: Member, line: str) -> None:
        try:
            message = decode_message(line)
        except ValueError as error:
            self.lose(member, f"it sent a line that is not valid: {error}")
            return
        member.heard = self.now()
        if message.number <= member.acked:
            return
        member.early[message.number] = message.body
        while (body := member.early.pop(member.acked + 1, None)) is not None:
            member.acked += 1
            if isinstance(body, Note):
                self._note(member, body)
            else:
                self._take_body(member, body)

    def _take_body(self, member: Member, body: Body) -> None:
        try:
            self.take(member, body)
        except (UsageError, ValueError) as error:
            self.lose(member, f"what it sent does not fit the load: {error}")

    def _note(self, member: Member, note: Note) -> None:
        (self.caution if note.caution else self.log)(f"host {member.name}: {note.text}")

    # ---- losing

    def lose(self, member: Member, reason: str) -> None:
        """Records that a member is lost, unless it has ended."""
        if not member.is_alive or member.state == "ended":
            return
        loading = member.is_loading
        member.state, member.reason, member.lost_at = "lost", reason, self.second() if loading else None
        if loading:
            until = member.part.counted_until if member.part is not None else 0.0
            at = f" at {three(member.lost_at)} s" if member.lost_at is not None else ""
            self.caution(f"host {member.name} lost{at} ({reason}); counted until {three(until)} s")
        self.lost(member)

    def _leave(self, left: Left) -> None:
        member = self.members.get(left.address)
        if member is not None:
            self.lose(member, left.reason)

    def _join(self, joined: Joined) -> None:
        gone = [each for each in self.members.values() if each.state == "lost" and each.facts.node]
        for member in gone:
            again = joined.address == member.address or joined.name == member.name
            if again and member.name not in self._came_back:
                self._came_back.add(member.name)
                self.caution(f"host {member.name} came back; it takes part in the next run")

    def _lose_scheduler(self, reason: str) -> None:
        if self.scheduler_lost is None:
            self.scheduler_lost = reason
            for member in list(self.members.values()):
                self.lose(member, "the scheduler is gone")

    # ---- leases

    def _having_process(self) -> Sequence[Member]:
        return [
            member for member in self.members.values() if member.incarnation is not None and member.is_alive
        ]

    def _keep_leases(self, now: float) -> None:
        if now - self._leased >= LEASE_EVERY:
            self.lease()
        for member in self._having_process():
            if member.state != "ended":
                self._watch(member, now)
        for address, (at, reason) in list(self._dead.items()):
            if now >= at:
                del self._dead[address]
                self.lose(self.members[address], reason)

    def lease(self) -> None:
        """Sends every host a lease now: it acknowledges its messages, and says how many stops were asked for."""
        self._leased = self.now()
        self._leases += 1
        for member in self._having_process():
            order = Pass(run=self.run, order=Lease(member.acked, self.stops))
            self.ask(member.address, order, LOST_AFTER, self._answered(member))
            if member.is_loading and self._leases % _LEASES_PER_PROBE == 0:
                self.ask(member.address, ReadClock(), ANSWER_SECONDS, self._compare(member))

    def stop(self, count: int) -> None:
        """Tells all hosts to stop, as after so many signals."""
        if count > self.stops:
            self.stops = count
            self.lease()

    def _answered(self, member: Member) -> Callable[[Answered], None]:
        def note(answered: Answered) -> None:
            if isinstance(answered.answer, Failed) and answered.answer.ended:
                # its last messages may still be on their way
                self._dead.setdefault(member.address, (self.now() + _ON_THEIR_WAY, answered.answer.reason))
            elif answered.answer is not None:
                member.answered = max(member.answered, answered.received)

        return note

    def _watch(self, member: Member, now: float) -> None:
        """Finds out whether a member is silent, back, or lost."""
        quiet = now - max(member.answered, member.heard)
        if member.is_loading and now - member.heard >= LOST_AFTER + self.beat:
            self.lose(member, f"its process has counted nothing for {LOST_AFTER:.0f} s")
        elif quiet >= LOST_AFTER:
            self.lose(member, f"silent for {LOST_AFTER:.0f} s")
        elif quiet >= SILENT_AFTER and not member.silent:
            member.silent = True
            self.caution(f"host {member.name} silent for {SILENT_AFTER:.0f} s")
        elif quiet < SILENT_AFTER and member.silent:
            member.silent = False
            self.caution(f"host {member.name} is back")

    def _compare(self, member: Member) -> Callable[[Answered], None]:
        def note(answered: Answered) -> None:
            if not isinstance(answered.answer, ClockRead):
                return
            bound = (answered.received - answered.sent) / 2
            offset = answered.answer.monotonic - (answered.sent + answered.received) / 2
            moved = abs(offset - member.clock.offset) - bound - member.clock.bound
            if moved > _DRIFT:
                self.caution(
                    f"the clock of host {member.name} has moved by {three(1000 * moved)} ms or more during the load"
                )

        return note
