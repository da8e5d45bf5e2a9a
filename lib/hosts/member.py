"""One host of a run, as the controller knows it: what it is, how far it has come, and when it was last heard."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Literal

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


@dataclass(slots=True)
class Member:
    """One host. `name` is for people; `address` is that of its worker. Times are monotonic, by the controller's clock.

    `acked` is the number of its last message that has been taken; all before it have been taken, too. Messages that
    came too early wait in `early`. `answered` is when it last answered, and `heard` when its process last said anything.
    `answers_missing` is the number of leases without an answer since then.
    """

    address: str
    name: str
    facts: HostFacts
    state: State = "joined"
    share: Share = field(default_factory=Share)
    incarnation: str | None = None
    acked: int = -1
    early: dict[int, Body] = field(default_factory=dict)
    unclaimed: list[tuple[str, str]] = field(default_factory=list)
    ready: Ready | None = None
    armed_at: float | None = None
    unarmed: str | None = None
    part: Part | None = None
    end: End | None = None
    clock: ClockReading = field(default_factory=ClockReading)
    start_error: float | None = None
    answered: float = 0.0
    heard: float = 0.0
    silent: bool = False
    lost_at: float | None = None
    reason: str | None = None
    usage: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether the host is neither lost nor refused."""
        return self.state not in ("lost", "refused")

    @property
    def is_loading(self) -> bool:
        """Whether the load of this host goes on."""
        return self.state == "running"
