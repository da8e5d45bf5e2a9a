"""Reads a run's summary and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..counted import counted
from ..errors import UsageError
from ..latency import Latency
from ..results.summary import Summary
from ..results.summary_file import read_summary
from .pulls import Pulls, read_pulls

Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Interval:
    """A tally interval. `start` and `end` are in seconds since the load began. `errors` counts failures by class.

    `bytes` is what the pulls fetched; None if unknown.
    """

    start: float
    end: float
    pulled: int
    failed: int
    latency: Latency | None
    errors: Mapping[str, int]
    retried: int | None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A step of the load. `start` and `end` are in seconds since the load began.

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
class Recorded:
    """A run as read from its files. `pulls` is None without events."""

    file: str
    summary: Summary
    steps: tuple[Span, ...]
    intervals: tuple[Interval, ...]
    pulls: Pulls | None

    @property
    def interrupted(self) -> bool:
        return self.summary.interrupted

    @property
    def ended(self) -> int:
        """Pulls that succeeded or failed."""
        return self.summary.ended

    @property
    def drained(self) -> int:
        """Successful pulls that ended after the planned end."""
        return self.summary.drain.pulled if self.summary.drain else 0

    @property
    def kind_of_first_pulls(self) -> str:
        """Whether first pulls were cold: the first of the run, and those after a prune.

        Files of earlier versions say only by their settings that the driver pruned before the load.
        """
        settings, kind = self.summary.settings, self.summary.first_pulls
        if kind == "cold" or (kind == "unknown" and settings.get("prune_first")):
            return "cold"
        return f"{kind} and, after prunes, cold" if settings.get("prune") else kind

    @property
    def is_older(self) -> bool:
        """Whether a version wrote it that counted what ended after the planned end as part of the last interval."""
        latency = self.summary.latency("")
        return latency is not None and not latency.count

    @property
    def is_fixed_work(self) -> bool:
        """Whether the run made a given number of passes, however long they took."""
        return self.summary.settings.get("passes") is not None


def read_run(path: Path, events: Path | None = None) -> Recorded:
    """Reads the files of one run. Raises `UsageError` if they cannot be read or are from different runs."""
    summary = read_summary(path)
    pulls = None if events is None else read_pulls(events, _began(summary), summary.ended + 1)
    if pulls is not None and int(pulls.ok.sum()) != summary.pulled:
        raise UsageError(
            f"{events} does not have the {counted(summary.pulled, 'pull')} of {path}; give the events file of that run"
        )
    return recorded(str(path), summary, pulls)


def recorded(file: str, summary: Summary, pulls: Pulls | None = None) -> Recorded:
    """Returns the run of a summary, with its pulls if they are known."""
    return Recorded(
        file=file,
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
    """Identifies the schedule. If the rate changes during the load, the shape of the load is a part of it."""
    settings = summary.settings
    rate, stages = settings.get("rate"), settings.get("stage")
    if rate is None:
        return ",".join(map(str, stages)) if stages and summary.is_scheduled else ""
    if ":" not in str(rate):
        return str(rate)
    shape = (settings.get(name) for name in ("iteration_seconds", "hold", "duration"))
    return "/".join(str(each) for each in (rate, *shape) if each is not None)


def _intervals(summary: Summary) -> tuple[Interval, ...]:
    intervals: list[Interval] = []
    last = len(summary.samples) - 1
    drained = summary.drain.failed if summary.drain else 0
    for place, (each, errors) in enumerate(zip(summary.samples, _failures(summary), strict=True)):
        start = intervals[-1].end if intervals else 0.0
        intervals.append(
            Interval(
                start=start,
                end=start + each.seconds,
                pulled=each.pulled,
                failed=each.failed + (drained if place == last else 0),
                latency=each.latency_ms,
                errors=errors,
                retried=each.retried,
                bytes=each.bytes if isinstance(each.bytes, int) else None,
            )
        )
    return tuple(intervals)


def _failures(summary: Summary) -> list[dict[str, int]]:
    """Returns the failures of each interval by class.

    Older files have only the failures of all classes together. Then those of a class count for the intervals with the
    most failures: the fewer intervals they are in, the wider is the confidence interval. The failures of the drain
    count for the last interval.
    """
    found = [dict(each.errors) for each in summary.samples]
    unknown = [each.failed - sum(each.errors.values()) for each in summary.samples]
    for name, failed in summary.errors.items():
        rest = failed - sum(each.errors.get(name, 0) for each in summary.samples)
        for place in sorted(range(len(found)), key=lambda k: -unknown[k]):
            part = min(rest, unknown[place])
            if part > 0:
                found[place][name] = found[place].get(name, 0) + part
                rest -= part
        if summary.drain and found and rest > 0:
            found[-1][name] = found[-1].get(name, 0) + rest
    return found


def _began(summary: Summary) -> float:
    """Returns when the load began, as a POSIX timestamp."""
    if not summary.samples:
        return summary.started.timestamp()
    return summary.samples[0].time.timestamp() - summary.samples[0].seconds
