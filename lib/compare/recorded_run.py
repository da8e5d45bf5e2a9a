"""Reads a run's summary and events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..counted import counted
from ..errors import UsageError
from ..latency import Latency
from ..load.event import PULL
from ..outcomes import FAILED, OK
from ..results.event_line import known, read_event
from ..results.summary import Summary
from ..results.summary_file import read_summary
from ..user_files import reason

Key = tuple[str, int, str]
# The longest line of an events file, in bytes.
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Interval:
    """A tally interval. `start` and `end` are in seconds since the ramp began."""

    start: float
    end: float
    pulled: int
    failed: int
    latency: Latency | None


@dataclass(frozen=True, slots=True)
class Span:
    """A step of the ramp. `start` and `end` are in seconds since the ramp began.

    `schedule` identifies the schedule. It is empty without one.
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
        """Identifies the load: steps with the same key can be compared."""
        return self.direction, self.workers, self.schedule


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull that ended `at` seconds after the ramp began. `error` is the error class of a failed pull.

    Only one of the images that shared a launch is `timed`. Images that were pulled again alone are not `timed`.
    """

    at: float
    milliseconds: float
    first: bool
    error: str | None
    timed: bool = True


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run as read from its files. `pulls` is None without events."""

    file: str
    summary: Summary
    steps: tuple[Span, ...]
    intervals: tuple[Interval, ...]
    pulls: tuple[Pull, ...] | None

    @property
    def interrupted(self) -> bool:
        return self.summary.interrupted

    @property
    def ended(self) -> int:
        """Pulls that succeeded or failed."""
        return self.summary.ended


def read_run(path: Path, events: Path | None = None) -> Recorded:
    """Reads the files of one run. Raises `UsageError` if they cannot be read or are from different runs."""
    summary = read_summary(path)
    # one more than the summary has: an endless file must not fill the memory
    pulls = None if events is None else tuple(islice(_pulls(events, summary), summary.ended + 1))
    if pulls is not None and sum(pull.error is None for pull in pulls) != summary.pulled:
        raise UsageError(
            f"{events} does not have the {counted(summary.pulled, 'pull')} of {path}; give the events file of that run"
        )
    return Recorded(
        file=str(path),
        summary=summary,
        steps=_steps(summary),
        intervals=_intervals(summary),
        pulls=pulls,
    )


def _steps(summary: Summary) -> tuple[Span, ...]:
    steps: list[Span] = []
    for each in summary.steps:
        start = steps[-1].end if steps else 0.0
        steps.append(
            Span(
                workers=each.workers,
                direction=each.direction,
                start=start,
                end=start + each.seconds,
                pulled=each.pulled,
                latency=each.latency_ms,
                schedule=_schedule(summary),
            )
        )
    return tuple(steps)


def _schedule(summary: Summary) -> str:
    """Identifies the schedule. If the rate changes over the ramp, the length of the steps is a part of it."""
    rate = summary.settings.get("rate")
    if rate is None:
        return ""
    return f"{rate}/{summary.settings.get('iteration_seconds')}" if ":" in str(rate) else str(rate)


def _intervals(summary: Summary) -> tuple[Interval, ...]:
    intervals: list[Interval] = []
    for each in summary.samples:
        start = intervals[-1].end if intervals else 0.0
        intervals.append(
            Interval(
                start=start,
                end=start + each.seconds,
                pulled=each.pulled,
                failed=each.failed,
                latency=each.latency_ms,
            )
        )
    return tuple(intervals)


def _pulls(path: Path, summary: Summary) -> Iterator[Pull]:
    try:
        began = _began(summary)
        with path.open("rb") as lines:
            while line := lines.readline(_LONGEST_LINE):
                event = read_event(line)
                if event.op == PULL and event.outcome in (OK, FAILED):
                    yield Pull(
                        at=event.moment.timestamp() - began,
                        milliseconds=1000 * known(event.seconds),
                        first=known(event.first),
                        error=None if event.outcome == OK else str(known(event.error_class)),
                        timed=event.timed is not False,
                    )
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {reason(error)}; give the file that --events-file wrote"
        ) from None
    except (ValueError, OverflowError):
        raise UsageError(
            f"{path} is not an events file of ocidriver; give the file that --events-file wrote"
        ) from None


def _began(summary: Summary) -> float:
    """Returns when the ramp began, as a POSIX timestamp."""
    if not summary.samples:
        return summary.started.timestamp()
    return summary.samples[0].time.timestamp() - summary.samples[0].seconds
