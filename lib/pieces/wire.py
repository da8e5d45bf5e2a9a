"""The lines of a pieces file, in JSON: a header, then the pieces of one host's load, then the end of the load.

A line is decoded strictly, as it may come from a file or from another machine: a value of another type, a number out of
range or a histogram that is not valid raises `ValueError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from ..load.closed import SetTally
from ..load.counts import Counts, WorkerTally
from ..load.latency import COARSE, Latencies, Packed
from ..load.piece import ENDS, IntervalEnd, Piece, Place
from ..load.pulls import PackedPulls
from ..load.shares import Shares, State
from ..results.summary import ClientInfo, Herds, KnownLimit, WarmUpCounts
from ..results.times import Moment

FORMAT: Final = 1
# The type of the number of pulls and the like. Larger ones are not exact in JSON (RFC 8259, section 6).
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Example(NamedTuple):
    """The first message of a failure."""

    op: str
    error_class: str
    message: str


class CountsLine(msgspec.Struct, frozen=True, kw_only=True):
    """Counts. `numbers` has those that are not 0, by name. `workers` are numbered within the host."""

    numbers: dict[str, _Count]
    client_cpu_seconds: float
    errors: dict[str, _Count]
    prune_errors: dict[str, _Count]
    examples: list[Example]
    workers: dict[int, list[_Count]]


class StepLine(NamedTuple):
    """A step of the whole load. `end` is None if it ends with the last worker."""

    workers: _Count
    direction: str
    start: _Seconds
    end: _Seconds | None


class RateLine(NamedTuple):
    """A rate of the whole schedule, from `first` to `last` pulls per second in `seconds`."""

    first: _Seconds
    last: _Seconds
    seconds: _Seconds


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="header", tag_field="line"):
    """What is known before the load begins.

    `share` is the host's share, such as `2/3`. `load`, `steps`, `rates` and `workers` are those of the whole load, and
    `image_sets` (pattern, number of images) those of the host's own workers. Second s of the load is `clock_offset` +
    `began` + s seconds after 1970. `before` are the counts of what was pruned before the load.
    """

    format: Literal[1] = FORMAT
    version: str
    host: str
    share: str
    cores: float
    started: Moment
    clock_offset: float
    began: float
    command: tuple[str, ...]
    settings: dict[str, Any]
    client: ClientInfo | None
    listed: _Count
    foreign: _Count
    images: _Count
    image_sets: list[tuple[str, _Count]]
    workers: _Count
    load: str
    steps: Annotated[list[StepLine], msgspec.Meta(min_length=1)]
    rates: list[RateLine] | None
    retries_known: bool
    sized: bool
    sized_images: _Count | None
    warm_up: WarmUpCounts | None
    machine: KnownLimit | None
    before: CountsLine


class PieceLine(msgspec.Struct, frozen=True, kw_only=True, tag="piece", tag_field="line"):
    """One piece. `number` counts the pieces of a host from 0; `sample` and `step` are those that the piece lies in.

    `ends` says what ends with it: a tally interval (with `interval`), a step, a beat, or the load. In a trial of a
    capacity search, `pulls` has its pulls one by one.
    """

    number: _Count
    sample: _Count
    step: _Count
    start: _Seconds
    end: _Seconds
    ends: ENDS
    counts: CountsLine
    first: Packed | None
    repeat: Packed | None
    shares: dict[int, State]
    interval: IntervalEnd | None = None
    pulls: PackedPulls | UnsetType = UNSET


class SetLine(NamedTuple):
    """The counts of one image set."""

    pulled: _Count
    failed: _Count
    latencies: Packed | None


class End(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="line"):
    """What is known when the load has ended. `pieces` is the number of pieces, and `totals` is their sum.

    `passes` and `image_sets` are those of the host's own workers. `pulling_seconds` of the `working_seconds` of its
    workers were not spent on pruning; both are None if no worker prunes.
    """

    pieces: _Count
    totals: CountsLine
    elapsed: _Seconds
    interrupted: bool
    reason: str | None
    unstarted: _Count
    first_pulls: Literal["cold", "warm", "unknown"]
    passes: list[_Count]
    image_sets: list[SetLine]
    working: tuple[_Seconds, _Seconds] | None
    herds: Herds | None
    driver_cpu_seconds: _Seconds


Line = Header | PieceLine | End
_OF_WORKER: Final = tuple(each.name for each in fields(WorkerTally))
_NUMBERS: Final = tuple(
    each.name for each in fields(Counts) if each.default == 0 and each.name != "client_cpu_seconds"
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def encoded(line: Line) -> str:
    """Returns the text of a line, without a line break."""
    return _encode(line).decode()


def decoded(text: str | bytes) -> Line:
    """Returns the line of this text. Raises `ValueError` if it is not valid."""
    line: Line = _decode(text)  # msgspec.ValidationError is a ValueError
    return line


def piece_line(piece: Piece, place: Place, interval: IntervalEnd | None = None) -> PieceLine:
    """Returns the line of a piece that has ended. `interval` is given if a tally interval ends with it."""
    return PieceLine(
        number=place.number,
        sample=place.sample,
        step=place.step,
        start=piece.start,
        end=piece.end,
        ends=place.ends,
        counts=counts_line(piece.counts),
        first=piece.first.packed(),
        repeat=piece.repeat.packed(),
        shares={step: shares.state() for step, shares in piece.shares.items()},
        interval=interval,
    )


def piece_of(line: PieceLine) -> Piece:
    """Returns the piece of a line. Raises `ValueError` if it is not valid."""
    return Piece(
        start=line.start,
        end=line.end,
        counts=counts_of(line.counts),
        first=_latencies(line.first),
        repeat=_latencies(line.repeat),
        shares={step: Shares.of(state) for step, state in line.shares.items()},
    )


def counts_line(counts: Counts) -> CountsLine:
    """Returns these counts as a line holds them."""
    return CountsLine(
        numbers={name: value for name in _NUMBERS if (value := getattr(counts, name))},
        client_cpu_seconds=counts.client_cpu_seconds,
        errors=counts.errors,
        prune_errors=counts.prune_errors,
        examples=[Example(*key, message) for key, message in counts.examples.items()],
        workers={
            index: [getattr(worker, name) for name in _OF_WORKER] for index, worker in counts.workers.items()
        },
    )


def counts_of(line: CountsLine) -> Counts:
    """Returns the counts that a line holds. Raises `ValueError` if they are not valid."""
    unknown = line.numbers.keys() - set(_NUMBERS)
    if unknown:
        raise ValueError(f"the counts have unknown names: {', '.join(sorted(unknown))}")
    if any(len(values) != len(_OF_WORKER) for values in line.workers.values()):
        raise ValueError(f"a worker has not {len(_OF_WORKER)} counts")
    return Counts(
        **line.numbers,
        client_cpu_seconds=line.client_cpu_seconds,
        errors=Counter(line.errors),
        prune_errors=Counter(line.prune_errors),
        examples={(op, error_class): message for op, error_class, message in line.examples},
        workers={index: WorkerTally(*values) for index, values in line.workers.items()},
    )


def set_lines(image_sets: Sequence[SetTally]) -> list[SetLine]:
    """Returns the counts of image sets as a line holds them."""
    return [SetLine(each.pulled, each.failed, each.latencies.packed()) for each in image_sets]


def set_tally(line: SetLine) -> SetTally:
    """Returns the counts of an image set. Raises `ValueError` if they are not valid."""
    return SetTally(line.pulled, line.failed, _latencies(line.latencies, COARSE))


def _latencies(packed: Packed | None, digits: int | None = None) -> Latencies:
    given: Mapping[str, int] = {} if digits is None else {"digits": digits}
    return Latencies(**given) if packed is None else Latencies.unpacked(packed, **given)
