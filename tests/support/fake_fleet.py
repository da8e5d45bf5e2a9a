"""Hosts that a test plays, in simulated time: they answer requests, carry out a load, and have faults.

All that they say goes through the real lines of JSON, and their pieces come from the real tally. No outcome depends on
the machine's speed.
"""

from __future__ import annotations

import base64
import itertools
import time as real_time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import Final

import msgspec

from lib import __version__
from lib.hosts.fleet import Answered, Heard, Input, Joined, Left, SchedulerLost, StopAsked
from lib.hosts.protocol import (
    LEASE_SECONDS,
    PROTOCOL,
    Answer,
    Arm,
    Armed,
    Begin,
    Begun,
    Body,
    Bye,
    Chunk,
    ClockRead,
    Disarm,
    Done,
    Driving,
    EndTrial,
    Examined,
    Failed,
    Fetch,
    Finding,
    FirstOrder,
    Hello,
    HostFacts,
    Keep,
    Kept,
    LaterOrder,
    Lease,
    Leave,
    Message,
    Note,
    Pass,
    ReadClock,
    Ready,
    Refused,
    Request,
    Started,
    Trial,
    Unarmed,
    decode_answer,
    decode_request,
    encode,
)
from lib.images import Image
from lib.load.counts import Counts
from lib.load.event import PULL, Event
from lib.load.piece import IntervalEnd, Piece, Place
from lib.load.plan import HOLD, Step
from lib.load.pulls import Pull, pack, pull_of
from lib.load.share import WHOLE, Share, parse_share
from lib.load.tally import Tally
from lib.outcomes import FAILED, OK, ErrorClass, Failure
from lib.pieces.wire import End, Header, StepLine, counts_line, piece_line, set_lines
from lib.results.summary import ClientInfo
from tests.support.simulated import Time

# The version of distributed everywhere.
DISTRIBUTED: Final = "2026.8.0"
IMAGE: Final = Image("app", "v1")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The load of all hosts together: so many workers pull once per second for so many seconds, in one step.

    `succeeds(worker, second)` says whether a pull does. In a trial at a rate that does not hold, none does.
    """

    workers: int = 6
    seconds: int = 10
    tally_seconds: int = 2
    succeeds: Callable[[int, int], bool] = lambda *_: True
    holds: Callable[[float], bool] = lambda _: True

    @property
    def step(self) -> Step:
        return Step(self.workers, HOLD, 0.0, float(self.seconds))

    def header(self, share: Share) -> Header:
        """As a host with this share has it before the load."""
        return Header(
            version=__version__,
            host="as it calls itself",
            share=str(share),
            cores=2.0,
            started=datetime(2026, 1, 31, tzinfo=timezone.utc),
            clock_offset=0.0,
            began=0.0,
            command=("ocidriver",),
            settings={"tally_seconds": float(self.tally_seconds), "threshold": []},
            client=ClientInfo(name="crane", version="0.20"),
            listed=self.workers,
            foreign=0,
            images=self.workers,
            image_sets=[(f"{number}/{self.workers}", 1) for number in share.pick(range(self.workers))],
            workers=self.workers,
            load="a load",
            steps=[StepLine(self.workers, HOLD, 0.0, float(self.seconds))],
            rates=None,
            retries_known=True,
            sized=False,
            sized_images=None,
            warm_up=None,
            machine=None,
            before=counts_line(Counts()),
        )

    def at(self, rate: float) -> Scene:
        """This load in a trial at this rate."""
        return self if self.holds(rate) else replace(self, succeeds=lambda *_: False)

    def tally(self, share: Share) -> Tally:
        return Tally(share.count(self.workers), retries_known=True, on_sample=lambda _: None, cores=2.0)

    def pull(
        self, tally: Tally, share: Share, second: int, note: Callable[[Event], None] = lambda _: None
    ) -> None:
        """Adds the pulls of the workers of this share that end half a second before this second. `note` gets each."""
        for own in range(share.count(self.workers)):
            worker = share.number_in_whole(own)
            good = self.succeeds(worker, second)
            event = Event(
                op=PULL,
                worker=own,
                pass_number=1,
                image=IMAGE,
                outcome=OK if good else FAILED,
                ended=second - 0.5,
                seconds=0.05 + (7 * worker + 3 * second) % 100 / 100,
                first=second == 1,
                retries=0,
                failure=None if good else Failure(ErrorClass.DNS.value, "no such host"),
            )
            tally.add(event)
            note(event)

    def close(self, tally: Tally, second: int) -> None:
        """Closes what ends at this second."""
        if second % self.tally_seconds == 0 or second == self.seconds:
            tally.close_sample(float(second), self.workers)

    def whole(self) -> Tally:
        """What one host would count that carried out the whole load."""
        tally = self.tally(WHOLE)
        for second in range(1, self.seconds + 1):
            self.pull(tally, WHOLE, second)
            self.close(tally, second)
        tally.close_step(float(self.seconds), self.step)
        tally.end(float(self.seconds), 0)
        return tally


class Inbox(SimpleQueue[Input]):
    """The controller's queue: time passes while it waits. `used` is the CPU time that it needs between two waits."""

    time: Time
    used = 0.0
    _since: float | None = None

    def get(self, block: bool = True, timeout: float | None = None) -> Input:
        assert timeout is not None, "the controller would wait for ever"
        self._pause()
        if self.empty():
            self.time.advance(timeout, lambda: not self.empty())
        self._since = real_time.thread_time()
        if self.empty():
            raise Empty
        return super().get_nowait()

    def _pause(self) -> None:
        if self._since is not None:
            self.used += real_time.thread_time() - self._since
        self._since = None


@dataclass(kw_only=True)
class Host:
    """One host and its faults.

    Messages take `there` and `back` seconds. Its monotonic clock is `ahead`. `mangle(number, attempt)` returns the
    extra delays of a message: none if it is dropped, two if it comes twice. `arms` has what it does with each `Arm`:
    "late" (no answer), a reason why not, or nothing special. `refusal`: why it does not get ready. `find` returns what
    it finds in an examination.
    """

    address: str
    worker: str
    facts: HostFacts
    there: float = 0.001
    back: float = 0.001
    ahead: float = 0.0
    prepare_seconds: float = 0.5
    start_error: float = 0.0001
    mangle: Callable[[int, int], Sequence[float]] = lambda *_: (0.0,)
    arms: list[str] = field(default_factory=list)
    refusal: str | None = None
    usage: bool = False
    find: Callable[[FirstOrder], Body] = lambda _: nothing_found()
    locked_by: Driving | None = None
    begin_seconds: float = 0.0
    has_agent: bool = True
    change: Callable[[Header], Header] = lambda header: header
    events: bytes = b""
    chunk: Callable[[bytes, int], Chunk | None] | None = None
    fetch_seconds: float = 0.0
    keep_seconds: float = 0.0
    drain_seconds: float = 0.0
    frozen_until: float = 0.0
    gone: bool = False
    process: Process | None = None


class FakeFleet:
    """The hosts. `asked` has every request with the moment when it was sent."""

    def __init__(self, time: Time, scene: Scene, hosts: int) -> None:
        self.time = time
        self.scene = scene
        self.inbox: SimpleQueue[Input] = Inbox()
        assert isinstance(self.inbox, Inbox)
        self.inbox.time = time
        self.hosts = {each.address: each for each in map(_host, range(1, hosts + 1))}
        self.asked: list[tuple[float, Host, Request]] = []
        self.held: list[str] = []
        self.closed = False
        self.lost = False
        self.record = True
        self._tokens = itertools.count(1)

    def __getitem__(self, number: int) -> Host:
        """Host number 1, 2, …"""
        return list(self.hosts.values())[number - 1]

    @property
    def used(self) -> float:
        """The CPU seconds of the controller."""
        assert isinstance(self.inbox, Inbox)
        return self.inbox.used

    def asked_of(self, kind: type[Request], host: Host | None = None) -> list[tuple[float, Request]]:
        """The requests of a kind, to one host or to all."""
        return [
            (at, request)
            for at, to, request in self.asked
            if isinstance(request, kind) and (host is None or to is host)
        ]

    def orders(self, kind: type[Arm | Disarm | Lease | Leave], host: Host) -> list[tuple[float, object]]:
        """The orders of a kind that were passed on to a host, with their moments."""
        passed = [(at, each.order) for at, each in self.asked_of(Pass, host) if isinstance(each, Pass)]
        return [(at, order) for at, order in passed if isinstance(order, kind)]

    # ---- as the controller sees it

    def workers(self) -> Sequence[Joined]:
        return [Joined(each.address, each.worker) for each in self.hosts.values() if not each.gone]

    def hold(self, addresses: Sequence[str]) -> None:
        self.held = list(addresses)

    def close(self) -> None:
        self.closed = True

    def ask(self, address: str, request: Request, seconds: float) -> int:
        token, sent, host = next(self._tokens), self.time.now, self.hosts[address]
        if self.record:
            self.asked.append((sent, host, request))
        done = False

        def put(answer: Answer | None, error: str = "") -> None:
            nonlocal done
            if not done:
                done = True
                self.inbox.put(Answered(token, answer, error, sent, self.time.now))

        if host.gone or self.lost:
            put(None, "its Dask worker is gone")
            return token
        wire = encode(request)

        def answer() -> None:
            if host.gone or self.lost:
                put(None, "its Dask worker is gone")
                return
            found, takes = self._answer(host, decode_request(wire))
            self.time.after(
                host.back + takes, lambda: _awake(self.time, host, lambda: put(through_wire(found)))
            )

        self.time.after(host.there, lambda: _awake(self.time, host, answer))
        self.time.after(seconds, lambda: put(None, f"no answer within {seconds:g}s"))
        return token

    def _answer(self, host: Host, request: Request) -> tuple[Answer, float]:
        match request:
            case Hello():
                return host.facts, 0.0
            case ReadClock():
                return ClockRead(self.time.now + host.ahead), 0.0
            case Begin():
                return self._begin(host, request), host.begin_seconds
            case Fetch():
                return self._chunk(host, request.offset), host.fetch_seconds
            case Keep():
                return Kept(f"/work/{host.worker}.jsonl"), host.keep_seconds
            case Bye():
                if host.process is not None:
                    host.process.leave()
                return Done(), 0.0
            case Pass():
                process = host.process
                if process is None or process.dead is not None:
                    return Failed(process.dead or "" if process else "no such run", ended=True), 0.0
                process.heed(request.order)
                return Done(), 0.0

    def _begin(self, host: Host, request: Begin) -> Answer:
        if host.locked_by is not None:
            return Failed("the machine is locked", driving=host.locked_by)
        host.process = Process(self, host, request.order)
        return Begun(host.process.incarnation)

    @staticmethod
    def _chunk(host: Host, offset: int) -> Answer:
        if host.chunk is not None:
            return host.chunk(host.events, offset) or Failed("cannot read the file")
        part = host.events[offset : offset + 1000]
        return Chunk(data=packed(part), next=offset + len(part), size=len(host.events))

    # ---- what happens to the hosts

    def freeze(self, host: Host, seconds: float) -> None:
        """Its worker is stopped, or the link is cut: all that goes there and comes from there waits."""
        host.frozen_until = self.time.now + seconds

    def lose(self, host: Host, reason: str = "its Dask worker is gone") -> None:
        """Its worker ends, and its process with it."""
        host.gone = True
        if host.process is not None:
            host.process.dead = reason
        self.inbox.put(Left(host.address, reason))

    def join(self, address: str, worker: str) -> None:
        self.inbox.put(Joined(address, worker))

    def lose_scheduler(self, reason: str = "connection refused") -> None:
        self.lost = True
        self.inbox.put(SchedulerLost(reason))

    def signal(self, count: int) -> None:
        self.inbox.put(StopAsked(count))


class Process:
    """The host process of a host. `dead` is how it ended, if it has. `trials` are those that it has prepared.

    Without `tells_pulls`, the pieces of a trial lack their pulls.
    """

    def __init__(self, fleet: FakeFleet, host: Host, order: FirstOrder) -> None:
        self.host = host
        self.order = order
        self.incarnation = f"{host.worker}-incarnation"
        self.dead: str | None = None
        self.left = False
        self.began: float | None = None
        self.over = False
        self.stop = 0
        self.share = parse_share("share", order.share)
        self._fleet, self._time, self._scene = fleet, fleet.time, fleet.scene
        self._armed: Arm | None = None
        self._arms = list(host.arms)
        self._second = 0
        self._leased = self._said = self._time.now
        self._numbers = itertools.count()
        self._written: dict[int, tuple[str, float]] = {}
        self._attempts: dict[int, int] = {}
        self.tally = self._scene.tally(self.share)
        self.tally.on_piece = self._post_piece
        self.trials: list[Trial] = []
        self.tells_pulls = True
        self._pulls: list[Pull] = []
        self._time.after(host.prepare_seconds, self._get_ready)
        self._time.after(1.0, self._keep_lease)

    # ---- messages

    def post(self, body: Body) -> None:
        number, self._said = next(self._numbers), self._time.now
        self.write(number, encode(Message(number, body)).decode())

    def write(self, number: int, line: str, incarnation: str | None = None) -> None:
        self._written[number] = (line, self._time.now)
        attempt = self._attempts[number] = self._attempts.get(number, 0) + 1
        heard = Heard(self.host.address, incarnation or self.incarnation, line)
        for delay in self.host.mangle(number, attempt):
            self._time.after(self.host.back + delay, lambda: self._deliver(heard))

    def _deliver(self, heard: Heard) -> None:
        def put() -> None:
            if not self._fleet.lost and not self.host.gone:
                self._fleet.inbox.put(heard)

        _awake(self._time, self.host, put)

    # ---- orders

    def heed(self, order: LaterOrder) -> None:
        match order:
            case Trial():
                self._prepare(order)
            case EndTrial():
                if self.trials and self.trials[-1].number == order.number:
                    self._end_trial()
            case Arm():
                self._arm(order)
            case Disarm():
                if self.began is None:
                    self._armed = None
                    self.post(Unarmed(""))
            case Lease():
                self._renew(order)
            case Leave():
                self.leave()

    def _renew(self, lease: Lease) -> None:
        self._leased = self._time.now
        self._written = {number: each for number, each in self._written.items() if number > lease.acked}
        for number, (line, at) in list(self._written.items()):
            if at < self._time.now - 3.0:
                self.write(number, line)
        if self._time.now - self._said > 10.0 and not self.over:
            self.post(Note(""))
        if lease.stop > self.stop:
            self.stop = lease.stop
            self._stop("interrupted by SIGTERM")

    def _arm(self, order: Arm) -> None:
        fault = self._arms.pop(0) if self._arms else ""
        if fault == "late":
            return
        if fault:
            self.post(Unarmed(fault))
            return
        self._armed = order
        self.post(Armed(order.at))
        own_now = self._time.now + self.host.ahead
        self._time.after(max(0.0, order.at - own_now), lambda: self._begin(order))

    def leave(self) -> None:
        self.left = True
        self.dead = self.dead or "it left"

    def _keep_lease(self) -> None:
        if self.dead is not None or (self.over and not self.order.trials):
            return
        if self._time.now - self._leased > LEASE_SECONDS:
            self._stop("the controller is gone: it has had no lease for 20 s")
        self._time.after(1.0, self._keep_lease)

    # ---- trials

    def _prepare(self, order: Trial) -> None:
        if self.trials and order.number <= self.trials[-1].number:
            return
        self.trials.append(order)
        self._scene = self._fleet.scene.at(order.rate)
        self.tally = self._scene.tally(self.share)
        self.tally.on_piece = self._post_piece
        self._second, self.began, self.over, self._armed = 0, None, False, None
        self._time.after(self.host.prepare_seconds, self._get_ready)

    def _note_pull(self, event: Event) -> None:
        if self.order.trials:
            self._pulls.append(pull_of(event, 0.0))

    def _end_trial(self) -> None:
        if self.began is not None:
            self.end(None, at=self._time.now - self.began)

    # ---- the load

    def _get_ready(self) -> None:
        if self.dead is not None:
            return
        if self.stop or self.host.refusal is not None:
            self.post(Refused(self.host.refusal or "interrupted by SIGTERM", self.host.usage))
            return
        if self.order.examine:
            self.over = True
            self.post(self.host.find(self.order))
            return
        self.post(Ready(header=self.host.change(self._scene.header(self.share)), folder="/tmp/folder"))

    def _begin(self, order: Arm) -> None:
        if self.dead is not None or order is not self._armed or self.over or self.began is not None:
            return
        self.began = self._time.now
        header = replace_header(self._scene.header(self.share), order, self._time.now + self.host.ahead)
        self.post(Started(header=header, error_seconds=self.host.start_error))
        tally = self.tally
        self._time.after(1.0, lambda: self._tick(tally))

    def _tick(self, tally: Tally) -> None:
        if self.dead is not None or self.over or tally is not self.tally:
            return
        self._second += 1
        self._scene.pull(self.tally, self.share, self._second, self._note_pull)
        self._scene.close(self.tally, self._second)
        if self._second == self._scene.seconds:
            self.end(None)
        else:
            self._time.after(1.0, lambda: self._tick(tally))

    def _stop(self, reason: str) -> None:
        if self.began is None:
            self.over = True
            self.post(Refused(reason))
        elif not self.over:
            self._time.after(self.host.drain_seconds, lambda: self.end(reason))

    def end(self, reason: str | None, at: float | None = None) -> None:
        """Ends the load now, or at this second."""
        if self.over or self.dead is not None:
            return
        self.over, tally = True, self.tally
        early = at is not None or reason is not None
        if at is None:
            at = float(self._scene.seconds) if reason is None else self._time.now - (self.began or 0.0)
        if early:
            tally.close_sample(at, 0)
        tally.close_step(at, self._scene.step)
        tally.end(at, 0)
        self.post(
            End(
                pieces=tally.pieces,
                totals=counts_line(tally.totals),
                elapsed=at,
                interrupted=reason is not None,
                reason=reason,
                unstarted=0,
                first_pulls="unknown",
                passes=[1] * self.share.count(self._scene.workers),
                image_sets=set_lines(tally.image_sets),
                working=None,
                herds=None,
                driver_cpu_seconds=0.1,
            )
        )

    def _post_piece(self, piece: Piece, place: Place, interval: IntervalEnd | None) -> None:
        line = piece_line(piece, place, interval)
        if self.order.trials and self.tells_pulls:
            line = msgspec.structs.replace(line, pulls=pack(self._pulls))
            self._pulls.clear()
        self.post(line)

    def note(self, text: str, *, caution: bool = False) -> None:
        self.post(Note(text, caution))

    def die(self, how: str = "the host process was killed by SIGKILL") -> None:
        """Its worker goes on."""
        self.dead = how


def replace_header(header: Header, arm: Arm, began: float) -> Header:
    return msgspec.structs.replace(header, began=began, clock_offset=arm.clock_offset)


def through_wire(answer: Answer) -> Answer:
    """The answer as it arrives. What is not valid fails here, as it does in the fleet."""
    found: Answer = decode_answer(encode(answer))
    return found


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def _awake(time: Time, host: Host, action: Callable[[], object]) -> None:
    """Does it as soon as the host is not frozen."""
    left = host.frozen_until - time.now
    if left > 0:
        time.after(left, lambda: _awake(time, host, action))
    else:
        action()


def _host(number: int) -> Host:
    facts = HostFacts(
        version=__version__,
        protocol=PROTOCOL,
        python="3.11.2",
        distributed=DISTRIBUTED,
        node=f"load-{number}",
        machine=f"machine {number}",
        cores=2.0,
        memory_bytes=8 << 30,
        free_bytes=8 << 30,
        descriptors=16384,
    )
    return Host(
        address=f"tcp://10.0.{number // 250}.{number % 250}:8788", worker=f"worker-{number}", facts=facts
    )


def nothing_found() -> Examined:
    """What a host finds whose only check is that of its client, and which is well."""
    client = ClientInfo(name="crane", version="0.20")
    check = Finding(name="client", status="ok", message="crane 0.20")
    return Examined(checks=[check], changes={}, undecided=False, client=client)


def facts_with(host: Host, **changes: object) -> None:
    """Changes what a host says of itself."""
    host.facts = msgspec.structs.replace(host.facts, **changes)
