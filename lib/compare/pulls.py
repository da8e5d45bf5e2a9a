"""Reads the pulls of an events file, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..load.event import PULL
from ..outcomes import FAILED, OK
from ..results.event_line import EventLine, known, read_event
from ..user_files import reason

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.intp]
# The longest line of an events file, in bytes.
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Pulls:
    """Columns of the pulls that succeeded or failed, which ended `at` seconds after the load began.

    `error` is a place in `errors`, or -1. `image` is a place in `images`, or -1 if it is not known. `retries` is None
    if the client does not report them, `sizes` (bytes) if one of a successful pull is unknown. Only one of the images
    that shared a launch is `timed`. Images that were pulled again alone are not `timed`.
    """

    at: Floats
    milliseconds: Floats
    first: Flags
    timed: Flags
    error: Numbers
    errors: tuple[str, ...]
    image: Numbers
    images: tuple[str, ...]
    retries: Floats | None
    sizes: Floats | None = None

    @property
    def ok(self) -> Flags:
        flags: Flags = self.error < 0
        return flags

    def none(self) -> Pulls:
        """Returns the same columns without a row."""
        return Pulls(
            at=self.at[:0],
            milliseconds=self.milliseconds[:0],
            first=self.first[:0],
            timed=self.timed[:0],
            error=self.error[:0],
            errors=self.errors,
            image=self.image[:0],
            images=self.images,
            retries=None if self.retries is None else self.retries[:0],
            sizes=None if self.sizes is None else self.sizes[:0],
        )

    def means(self) -> Mapping[str, tuple[int, float | None]]:
        """Returns for each image the number of its successful pulls, and their mean latency in milliseconds."""
        of_an_image = self.ok & (self.image >= 0)
        count = len(self.images)
        pulled = np.bincount(self.image[of_an_image], minlength=count)
        timed = of_an_image & self.timed
        counted = np.bincount(self.image[timed], minlength=count)
        total = np.bincount(self.image[timed], weights=self.milliseconds[timed], minlength=count)
        return {
            name: (int(pulled[k]), float(total[k] / counted[k]) if counted[k] else None)
            for k, name in enumerate(self.images)
        }


class _Places:
    """Numbers names in the order in which they appear."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def __call__(self, name: str) -> int:
        return self._places.setdefault(name, len(self._places))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._places)


def read_pulls(path: Path, began: float, most: int) -> Pulls:
    """Reads a file of events. `began` is when the load began, as a POSIX timestamp. Raises `UsageError`.

    It reads at most `most` pulls, because an endless file must not fill the memory.
    """
    try:
        with path.open("rb") as lines:
            read = iter(lambda: lines.readline(_LONGEST_LINE), b"")
            return _columns(islice(_pulls(map(read_event, read)), most), began)
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {reason(error)}; give the file that --events-file wrote"
        ) from None
    except (ValueError, OverflowError):
        raise UsageError(
            f"{path} is not an events file of ocidriver; give the file that --events-file wrote"
        ) from None


def _pulls(events: Iterable[EventLine]) -> Iterator[EventLine]:
    return (event for event in events if event.op == PULL and event.outcome in (OK, FAILED))


def _columns(events: Iterable[EventLine], began: float) -> Pulls:
    errors, images = _Places(), _Places()
    rows = [
        (
            event.moment.timestamp() - began,
            1000 * known(event.seconds),
            known(event.first),
            event.timed is not False,
            -1 if event.outcome == OK else errors(str(known(event.error_class))),
            images(event.image) if isinstance(event.image, str) else -1,
            event.retries if isinstance(event.retries, int) else -1,
            _size(event),
        )
        for event in events
    ]
    at, milliseconds, first, timed, error, image, retries, sizes = (
        zip(*rows, strict=True) if rows else ((),) * 8
    )
    counted, sized = np.array(retries, dtype=np.float64), np.array(sizes, dtype=np.float64)
    return Pulls(
        at=np.array(at, dtype=np.float64),
        milliseconds=np.array(milliseconds, dtype=np.float64),
        first=np.array(first, dtype=bool),
        timed=np.array(timed, dtype=bool),
        error=np.array(error, dtype=np.intp),
        errors=errors.names,
        image=np.array(image, dtype=np.intp),
        images=images.names,
        retries=None if (counted < 0).any() else counted,
        sizes=None if (sized < 0).any() else sized,
    )


def _size(event: EventLine) -> int:
    """Returns what a pull fetched: nothing if it failed, -1 if that is not known."""
    if event.outcome != OK:
        return 0
    return event.bytes if isinstance(event.bytes, int) else -1
