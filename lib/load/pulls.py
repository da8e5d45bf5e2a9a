"""The pulls of a trial, one by one: what a capacity search judges. A host packs those of a piece as columns.

A column holds one value of each pull. The columns are compressed with zlib, in base64; numbers are little-endian.
"""

from __future__ import annotations

import base64
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from ..outcomes import ErrorClass
from ..units import LONGEST_SECONDS
from .event import Event

# More pulls than a host can make while a piece lasts.
_MOST: Final = 1 << 22
# Outcomes, error classes and the like make fewer kinds than this, so the kind of a pull is one byte.
_MOST_KINDS: Final = 256
_MOST_RETRIES: Final = (1 << 31) - 1
_UNKNOWN: Final = -1


class Pull(NamedTuple):
    """One pull. `due` counts from the beginning of the trial. Times are in seconds.

    `latency` counts from when the pull was due, `own` from the start of its launch. An image that was pulled again
    alone, after its batch had failed, was not due then: it is not `timed`, and only its outcome counts.
    """

    due: float
    latency: float
    own: float
    outcome: str
    error_class: str | None = None
    first: bool = False
    retries: int | None = 0
    timed: bool = True


class _Kind(NamedTuple):
    """What many pulls have in common."""

    outcome: Literal["ok", "failed", "interrupted"]
    error_class: ErrorClass | None
    first: bool
    timed: bool


class PackedPulls(msgspec.Struct, frozen=True, kw_only=True):
    """So many pulls. `columns` has `due`, `latency` and `own` (float64), `retries` (int32; -1: unknown), and the kind.

    The kind (uint8) is a place in `kinds`.
    """

    count: Annotated[int, msgspec.Meta(ge=0, le=_MOST)]
    kinds: Annotated[list[_Kind], msgspec.Meta(max_length=_MOST_KINDS)]
    columns: str


def pull_of(event: Event, began: float) -> Pull:
    """Returns the pull of an Event in a trial that began at `began` (monotonic)."""
    launched = event.ended if event.began is None else event.began
    failure = event.failure
    return Pull(
        due=event.ended - event.seconds - began,
        latency=event.seconds,
        own=event.ended - launched,
        outcome=event.outcome,
        error_class=failure.error_class if failure else None,
        first=event.first,
        retries=event.retries,
        timed=not event.repulled,
    )


def pack(pulls: Sequence[Pull]) -> PackedPulls:
    """Returns the pulls as columns."""
    places: dict[tuple[object, ...], int] = {}
    kinds = [
        places.setdefault((each.outcome, each.error_class, each.first, each.timed), len(places))
        for each in pulls
    ]
    retries = [_UNKNOWN if each.retries is None else min(each.retries, _MOST_RETRIES) for each in pulls]
    columns = b"".join(
        (
            _packed("d", [each.due for each in pulls]),
            _packed("d", [each.latency for each in pulls]),
            _packed("d", [each.own for each in pulls]),
            _packed("i", retries),
            _packed("B", kinds),
        )
    )
    return PackedPulls(
        count=len(pulls),
        kinds=[msgspec.convert(kind, _Kind) for kind in places],
        columns=base64.b64encode(zlib.compress(columns)).decode(),
    )


def unpack(packed: PackedPulls) -> list[Pull]:
    """Returns the pulls, in their order. Raises `ValueError` if they are not valid."""
    count, sizes = packed.count, (8, 8, 8, 4, 1)
    data = _inflated(packed.columns, count * sum(sizes))
    parts, start = [], 0
    for size in sizes:
        parts.append(data[start : start + count * size])
        start += count * size
    due, latency, own = (_floats(part) for part in parts[:3])
    retries, kinds = _integers(parts[3]), parts[4]
    if not all(abs(seconds) <= LONGEST_SECONDS for seconds in (*due, *latency, *own)):
        raise ValueError("the time of a pull is too long")
    if min(retries, default=0) < _UNKNOWN:
        raise ValueError("a pull has a negative number of retries")
    if max(kinds, default=-1) >= len(packed.kinds):
        raise ValueError("a pull is of a kind that is not there")
    return [
        Pull(
            due=due[number],
            latency=latency[number],
            own=own[number],
            outcome=kind.outcome,
            error_class=None if kind.error_class is None else kind.error_class.value,
            first=kind.first,
            retries=None if retries[number] == _UNKNOWN else retries[number],
            timed=kind.timed,
        )
        for number, kind in enumerate(packed.kinds[place] for place in kinds)
    ]


def _inflated(text: str, size: int) -> bytes:
    """Returns the data of a text, which must be of this size."""
    unzip = zlib.decompressobj()
    try:
        data = unzip.decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError(f"the pulls are not valid: {error}") from None
    if len(data) != size or not unzip.eof:
        raise ValueError("the pulls are not as many as they should be")
    return data


def _packed(code: str, values: Iterable[float]) -> bytes:
    return _little(array(code, values)).tobytes()


def _floats(data: bytes) -> array[float]:
    return _little(array("d", data))


def _integers(data: bytes) -> array[int]:
    return _little(array("i", data))


def _little(column: array[Any]) -> array[Any]:
    """Swaps the bytes of a column between the order of this machine and little-endian."""
    if sys.byteorder == "big":
        column.byteswap()
    return column
