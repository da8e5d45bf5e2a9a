"""Reads the events of a run into series of bounded size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from msgspec import UNSET

from ..errors import UsageError
from ..load.event import PRUNE, PULL
from ..load.latency import Latencies
from ..outcomes import FAILED, INTERRUPTED, OK
from ..results.event_line import EventLine, known, read_event
from ..user_files import reason
from .failing import Failing
from .herd_series import HerdSeries
from .ramp_time import Span
from .reservoir import Reservoir
from .size_series import SizeSeries

# The latency histogram: its bins per decade, its lower end in seconds, and the decades that it covers.
BINS_PER_DECADE = 20
LEAST_SECONDS, DECADES = 1e-4, 9
# At most this many first pulls, and as many repeat pulls, are drawn as dots. A random choice if there are more.
DOTS = 1000
TIME_BINS = 120
SLOWEST = 20
_IMAGES_KEPT = 50_000
_CLASSES_KEPT = 30
_REST = "other classes"


@dataclass(slots=True)
class ImageTally:
    """Counts the pulls of one image. `total` and `slowest` are in seconds."""

    name: str
    pulled: int = 0
    failed: int = 0
    total: float = 0.0
    slowest: float = 0.0


@dataclass(slots=True)
class Pulls:
    """First or repeat pulls that succeeded: histograms, and dots (seconds into the ramp, latency in seconds)."""

    histogram: list[int] = field(default_factory=lambda: [0] * (DECADES * BINS_PER_DECADE))
    dots: Reservoir[tuple[float, float]] = field(default_factory=lambda: Reservoir(DOTS))
    latencies: Latencies = field(default_factory=Latencies)

    def add(self, at: float, seconds: float) -> None:
        place = int(math.log10(max(seconds, LEAST_SECONDS) / LEAST_SECONDS) * BINS_PER_DECADE)
        self.histogram[min(place, len(self.histogram) - 1)] += 1
        self.dots.add((at, seconds))
        self.latencies.add(seconds)


class EventSeries:
    """What the events add to the summary. Its size is bounded, however many events there are."""

    def __init__(self, span: Span) -> None:
        self.first, self.repeat = Pulls(), Pulls()
        self.failing = Failing()
        self.outcomes: Counter[str] = Counter()
        self.prunes = 0
        self.unreadable = 0
        self.errors: dict[str, list[int]] = {}
        self.images: dict[str, ImageTally] = {}
        self.images_dropped = False
        self.herds = HerdSeries()
        self.sizes = SizeSeries()
        self._floor = 0.0
        self.bin_seconds = max(span.seconds / TIME_BINS, 0.1)
        self.bins = max(1, math.ceil(span.seconds / self.bin_seconds))
        self._begin = span.begin.timestamp()

    def add(self, event: EventLine) -> None:
        """Counts one event. Raises `ValueError` if it is not a pull or prune, or lacks a required field."""
        at = event.moment.timestamp() - self._begin
        outcome, seconds, name = event.outcome, known(event.seconds), known(event.image)
        if event.op == PRUNE:
            self.prunes += 1
            return
        if event.op != PULL or outcome not in (OK, FAILED, INTERRUPTED):
            raise ValueError(f"{event.op} {outcome}")
        if event.herd is not UNSET and event.started is not UNSET:
            self.herds.add(event.herd, datetime.fromisoformat(event.started).timestamp())
        if outcome == OK:
            if event.timed is not False:  # one image of a launch stands for its latency
                (self.first if known(event.first) else self.repeat).add(at, seconds)
            self._image(name, seconds)
            if event.bytes is not UNSET:
                self.sizes.add(name, event.bytes, seconds, first=known(event.first))
        elif outcome == FAILED:
            self._failed(name, str(known(event.error_class)), at)
            self._image(name, None)
        self.outcomes[outcome] += 1

    @property
    def all(self) -> Latencies:
        """The latencies of first and repeat pulls together."""
        both = Latencies()
        both.merge(self.first.latencies)
        both.merge(self.repeat.latencies)
        return both

    @property
    def failed_by_class(self) -> dict[str, int]:
        """The number of failed pulls of each error class."""
        return {name: sum(counts) for name, counts in self.errors.items()}

    def _failed(self, image: str, error_class: str, at: float) -> None:
        if error_class not in self.errors and len(self.errors) >= _CLASSES_KEPT:
            error_class = _REST
        self.failing.add(image, error_class)
        counts = self.errors.setdefault(error_class, [0] * self.bins)
        counts[min(max(int(at / self.bin_seconds), 0), self.bins - 1)] += 1

    def _image(self, name: str, seconds: float | None) -> None:
        tally = self.images.get(name)
        if tally is None:
            if (seconds or 0.0) < self._floor:
                return
            if len(self.images) >= 2 * _IMAGES_KEPT:
                self._drop_images()
            tally = self.images[name] = ImageTally(name)
        if seconds is None:
            tally.failed += 1
            return
        tally.pulled += 1
        tally.total += seconds
        tally.slowest = max(tally.slowest, seconds)

    def _drop_images(self) -> None:
        """Keeps the images with the slowest pulls. The ranking stays right: a slower pull adds its image again."""
        kept = sorted(self.images.values(), key=lambda each: each.slowest, reverse=True)[:_IMAGES_KEPT]
        self.images = {each.name: each for each in kept}
        self.images_dropped = True
        self._floor = kept[-1].slowest

    def slowest(self) -> list[ImageTally]:
        """Returns at most `SLOWEST` images, ordered by their slowest pull."""
        pulled = (each for each in self.images.values() if each.pulled)
        return sorted(pulled, key=lambda each: (-each.slowest, each.name))[:SLOWEST]


def read_events(path: Path, span: Span) -> EventSeries:
    """Reads an events file line by line.

    Counts and skips lines that are not events, such as a last line that was cut short. Raises `UsageError` if the file
    cannot be read or holds no event.
    """
    series = EventSeries(span)
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            add_lines(series, _lines(file))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {reason(error)}; give the file that --events-file wrote"
        ) from None
    if series.unreadable and not series.outcomes and not series.prunes:
        raise UsageError(f"{path} holds no events; give the file that --events-file wrote")
    return series


_LONGEST_LINE = 1 << 20
_MOST_UNREADABLE = 100


def _lines(file: TextIO) -> Iterator[str]:
    """Yields lines of at most `_LONGEST_LINE` characters, so that a file without line breaks cannot fill the memory."""
    while line := file.readline(_LONGEST_LINE):
        yield line


def add_lines(series: EventSeries, lines: Iterable[str]) -> None:
    """Adds each line to the series. Counts the lines that are not events.

    Reads no further if the first `_MOST_UNREADABLE` lines are not events, as an endless file may have no others.
    """
    for line in lines:
        try:
            series.add(read_event(line))
        except (ValueError, OverflowError):
            series.unreadable += 1
            if series.unreadable >= _MOST_UNREADABLE and not series.outcomes and not series.prunes:
                return
