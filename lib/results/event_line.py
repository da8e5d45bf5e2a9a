"""A line of the events file. The driver writes one for each pull and prune; `report` and `compare` read them."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..clock import Clock
from ..load.event import PRUNE, PULL, Event
from ..outcomes import FAILED, INTERRUPTED, OK, ErrorClass
from ..units import Bytes, Count, Seconds, about

_Value = TypeVar("_Value")
_CLASSES: Final = [each.value for each in ErrorClass]

# Only runs with `--batch` write these fields.
BATCH_FIELDS: Final = ("launch", "timed", "repulled")
# Only runs with `--herd` write these fields. A prune has no `started`.
HERD_FIELDS: Final = ("herd", "started")
# Only successful pulls of images whose size is known have this field.
SIZE_FIELDS: Final = ("bytes",)
# Only loads on several hosts have this field.
HOST_FIELDS: Final = ("host",)


# A reader accepts lines without the fields that have a default, and uses `known` for those that it needs. The time is
# text, so that a line has the same zone as all other files.
class EventLine(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One pull or prune of one image, written when it ends."""

    time: Annotated[
        str,
        Meta(description="When it ended: ISO 8601 with a zone.", extra_json_schema={"format": "date-time"}),
    ]
    op: Annotated[
        str, Meta(description="What was done to the image.", extra_json_schema={"enum": [PULL, PRUNE]})
    ]
    worker: Annotated[Count | UnsetType, about("Number of the worker, from 0.")] = UNSET
    pass_number: Annotated[
        Count | UnsetType,
        about("Number of the pass over the image set, from 1; 0 for `--prune-first`."),
    ] = msgspec.field(default=UNSET, name="pass")
    image: Annotated[str | UnsetType, about("`repository:tag` or `repository@digest`.")] = UNSET
    outcome: Annotated[
        str,
        Meta(
            description="`interrupted` if the driver ended it because the run was stopped.",
            extra_json_schema={"enum": [OK, FAILED, INTERRUPTED]},
        ),
    ]
    error_class: Annotated[
        str | UnsetType | None,
        Meta(
            description="Class of the failure; null without one.",
            extra_json_schema={"enum": [*_CLASSES, None]},
        ),
    ] = msgspec.field(default=UNSET, name="class")
    seconds: Annotated[
        Seconds | UnsetType,
        about(
            "Time from the client's launch to its exit, in seconds. With a schedule, from when the pull was due."
        ),
    ] = UNSET
    first: Annotated[
        bool | UnsetType,
        about("Whether this is the image's first pull of the run, or its first pull after a prune."),
    ] = UNSET
    retries: Annotated[
        Count | UnsetType | None,
        about("Retries that the client made by itself; null if the client does not report them."),
    ] = UNSET
    message: Annotated[
        str | UnsetType | None,
        about("The client's last message on a failure, on one line and without secrets; null without one."),
    ] = UNSET
    launch: Annotated[Count | UnsetType | None, about("Number of the launch that the images shared.")] = UNSET
    timed: Annotated[
        bool | UnsetType,
        about("Whether the latencies count this image's `seconds`. They count one image of each launch."),
    ] = UNSET
    repulled: Annotated[
        bool | UnsetType, about("Whether the image was pulled again alone after its batch had failed.")
    ] = UNSET
    herd: Annotated[
        Count | UnsetType,
        about(
            "Number of the herd, from 1; a prune has the number of the herd after it; 0 for `--prune-first`."
        ),
    ] = UNSET
    started: Annotated[
        str | UnsetType,
        Meta(
            description="When the client was started: ISO 8601 with a zone.",
            extra_json_schema={"format": "date-time"},
        ),
    ] = UNSET

    bytes: Annotated[
        Bytes | UnsetType,
        about(
            "What a successful pull fetched, in bytes: config and layers for the platform. Absent if that is unknown."
        ),
    ] = UNSET
    host: Annotated[str | UnsetType, about("Name of the host that did it.")] = UNSET

    @property
    def moment(self) -> datetime:
        """The time as a datetime. Raises `ValueError` if it is not ISO 8601."""
        return datetime.fromisoformat(self.time)


_encode = msgspec.json.Encoder().encode


@cache
def _decoder() -> msgspec.json.Decoder[EventLine]:
    # made on first use, as the driver itself does not need it
    return msgspec.json.Decoder(EventLine)


def event_line(event: Event, clock: Clock, *, batched: bool = False, herded: bool = False) -> str:
    """Returns the line of an event. `batched` adds the `BATCH_FIELDS` to a pull, `herded` adds the `HERD_FIELDS`."""
    failure, herd = event.failure, event.herd
    shared = batched and event.op == PULL
    started = herd.started if herded and herd is not None else None
    line = EventLine(
        time=_wall(clock, event.ended),
        op=event.op,
        worker=event.worker,
        pass_number=event.pass_number,
        image=event.image.name,
        outcome=event.outcome,
        error_class=failure.error_class if failure else None,
        seconds=round(event.seconds, 6),
        first=event.first,
        retries=event.retries,
        message=failure.message if failure else None,
        launch=event.launch if shared else UNSET,
        timed=event.timed if shared else UNSET,
        repulled=event.repulled if shared else UNSET,
        herd=UNSET if not herded else herd.number if herd is not None else 0,
        started=UNSET if started is None else _wall(clock, started),
        bytes=UNSET if event.size is None else event.size,
    )
    return write_event(line)


def _wall(clock: Clock, at: float) -> str:
    return clock.wall(at).isoformat(timespec="microseconds")


def write_event(line: EventLine) -> str:
    """Returns the line in ASCII, for readers of any locale. Other characters, also lone surrogates, are escaped."""
    try:
        text = _encode(line)
        if text.isascii():
            return msgspec.json.format(text, indent=0).decode("ascii")
    except UnicodeEncodeError:
        pass
    return json.dumps(msgspec.to_builtins(line))


def read_event(line: str | bytes) -> EventLine:
    """Parses a line. Raises `ValueError` if it is not an event."""
    try:
        return _decoder().decode(line)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def known(value: _Value | UnsetType) -> _Value:
    """Returns a field's value. Raises `ValueError` if the line does not have the field."""
    if isinstance(value, UnsetType):
        raise ValueError("a field is missing")
    return value
