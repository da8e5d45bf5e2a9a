"""A run's summary file, and its events file, as values; a file that is neither is wrong usage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..summary import SCHEMA

Json = Mapping[str, Any]


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
    """A step of the ramp: from `start` to `end` in seconds from the ramp's beginning."""

    workers: int
    direction: str
    start: float
    end: float
    pulled: int
    latency: Latency | None

    @property
    def key(self) -> tuple[str, int]:
        return self.direction, self.workers


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull that succeeded or failed `at` seconds after the ramp's beginning; `error` is a failed one's class."""

    at: float
    milliseconds: float
    first: bool
    error: str | None


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
# No count, time or rate of a run is larger.
_MOST = 1e15
_LATENCIES = ("latency_ms", "first_latency_ms", "repeat_latency_ms")


def read_run(path: Path, events: Path | None = None) -> Recorded:
    """The files of one run; UsageError where they are not."""
    document = _document(path)
    try:
        steps, intervals = _steps(document), _intervals(document)
        _check(document)
        pulled = int(document["pulled"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise UsageError(f"{path}: not a whole summary of ocidriver; make it with --summary-file") from None
    pulls = None if events is None else tuple(_pulls(events, document))
    if pulls is not None and sum(pull.error is None for pull in pulls) != pulled:
        raise UsageError(f"{events}: does not hold the {pulled} pulls of {path}; give the events of that run")
    return Recorded(str(path), document, steps, intervals, pulls)


def _document(path: Path) -> Json:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: not JSON; give files that --summary-file wrote") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise UsageError(f"{path}: not a summary of ocidriver; give files that --summary-file wrote")
    if document["schema"] != SCHEMA:
        raise UsageError(
            f"{path}: its schema is {document['schema']!r}, this ocidriver reads {SCHEMA}; compare with the ocidriver "
            "that wrote it"
        )
    return document


def _check(document: Json) -> None:
    """All that is read later has its type; ValueError and its like where not."""
    for name in ("pulled", "failed", "rate", "images", "elapsed_seconds"):
        _number(document[name])
    for name in _LATENCIES:
        if document[name] is not None:
            _latency(document[name])
    if document["error_rate"] is not None:
        _number(document["error_rate"])
    for count in document["errors"].values():
        _number(count)
    document["settings"].items()
    if document["client"] is not None:
        document["client"].get("name")
    _ = document["interrupted"], document["limited_by"]


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, (str, bool)) or not 0 <= number <= _MOST:
        raise ValueError(value)
    return number


def _latency(document: Json) -> Latency:
    points = tuple((share, _number(document[name])) for name, share in _SHARES)
    return Latency(_number(document["mean"]), points)


def _measured(part: Json) -> Latency | None:
    return None if part["latency_ms"] is None else _latency(part["latency_ms"])


def _steps(document: Json) -> tuple[Span, ...]:
    steps: list[Span] = []
    for each in document["steps"]:
        start = steps[-1].end if steps else 0.0
        end = start + _number(each["seconds"])
        workers, pulled = int(_number(each["workers"])), int(_number(each["pulled"]))
        steps.append(Span(workers, str(each["direction"]), start, end, pulled, _measured(each)))
    return tuple(steps)


def _intervals(document: Json) -> tuple[Interval, ...]:
    intervals: list[Interval] = []
    for each in document["samples"]:
        start = intervals[-1].end if intervals else 0.0
        end = start + _number(each["seconds"])
        pulled, failed = int(_number(each["pulled"])), int(_number(each["failed"]))
        intervals.append(Interval(start, end, pulled, failed, _measured(each)))
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
                    yield Pull(at, 1000 * _number(event["seconds"]), bool(event["first"]), error)
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
