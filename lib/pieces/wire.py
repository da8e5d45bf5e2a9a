"""A piece of a load as one line of JSON.

A line is decoded strictly, as it may come from a file or from another machine: a value of another type, a number out of
range or a histogram that is not valid raises `ValueError`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Annotated, Final, NamedTuple

import msgspec

from ..load.counts import Counts, WorkerTally
from ..load.latency import Latencies, Packed
from ..load.piece import ENDS, IntervalEnd, Piece, Place
from ..load.shares import Shares, State

# The type of the number of pulls and the like.
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Example(NamedTuple):
    """The first message of a failure."""

    op: str
    error_class: str
    message: str


class PieceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One piece. `number` counts the pieces of a host from 0; `sample` and `step` are those that the piece lies in.

    `ends` says what ends with it: a tally interval (with `interval`), a step, the load, or nothing yet.
    """

    number: _Count
    sample: _Count
    step: _Count
    start: _Seconds
    end: _Seconds
    ends: ENDS
    counts: dict[str, _Count]
    client_cpu_seconds: float
    errors: dict[str, _Count]
    prune_errors: dict[str, _Count]
    examples: list[Example]
    workers: dict[int, list[_Count]]
    first: Packed | None
    repeat: Packed | None
    shares: dict[int, State]
    interval: IntervalEnd | None = None


_OF_WORKER: Final = tuple(each.name for each in fields(WorkerTally))
_NUMBERS: Final = tuple(
    each.name for each in fields(Counts) if each.default == 0 and each.name != "client_cpu_seconds"
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(PieceLine).decode


def piece_line(piece: Piece, place: Place, interval: IntervalEnd | None = None) -> str:
    """Returns the line of a piece that has ended. `interval` is given if a tally interval ends with it."""
    counts = piece.counts
    line = PieceLine(
        number=place.number,
        sample=place.sample,
        step=place.step,
        start=piece.start,
        end=piece.end,
        ends=place.ends,
        counts={name: value for name in _NUMBERS if (value := getattr(counts, name))},
        client_cpu_seconds=counts.client_cpu_seconds,
        errors=counts.errors,
        prune_errors=counts.prune_errors,
        examples=[Example(*key, message) for key, message in counts.examples.items()],
        workers={
            index: [getattr(worker, name) for name in _OF_WORKER] for index, worker in counts.workers.items()
        },
        first=piece.first.packed(),
        repeat=piece.repeat.packed(),
        shares={step: shares.state() for step, shares in piece.shares.items()},
        interval=interval,
    )
    return _encode(line).decode()


def read_piece(text: str | bytes) -> tuple[Piece, PieceLine]:
    """Returns the piece of a line, and the line for what else it says. Raises `ValueError` if it is not valid."""
    line = _decode(text)  # msgspec.ValidationError is a ValueError
    unknown = line.counts.keys() - set(_NUMBERS)
    if unknown:
        raise ValueError(f"the counts have unknown names: {', '.join(sorted(unknown))}")
    if any(len(values) != len(_OF_WORKER) for values in line.workers.values()):
        raise ValueError(f"a worker has not {len(_OF_WORKER)} counts")
    counts = Counts(
        **line.counts,
        client_cpu_seconds=line.client_cpu_seconds,
        errors=Counter(line.errors),
        prune_errors=Counter(line.prune_errors),
        examples={(op, error_class): message for op, error_class, message in line.examples},
        workers={index: WorkerTally(*values) for index, values in line.workers.items()},
    )
    piece = Piece(
        start=line.start,
        end=line.end,
        counts=counts,
        first=_latencies(line.first),
        repeat=_latencies(line.repeat),
        shares={step: Shares.of(state) for step, state in line.shares.items()},
    )
    return piece, line


def _latencies(packed: Packed | None) -> Latencies:
    return Latencies() if packed is None else Latencies.unpacked(packed)
