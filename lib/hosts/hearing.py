"""Hears the hosts: takes all that comes in, keeps the leases, and finds out which hosts are lost.

All of it runs in one thread. The phases of a run call `wait`, which takes what comes in until something has happened.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Final

from ..clean import clean
from ..durations import spoken
from ..errors import RunError, Stopped, UsageError
from ..figures import three
from .fleet import Answered, Fleet, Heard, Input, Joined, Left, SchedulerLost, StopAsked
from .member import ClockReading, Member, host_of
from .protocol import (
    LEASE_SECONDS,
    Body,
    Bye,
    ClockRead,
    Failed,
    Lease,
    Note,
    Pass,
    ReadClock,
    Request,
    decode_message,
)
from .refusals import hosts

# A lease goes to each host every so many seconds.
LEASE_EVERY: Final = 5.0
# A host that has not answered for so many seconds is silent, and then lost.
SILENT_AFTER: Final = 10.0
LOST_AFTER: Final = 30.0
# Time for the answer to a request that takes no time.
ANSWER_SECONDS: Final = 10.0
# Time for a host process to end, and for its host to clean up after it.
BYE_SECONDS: Final = 20.0
# The last messages of a process that is dead may take so many seconds.
_ON_THEIR_WAY: Final = 1.0
# While a load goes on, the clocks are compared again with every so many leases.
_LEASES_PER_PROBE: Final = 6
# A clock that has moved by more than this, in seconds and beyond what the probes can tell, is reported.
_DRIFT: Final = 0.01
# Longest wait between two looks at the hosts, in seconds.
LOOK: Final = 0.2
# If this process itself was stopped for longer than this, in seconds, no host is silent because of it.
_OWN_PAUSE: Final = 2.0
# So many messages that came before their turn are kept of one host, and of one that has not begun.
_MOST_EARLY, _MOST_UNCLAIMED = 10_000, 1000
# A note of a host is told after so many seconds at the latest, together with the same one of other hosts.
_TOGETHER: Final = 1.0
# So much of what is wrong with a message is shown, in characters.
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Where the controller reports: `log` gets lines for the log, `caution` gets warnings for the log and the user."""

    log: Callable[[str], None]
    caution: Callable[[str], None]


class Hearing:
    """The hosts of one run, and what is heard of them. `run` is its name, which no other run has.

    `take` receives each new message of a member, in their order; `lost` each member that is lost. `tick` is called
    several times per second. `signals` is the number of signals so far, and `stops` the number of stops that the hosts
    know of. `stopped` is how many seconds this process itself was stopped, if hosts may have ended their load for lack
    of a lease. A beat lasts `beat` seconds. `second` returns the second of the load; None before it begins.
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
        self.stopped = 0.0
        self._then: dict[int, Callable[[Answered], None]] = {}
        self._leased = 0.0
        self._leases = 0
        self._looked = now()
        self._came_back: set[str] = set()
        self._drifted: set[str] = set()
        # when notes of hosts are told, and the names of the hosts
        self._notes: dict[Note, tuple[float, list[str]]] = {}
        # by address: when a host whose process is dead is given up, and why
        self._dead: dict[str, tuple[float, str]] = {}

    # ---- asking

    def ask(self, address: str, request: Request, seconds: float, then: Callable[[Answered], None]) -> None:
        """Sends a request. `then` is called with its answer, while `wait` goes on."""
        self._then[self.fleet.ask(address, request, seconds)] = then

    def order(self, member: Member, request: Pass) -> None:
        """Passes an order on to the process of a member. The answer is a sign of life, or that the process is dead."""
        seconds = LOST_AFTER if isinstance(request.order, Lease) else ANSWER_SECONDS
        self.ask(member.address, request, seconds, lambda answered: self.note_answer(member, answered))

    def ask_each(
        self,
        members: Iterable[Member],
        request: Callable[[Member], Request],
        seconds: float,
        *,
        heed: bool = True,
        then: Callable[[Member, Answered], None] = lambda *_: None,
    ) -> dict[str, Answered]:
        """Asks all of them at the same time, and returns the answers by address. `then` gets each as it comes.

        If the scheduler is lost, answers are missing. `heed`: raises `Stopped` after a signal.
        """
        asked = {each.address: each for each in members}
        return self.ask_addresses(
            {address: request(each) for address, each in asked.items()},
            seconds,
            heed=heed,
            then=lambda address, answered: then(asked[address], answered),
        )

    def ask_addresses(
        self,
        requests: Mapping[str, Request],
        seconds: float,
        *,
        heed: bool = True,
        then: Callable[[str, Answered], None] = lambda *_: None,
    ) -> dict[str, Answered]:
        """Does the same for workers that are no members yet."""
        answers: dict[str, Answered] = {}

        def noting(address: str) -> Callable[[Answered], None]:
            def note(answered: Answered) -> None:
                answers[address] = answered
                then(address, answered)

            return note

        for address, request in requests.items():
            self.ask(address, request, seconds, noting(address))
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
            following = now + LOOK
            self._take_in((following if until is None else min(until, following)) - now)
            self._look()
        return True

    def pause(self, seconds: float, *, heed: bool = True) -> None:
        """Takes what comes in for so many seconds."""
        self.wait(lambda: False, self.now() + seconds, heed=heed)

    def attend(self) -> None:
        """Takes what is there already. Long work calls it now and then, as hosts need their leases."""
        self._take_in(0.0)
        self._look()

    def _take_in(self, timeout: float) -> None:
        """Waits at most so many seconds for something to come in, and takes what is there then."""
        try:
            arrived: Input = (
                self.fleet.inbox.get(timeout=timeout) if timeout > 0 else self.fleet.inbox.get_nowait()
            )
            self._notice_pause()
            self._handle(arrived)
            for _ in range(1000):  # but not for ever
                self._handle(self.fleet.inbox.get_nowait())
        except queue.Empty:
            return

    def _look(self) -> None:
        """Keeps the leases and looks for silent hosts, unless that was done just now."""
        now = self.now()
        since = now - self._looked
        if since < LOOK / 2:
            return
        self._notice_pause()
        self._looked = now
        if now - self._leased >= LEASE_EVERY:
            self.lease()
        for member in self._having_process():
            if member.incarnation is not None and member.state != "ended":
                self._watch(member, now)
        for address, (at, reason) in list(self._dead.items()):
            if now >= at:
                del self._dead[address]
                self.lose(self.members[address], reason)
        self._tell_notes(now)
        self.tick()

    def _notice_pause(self) -> None:
        """Does not count a time in which this process itself was stopped."""
        now = self.now()
        seconds = now - self._looked
        if seconds <= _OWN_PAUSE:
            return
        self._looked = now
        if seconds > LEASE_SECONDS - LEASE_EVERY and self._having_process():
            self.stopped = seconds
            self.caution(
                f"this process was stopped for {spoken(round(seconds))}; a host without a lease ends its load"
            )
        for member in self.members.values():
            member.answered = min(now, member.answered + seconds)
            member.heard = min(now, member.heard + seconds)

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
            if len(member.unclaimed) < _MOST_UNCLAIMED:
                member.unclaimed.append((heard.incarnation, heard.line))
        elif heard.incarnation == member.incarnation:
            self._take_line(member, heard.line)

    def claim(self, member: Member, incarnation: str) -> None:
        """Notes the incarnation of a member's process, and takes what it has said already."""
        member.incarnation = incarnation
        member.answered = member.heard = self.now()
        unclaimed, member.unclaimed = member.unclaimed, []
        for other, line in unclaimed:
            if other == incarnation:
                self._take_line(member, line)

    def _take_line(self, member: Member, line: str) -> None:
        try:
            message = decode_message(line)
        except ValueError as error:
            self.lose(member, f"it sent a line that is not valid: {clean(str(error), _SHOWN)}")
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
        if len(member.early) > _MOST_EARLY:
            member.early.clear()
            self.lose(member, f"message {member.acked + 1} is missing")

    def _take_body(self, member: Member, body: Body) -> None:
        try:
            self.take(member, body)
        except (UsageError, ValueError, LookupError) as error:
            self.lose(member, f"what it sent does not fit the load: {clean(str(error), _SHOWN)}")

    def _note(self, member: Member, note: Note) -> None:
        if not note.text:
            return
        if not note.caution and member.is_loading:  # lines about its own workers
            self.log(f"host {member.name}: {note.text}")
            return
        _, names = self._notes.setdefault(note, (self.now() + _TOGETHER, []))
        names.append(member.name)

    def tell_notes(self) -> None:
        """Tells what hosts have noted, without waiting for the same note of other hosts."""
        self._tell_notes(inf)

    def _tell_notes(self, now: float) -> None:
        for note, (at, names) in list(self._notes.items()):
            everyone = len(names) >= len(self.members)
            if now >= at or everyone:
                del self._notes[note]
                tell = self.caution if note.caution else self.log
                tell(f"{hosts(list(dict.fromkeys(names)))}: {note.text}")

    # ---- losing

    def check_scheduler(self) -> None:
        """Raises `RunError` if the scheduler is lost. Call it before the load only."""
        if self.scheduler_lost is not None:
            raise RunError(
                f"lost the scheduler ({self.scheduler_lost}) before the load began; repeat the run"
            )

    def lose(self, member: Member, reason: str) -> None:
        """Records that a member is lost, unless it has ended. If its process may still run, it is told to end."""
        if self._mark_lost(member, reason):
            self._say_loss(member)
            if not member.gone:
                self.say_bye(member, lambda _: None)
            self.lost(member)

    def _mark_lost(self, member: Member, reason: str) -> bool:
        if not member.is_alive or member.state == "ended" or member.leaving:
            return False
        member.state, member.reason, member.lost_at = "lost", reason, self.second()
        return True

    def _say_loss(self, member: Member) -> None:
        if member.lost_at is None:
            self.log(f"host {member.name} lost ({member.reason})")
            return
        until = member.part.counted_until if member.part is not None else 0.0
        self.caution(
            f"host {member.name} lost at {three(member.lost_at)} s ({member.reason}); counted until {three(until)} s"
        )

    def say_bye(self, member: Member, then: Callable[[Answered], None]) -> None:
        """Tells a host to end its process and to forget the run."""
        self.ask(member.address, Bye(self.run), BYE_SECONDS, then)

    def _leave(self, left: Left) -> None:
        member = self.members.get(left.address)
        if member is not None:
            member.gone = True
            self.lose(member, left.reason)

    def _join(self, joined: Joined) -> None:
        for member in self.members.values():
            if member.gone and member.name not in self._came_back and self._is_again(member, joined):
                self._came_back.add(member.name)
                self.caution(f"host {member.name} came back; it takes part in the next run")

    def _is_again(self, member: Member, joined: Joined) -> bool:
        """Returns whether this worker is that of a member, started again."""
        if joined.address == member.address or joined.name == member.worker:
            return True
        alone = sum(each.machine == member.machine for each in self.members.values()) == 1
        return alone and host_of(joined.address) == member.machine

    def _lose_scheduler(self, reason: str) -> None:
        if self.scheduler_lost is not None:
            return
        self.scheduler_lost = reason
        self.caution(f"lost the scheduler ({reason})")
        for member in list(self.members.values()):
            member.gone = True
            if self._mark_lost(member, "the scheduler is gone"):
                self.lost(member)

    # ---- leases

    def _having_process(self) -> Sequence[Member]:
        return [
            member
            for member in self.members.values()
            if member.asked and member.is_alive and not member.leaving
        ]

    def lease(self) -> None:
        """Sends every host a lease now: it acknowledges its messages, and says how many stops were asked for."""
        self._leased = self.now()
        self._leases += 1
        for member in self._having_process():
            self.order(member, Pass(run=self.run, order=Lease(member.acked, self.stops)))
            if member.is_loading and self._leases % _LEASES_PER_PROBE == 0:
                self.ask(member.address, ReadClock(), ANSWER_SECONDS, self._compare(member))

    def stop(self, count: int) -> None:
        """Tells all hosts to stop, as after so many signals."""
        if count > self.stops:
            self.stops = count
            self.lease()

    def note_answer(self, member: Member, answered: Answered) -> None:
        """Takes an answer as a sign of life, or as one that the process of the host is dead."""
        if isinstance(answered.answer, Failed) and answered.answer.ended:
            if member.incarnation is None:
                return  # it has not begun yet
            # its last messages may still be on their way
            self._dead.setdefault(member.address, (self.now() + _ON_THEIR_WAY, answered.answer.reason))
        elif answered.answer is not None:
            member.answered = max(member.answered, answered.received)

    def _watch(self, member: Member, now: float) -> None:
        """Finds out whether a member is silent, back, or lost."""
        quiet = now - max(member.answered, member.heard)
        # a process that has nothing to count or to say shows within two beats that it lives
        if now - member.heard >= LOST_AFTER + 2 * self.beat:
            self.lose(member, f"its process has said nothing for {now - member.heard:.0f} s")
        elif quiet >= LOST_AFTER:
            self.lose(member, f"silent for {LOST_AFTER:.0f} s")
        elif quiet >= SILENT_AFTER and not member.silent:
            member.silent = True
            self.caution(f"host {member.name} has been silent for {SILENT_AFTER:.0f} s")
        elif quiet < SILENT_AFTER and member.silent:
            member.silent = False
            self.caution(f"host {member.name} is back")

    def _compare(self, member: Member) -> Callable[[Answered], None]:
        def note(answered: Answered) -> None:
            if not isinstance(answered.answer, ClockRead) or member.name in self._drifted:
                return
            now = ClockReading()
            now.take(answered.sent, answered.received, answered.answer.monotonic)
            moved = member.clock.moved(now)
            if moved > _DRIFT:
                self._drifted.add(member.name)
                self.caution(
                    f"the clock of host {member.name} has moved by {three(1000 * moved)} ms or more during the load, "
                    "so its intervals may be off by as much"
                )

        return note
