"""What the controller, the agent of a host and its host process say to each other, as lines of JSON.

The controller sends requests to the agent, which answers each. The agent passes orders on to the stdin of the host
process. The host process writes numbered messages to its stdout, which the agent sends on to the controller.
All lines are decoded strictly, as they come from other machines: what is not valid raises `ValueError`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from ..pieces.wire import End, Header, PieceLine
from ..results.summary import ClientInfo

# Hosts with another version of this protocol are refused.
PROTOCOL: Final = 1
# One topic for all runs: the scheduler keeps each topic for its whole life.
TOPIC: Final = "ocidriver"
# A host process that has had no lease for so many seconds stops its load.
LEASE_SECONDS: Final = 20.0
# A beat is at least so many seconds long. All hosts together send at most about so many beats per second.
_LEAST_BEAT: Final = 2.0
_BEATS_PER_SECOND: Final = 25.0
# A host neither begins a load this many seconds late, nor waits longer than this for its beginning.
LATEST_START: Final = 0.5

_Count = Annotated[int, msgspec.Meta(ge=0)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


def beat_of(hosts: int) -> float:
    """Returns the seconds between two beats of a host, if so many hosts send them."""
    return max(_LEAST_BEAT, hosts / _BEATS_PER_SECOND)


# ---- orders: controller -> host process


class FirstOrder(msgspec.Struct, frozen=True, kw_only=True, tag="begin", tag_field="order"):
    """What a host process prepares. It is the first line that it reads.

    `options` are those of the main command by parameter name, as click parsed them. `selection` is the text of
    `selected.pack`. `ca_pem` is the text of --ca-file. A beat lasts `beat_seconds`. `examine`: it carries out the
    checks of `doctor` in place of a load. With `trials`, it carries out no load by itself, but each `Trial` that is
    ordered, and its pieces have their pulls one by one.
    """

    run: str
    host: str
    share: str
    options: dict[str, Any]
    selection: str
    ca_pem: str | None
    beat_seconds: float
    examine: bool = False
    trials: bool = False


class Trial(msgspec.Struct, frozen=True, kw_only=True, tag="trial", tag_field="order"):
    """Prepare the trial with this number, from 1: all hosts together make `rate` pulls per second for `seconds`.

    The host answers with `Ready` and then waits for `Arm`. The same order may come twice.
    """

    number: _Count
    rate: _Positive
    seconds: _Positive


class EndTrial(msgspec.Struct, frozen=True, tag="end-trial", tag_field="order"):
    """End the trial with this number early, if it goes on: it can no longer hold."""

    number: _Count


class Arm(msgspec.Struct, frozen=True, tag="arm", tag_field="order"):
    """Begin the load at `at`, on the host's monotonic clock.

    Wall-clock time by the controller's clock is `clock_offset` plus the host's monotonic time.
    """

    at: float
    clock_offset: float


class Disarm(msgspec.Struct, frozen=True, tag="disarm", tag_field="order"):
    """Do not begin the load yet."""


class Lease(msgspec.Struct, frozen=True, tag="lease", tag_field="order"):
    """Go on. All messages up to the number `acked` have arrived; -1 if none has.

    `stop` is the number of stops that were asked for so far, as the signals of a run on one host.
    """

    acked: int
    stop: _Count = 0


class Leave(msgspec.Struct, frozen=True, tag="leave", tag_field="order"):
    """End now: nothing is needed of this host any more. A load that goes on is stopped, its clients at once."""


LaterOrder = Arm | Disarm | Lease | Leave | Trial | EndTrial
Order = FirstOrder | LaterOrder

# ---- messages: host process -> controller


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready", tag_field="line"):
    """The host is prepared. `folder` has its files: `events.jsonl` (if they are asked for) and `log`.

    With `trials`, it says so once before the first `Trial` is ordered, and again for each trial.
    The header is complete but for the time when the load begins.
    """

    header: Header
    folder: str


class Refused(msgspec.Struct, frozen=True, tag="refused", tag_field="line"):
    """The host cannot carry out its share. `usage`: the user's options are wrong."""

    reason: _Text
    usage: bool = False


class Armed(msgspec.Struct, frozen=True, tag="armed", tag_field="line"):
    """The load begins at this moment, on the host's monotonic clock."""

    at: float


class Unarmed(msgspec.Struct, frozen=True, tag="unarmed", tag_field="line"):
    """The host does not begin at the moment of the last `Arm`. `reason` is empty after a `Disarm`."""

    reason: _Text


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started", tag_field="line"):
    """The load has begun, `error_seconds` after the moment of the order. `header` is the complete one."""

    header: Header
    error_seconds: float


class Note(msgspec.Struct, frozen=True, tag="note", tag_field="line"):
    """A line for the log of the run; a `caution` is also shown to the user. Without text, it is a sign of life."""

    text: _Text
    caution: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check of `doctor` on this host."""

    name: _Text
    status: Literal["ok", "warning", "failure"]
    message: _Text
    advice: _Text = ""


class Examined(msgspec.Struct, frozen=True, kw_only=True, tag="examined", tag_field="line"):
    """The checks of `doctor` are done. `client` is the one that the host would pull with; None without one.

    `changes` are options that should have another value or, with None, be left out. `undecided`: an option has to
    change, and only the user knows how.
    """

    checks: Annotated[list[Finding], msgspec.Meta(max_length=10_000)]
    changes: dict[_Text, _Text | None]
    undecided: bool
    client: ClientInfo | None


Body = Ready | Refused | Armed | Unarmed | Started | Note | PieceLine | End | Examined


class Message(msgspec.Struct, frozen=True):
    """A message of a host process. `number` counts from 0. It is sent again until a lease acknowledges it."""

    number: _Count
    body: Body


# ---- requests: controller -> agent, and its answers


class Hello(msgspec.Struct, frozen=True, tag="hello", tag_field="ask"):
    """Who are you? Answered by `HostFacts`."""


class ReadClock(msgspec.Struct, frozen=True, tag="clock", tag_field="ask"):
    """What does your monotonic clock say? Answered by `ClockRead`."""


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin", tag_field="ask"):
    """Start a host process. Answered by `Begun` or `Failed`.

    `by` says who drives the run, for the refusal of another run. A machine starts one at a time for each `lock`.
    """

    by: _Text
    lock: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,64}$")]
    order: FirstOrder


class Pass(msgspec.Struct, frozen=True, kw_only=True, tag="pass", tag_field="ask"):
    """Pass an order on to the host process of this run. Answered by `Done` or, if it has ended, by `Failed`."""

    run: str
    order: LaterOrder


class Fetch(msgspec.Struct, frozen=True, kw_only=True, tag="fetch", tag_field="ask"):
    """Read a file of the host process of this run from the byte `offset` on. Answered by `Chunk` or `Failed`."""

    run: str
    what: Literal["events", "log"]
    offset: _Count


class Keep(msgspec.Struct, frozen=True, kw_only=True, tag="keep", tag_field="ask"):
    """Keep the events of this run on the host, in the working directory of its worker. Answered by `Kept`."""

    run: str


class Bye(msgspec.Struct, frozen=True, tag="bye", tag_field="ask"):
    """End the host process of this run, wait until nothing of it is left, and forget the run. Answered by `Done`."""

    run: str


Request = Hello | ReadClock | Begin | Pass | Fetch | Keep | Bye


class Driving(msgspec.Struct, frozen=True, kw_only=True):
    """The run that a machine drives: since when (wall-clock time there), and who drives it."""

    run: str
    since: str
    by: str


class HostFacts(msgspec.Struct, frozen=True, kw_only=True, tag="facts", tag_field="answer"):
    """What a host is. `machine` is the same for two workers of one machine: its boot id and its namespace of processes.

    `node` is the name of the machine. `driving` is None if it drives no run.
    """

    version: str
    protocol: int
    python: str
    distributed: str
    node: str
    machine: str
    cores: float
    memory_bytes: _Count
    free_bytes: _Count
    descriptors: _Count
    driving: Driving | None = None


class ClockRead(msgspec.Struct, frozen=True, tag="clock", tag_field="answer"):
    """The monotonic clock, in seconds."""

    monotonic: float


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="answer"):
    """The host process runs. Its messages carry this `incarnation`, a random text."""

    incarnation: str


class Done(msgspec.Struct, frozen=True, tag="done", tag_field="answer"):
    """It is done."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True, tag="chunk", tag_field="answer"):
    """Part of a file: at most 1 MiB of it, compressed with zlib, in base64. `next` is the offset that follows.

    `size` is that of the whole file, in bytes. The file ends when `next` is `size`.
    """

    data: str
    next: _Count
    size: _Count


class Kept(msgspec.Struct, frozen=True, tag="kept", tag_field="answer"):
    """Where the file is on the host."""

    path: str


class Failed(msgspec.Struct, frozen=True, tag="failed", tag_field="answer"):
    """The request could not be carried out. `driving` is given if another run was in the way.

    `ended`: the host process of this run is not there (any more).
    """

    reason: _Text
    driving: Driving | None = None
    ended: bool = False


Answer = HostFacts | ClockRead | Begun | Done | Chunk | Kept | Failed

encode: Final = msgspec.json.Encoder().encode
decode_order: Final = msgspec.json.Decoder(Order).decode
decode_message: Final = msgspec.json.Decoder(Message).decode
decode_request: Final = msgspec.json.Decoder(Request).decode
decode_answer: Final = msgspec.json.Decoder(Answer).decode
