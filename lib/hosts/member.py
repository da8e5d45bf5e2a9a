"""One host of a run, as the controller knows it: what it is, how far it has come, and when it was last heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal
from urllib.parse import urlsplit

from ..load.share import Share
from ..pieces.part import Part
from ..pieces.wire import End
from .protocol import Body, HostFacts, Ready

State = Literal["joined", "preparing", "ready", "running", "ended", "refused", "lost"]


@dataclass(slots=True)
class ClockReading:
    """A host's monotonic clock is `offset` seconds ahead of the controller's, within plus or minus `bound` seconds."""

    offset: float = 0.0
    bound: float = inf

    def take(self, sent: float, received: float, read: float) -> None:
        """Takes one probe. The one with the shortest round trip counts (D. Mills, RFC 5905, section 10)."""
        bound = (received - sent) / 2
        if bound < self.bound:
            self.offset, self.bound = read - (sent + received) / 2, bound

    def moved(self, other: ClockReading) -> float:
        """Returns by how many seconds the clock has moved at least, if `other` is a later reading."""
        return abs(other.offset - self.offset) - self.bound - other.bound


@dataclass(slots=True)
class Member:
    """One host. `name` is for people; `address` is that of its worker, and `worker` the name that Dask has for it.

    Times are monotonic, by the controller's clock. `asked`: it was asked to begin, so it may have a host process.

    `acked` is the number of its last message that has been taken; all before it have been taken, too. Messages that
    came too early wait in `early`, and those that came before its answer to `Begin` in `unclaimed`. `answered` is when
    it last answered, and `heard` when its process last said anything. `armed_at` and `arming` are moments by its own
    clock: when its load begins, and when it is to begin. `gone`: its Dask worker is gone. `leaving`: it was told to
    end.
    """

    address: str
    name: str
    facts: HostFacts
    worker: str = ""
    state: State = "joined"
    share: Share = field(default_factory=Share)
    asked: bool = False
    incarnation: str | None = None
    acked: int = -1
    early: dict[int, Body] = field(default_factory=dict)
    unclaimed: list[tuple[str, str]] = field(default_factory=list)
    ready: Ready | None = None
    arming: float | None = None
    armed_at: float | None = None
    unarmed: str | None = None
    disarmed: bool = False
    part: Part | None = None
    end: End | None = None
    clock: ClockReading = field(default_factory=ClockReading)
    start_error: float | None = None
    answered: float = 0.0
    heard: float = 0.0
    last_piece: float | None = None
    silent: bool = False
    gone: bool = False
    leaving: bool = False
    lost_at: float | None = None
    reason: str | None = None

    def begin_again(self) -> None:
        """Forgets the load that has ended: another one is prepared. A host whose worker is gone by now is lost."""
        if self.is_alive and self.gone:
            self.state, self.reason = "lost", "its Dask worker is gone"
        elif self.is_alive:
            self.state = "preparing"
        self.ready = self.part = self.end = None
        self.arming = self.armed_at = self.unarmed = self.start_error = self.last_piece = None
        self.disarmed = False

    @property
    def is_alive(self) -> bool:
        """Whether the host is neither lost nor refused."""
        return self.state not in ("lost", "refused")

    @property
    def is_loading(self) -> bool:
        """Whether the load of this host goes on."""
        return self.state == "running"

    @property
    def is_armed(self) -> bool:
        """Whether its load begins when it is to begin."""
        return self.is_alive and self.armed_at is not None and self.armed_at == self.arming

    @property
    def machine(self) -> str:
        """The network address of its machine, without the port."""
        return host_of(self.address)


def host_of(address: str) -> str:
    """Returns the host of a worker's address, such as `10.1.2.3` of `tcp://10.1.2.3:8788`; empty without one."""
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""
