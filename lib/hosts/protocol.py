"""What the controller of a load on several hosts and its hosts say to each other: lines of JSON.

A line is decoded strictly: a value of another type or an unknown field's name raises `ValueError`. No line holds a
password, a token or a private key; a host reads its own.

The lines of a host's record (its header, its pieces and its end) travel in `Recorded`, as they stand in its pieces
file. So the controller adds them up as `ocidriver merge` does.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

import msgspec

# The version of this protocol. Both sides must have the same, and the same version of ocidriver.
PROTOCOL: Final = 1
# A host stops its load if no lease has come for so many seconds. The controller sends one every `LEASE_EVERY`.
LEASE_SECONDS: Final = 20.0
LEASE_EVERY: Final = 5.0
# A host that has not answered for so many seconds is silent, and later lost.
SILENT_AFTER: Final = 10.0
LOST_AFTER: Final = 30.0
# A host refuses to begin at a moment that is further in the past.
LATEST_START: Final = 0.5

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Sender(NamedTuple):
    """Who sent a message: `incarnation` is random for each host process, so that a second one is told apart."""

    run: str
    host: str
    incarnation: str


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello", tag_field="message"):
    """What a host says of itself before it takes part.

    `machine` is the same for all processes on one machine: boot id and pid namespace. `client` (name, version) is None
    if the client was not found; `client_reason` then says why. `busy` says who drives another run here, or is None.
    """

    name: str
    version: str
    protocol: int
    python: str
    machine: str
    cores: float
    busy: str | None


class Prepare(msgspec.Struct, frozen=True, kw_only=True, tag="prepare", tag_field="order"):
    """Prepare a share of the load.

    `words` are the options of the load as typed, without those that name files, hosts or shares. `images` is the list
    of the images that the controller selected, one name on each line: zlib, then base64. `certificates` are the CA
    certificates of `--ca-file` (PEM), or None.
    """

    run: str
    host: str
    words: tuple[str, ...]
    share: str
    images: str
    certificates: str | None
    keeps_events: bool
    lease_seconds: float = LEASE_SECONDS


class Arm(msgspec.Struct, frozen=True, kw_only=True, tag="arm", tag_field="order"):
    """Begin the load at this moment of the host's monotonic clock."""

    at: float


class Disarm(msgspec.Struct, frozen=True, kw_only=True, tag="disarm", tag_field="order"):
    """Do not begin the load at the moment that was told."""


class Lease(msgspec.Struct, frozen=True, kw_only=True, tag="lease", tag_field="order"):
    """Go on for a while. The controller has all recorded lines before number `acknowledged`."""

    acknowledged: _Count


class StopLoad(msgspec.Struct, frozen=True, kw_only=True, tag="stop", tag_field="order"):
    """Stop the load: as after a first signal, or as after a second one."""

    count: Annotated[int, msgspec.Meta(ge=1, le=2)]


Order = Prepare | Arm | Disarm | Lease | StopLoad


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready", tag_field="message"):
    """The share is prepared; the load may begin. `client` is the client's name and version, or empty in a dry run."""

    client: str


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="refused", tag_field="message"):
    """The share cannot be prepared or begun."""

    reason: str


class Armed(msgspec.Struct, frozen=True, kw_only=True, tag="armed", tag_field="message"):
    """The load will begin at this moment of the host's monotonic clock."""

    at: float


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started", tag_field="message"):
    """The load has begun, so many seconds after the moment that was told."""

    late: float


class Recorded(msgspec.Struct, frozen=True, kw_only=True, tag="recorded", tag_field="message"):
    """Line `number` (from 0) of the host's record. A line may come twice."""

    number: _Count
    text: str


class Note(msgspec.Struct, frozen=True, kw_only=True, tag="note", tag_field="message"):
    """A line for the log of the whole load; a `caution` is also shown to the user."""

    text: str
    caution: bool = False


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag="alive", tag_field="message"):
    """The answer to a lease. `recorded` is the number of lines of the host's record so far."""

    recorded: _Count


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended", tag_field="message"):
    """The host process has ended its work. `recorded` is the number of lines of its whole record."""

    recorded: _Count
    reason: str | None


Message = Hello | Ready | Refused | Armed | Started | Recorded | Note | Alive | Ended
_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(Order, strict=True).decode
_message = msgspec.json.Decoder(Message, strict=True).decode


def encoded(line: Order | Message) -> str:
    """Returns the line, without a line break."""
    return _encode(line).decode()


def order_of(text: str | bytes) -> Order:
    """Returns the order of a line. Raises `ValueError` if it is not valid."""
    found: Order = _order(text)
    return found


def message_of(text: str | bytes) -> Message:
    """Returns the message of a line. Raises `ValueError` if it is not valid."""
    found: Message = _message(text)
    return found
