"""Writes a plain line every tally interval, for people who read a pipeline's log."""

from __future__ import annotations

from collections.abc import Sequence

from ..counted import counted
from ..durations import spoken
from ..figures import milliseconds, rate
from ..load.closed import Sample
from ..load.plan import Plan
from ..load.warm_up import WarmUp
from ..results.headline import by_class, retries
from ..results.line_file import LineFile
from ..results.output import Outputs
from ..results.run_state import Run
from ..streams import STDOUT


class PlainLines:
    """Writes a line to stderr every tally interval. A reader that has stalled does not delay the run."""

    def __init__(self, run: Run, plan: Plan, outputs: Outputs) -> None:
        self._run = run
        self._plan = plan
        self._outputs = outputs
        self._file = LineFile(STDOUT, "progress", lambda _: None, descriptor=2)
        outputs.watcher = self.on_sample

    def on_sample(self, sample: Sample) -> None:
        """Writes the line of a tally interval that has just ended."""
        tally = self._run.tally
        errors = tally.errors.most_common()
        self._file.write(plain_line(sample, self._plan, tally.attempts, errors, tally.retried))

    def end(self) -> None:
        self._outputs.watcher = None
        self._file.finish(0.0)


def plain_line(
    sample: Sample, plan: Plan, attempts: int, errors: Sequence[tuple[str, int]], retried: int | None
) -> str:
    """Returns the line of a tally interval. `attempts`, `errors` and `retried` count the run so far."""
    p95 = sample.latency.p95 if sample.latency else None
    return (
        f"{to_do(plan, sample.at, attempts)}, workers {sample.workers}/{plan.workers_at(sample.at)}, "
        f"{rate(sample.rate)}, p95 {'-' if p95 is None else milliseconds(p95)}, errors: {by_class(errors) or 'none'}, "
        f"{retries(retried)}" + (f", limited by the {sample.limited_by}" if sample.limited_by else "")
    )


def to_do(plan: Plan, at: float, attempts: int) -> str:
    """Returns the work that is left: `1:05 left`, or, for fixed work, `12 of 36 pulls done`."""
    left = plan.left(at)
    return (
        f"{attempts:,} of {counted(plan.pulls or 0, 'pull')} done"
        if left is None
        else f"{duration(left)} left"
    )


def share_done(plan: Plan, at: float, attempts: int) -> float:
    """Returns the share of the load that is done: of its planned time or, for fixed work, of its pulls."""
    return attempts / max(plan.pulls or 0, 1) if plan.end is None else min(at / plan.end, 1.0)


def warmed_up(warm_up: WarmUp) -> str:
    """Returns the result in one line."""
    failed = f", {warm_up.failed:,} failed" if warm_up.failed else ""
    images = f"{warm_up.pulled:,} of {counted(warm_up.total, 'image')}"
    return f"warm-up: {images} pulled{failed} in {spoken(round(warm_up.seconds, 1))}"


def duration(seconds: float) -> str:
    """Returns a duration as text: `1:05`, `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
