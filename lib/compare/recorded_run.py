"""A run's summary and its events as values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..results.summary_file import is_number, read_summary

Json = Mapping[str, Any]
Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds; `points` are the shares of pulls and the latency that they stayed under."""

    mean: float
    points: tuple[tuple[float, float], ...]

    def below(self, share: float) -> float:
        """The latency that this share of the pulls, one of the points', stayed under."""
        return dict(self.points)[share]


@dataclass(frozen=True, slots=True)
class Interval:
    """A tally interval: from `start` to `end` in seconds from the ramp's beginning."""

    start: float
    end: float
    pulled: int
    failed: int
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class Span:
    """A step of the ramp: from `start` to `end` in seconds from the ramp's beginning.

    `schedule` tells one schedule from another, and is empty where there is none.
    """

    workers: int
    direction: str
    start: float
    end: float
    pulled: int
    latency: Latency | None
    schedule: str

    @property
    def key(self) -> Key:
        """What steps of the same load have in common."""
        return self.direction, self.workers, self.schedule


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull that succeeded or failed `at` seconds after the ramp's beginning; `error` is a failed one's class.

    Of the images that shared a launch one is `timed`; those pulled alone after it had failed are not.
    """

    at: float
    milliseconds: float
    first: bool
    error: str | None
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run as its files tell it; `document` is the summary itself, `pulls` is None without events."""

    file: str
    document: Json
    steps: tuple[Span, ...]
    intervals: tuple[Interval, ...]
    pulls: tuple[Pull, ...] | None

    @property
    def interrupted(self) -> bool:
        return bool(self.document["interrupted"])

    @property
    def ended(self) -> int:
        """Pulls that succeeded or failed."""
        return int(self.document["pulled"]) + int(self.document["failed"])


_SHARES = (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))


def read_run(path: Path, events: Path | None = None) -> Recorded:
    """The files of one run; UsageError where they are not."""
    document = read_summary(path)
    pulled = int(document["pulled"])
    steps, intervals = _steps(document), _intervals(document)
    pulls = None if events is None else tuple(_pulls(events, document))
    if pulls is not None and sum(pull.error is None for pull in pulls) != pulled:
        raise UsageError(f"{events}: does not hold the {pulled} pulls of {path}; give the events of that run")
    return Recorded(str(path), document, steps, intervals, pulls)


def _latency(document: Json) -> Latency:
    points = tuple((share, float(document[name])) for name, share in _SHARES)
    return Latency(float(document["mean"]), points)


def _measured(part: Json) -> Latency | None:
    return None if part["latency_ms"] is None else _latency(part["latency_ms"])


def _steps(document: Json) -> tuple[Span, ...]:
    steps: list[Span] = []
    for each in document["steps"]:
        start = steps[-1].end if steps else 0.0
        end = start + float(each["seconds"])
        steps.append(
            Span(
                each["workers"],
                each["direction"],
                start,
                end,
                each["pulled"],
                _measured(each),
                _schedule(document),
            )
        )
    return tuple(steps)


def _schedule(document: Json) -> str:
    """One that rises or falls does so over the ramp, so how long its steps are makes a difference."""
    rate = document["settings"].get("rate")
    if rate is None:
        return ""
    return f"{rate}/{document['settings'].get('iteration_seconds')}" if ":" in str(rate) else str(rate)


def _intervals(document: Json) -> tuple[Interval, ...]:
    intervals: list[Interval] = []
    for each in document["samples"]:
        start = intervals[-1].end if intervals else 0.0
        end = start + float(each["seconds"])
        intervals.append(Interval(start, end, each["pulled"], each["failed"], _measured(each)))
    return tuple(intervals)


def _pulls(path: Path, document: Json) -> Iterator[Pull]:
    try:
        began = _began(document)
        with path.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                if event["op"] == "pull" and event["outcome"] in ("ok", "failed"):
                    at = datetime.fromisoformat(event["time"]).timestamp() - began
                    error = None if event["outcome"] == "ok" else str(event["class"])
                    if not is_number(event["seconds"]):
                        raise ValueError(event["seconds"])
                    timed = bool(event.get("timed", True))
                    yield Pull(at, 1000 * float(event["seconds"]), bool(event["first"]), error, timed)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise UsageError(f"{path}: not an events file of ocidriver; make it with --events-file") from None


def _began(document: Json) -> float:
    """The ramp's beginning as a timestamp."""
    if not document["samples"]:
        return datetime.fromisoformat(document["started"]).timestamp()
    first = document["samples"][0]
    return datetime.fromisoformat(first["time"]).timestamp() - float(first["seconds"])
