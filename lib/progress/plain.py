"""A plain line every tally, for people who read a pipeline's log."""

from __future__ import annotations

from collections.abc import Sequence

from ..load.ramp import Step
from ..load.tally import Sample
from ..results.line_file import LineFile
from ..results.output import Outputs
from ..results.run_state import Run
from ..streams import STDOUT


class PlainLines:
    """A line on stderr every tally; a reader that has stalled holds nothing up."""

    def __init__(self, run: Run, steps: Sequence[Step], outputs: Outputs) -> None:
        self._run = run
        self._steps = steps
        self._outputs = outputs
        self._file = LineFile(STDOUT, "progress", lambda _: None, descriptor=2)
        outputs.watcher = self.on_sample

    def on_sample(self, sample: Sample) -> None:
        self._file.write(plain_line(sample, self._steps, self._run.tally.errors.most_common()))

    def end(self) -> None:
        self._outputs.watcher = None
        self._file.finish(0.0)


def plain_line(sample: Sample, steps: Sequence[Step], errors: Sequence[tuple[str, int]]) -> str:
    """A tally interval; `errors` are those of the run so far."""
    p95 = f"{sample.latency.p95:.1f} ms" if sample.latency else "-"
    told = ", ".join(f"{count} {error_class}" for error_class, count in errors) or "none"
    return (
        f"{duration(time_left(steps, sample.at))} left, workers {sample.workers}/{planned_at(steps, sample.at)}, "
        f"{sample.rate:.2f} pulls/s, p95 {p95}, errors: {told}"
        + (", limited by this machine's CPU" if sample.limited_by else "")
    )


def planned_at(steps: Sequence[Step], at: float) -> int:
    """Workers that the ramp has running at this second of it; at a boundary those of the step that ends."""
    return next((step.workers for step in steps if at <= step.end), 0)


def time_left(steps: Sequence[Step], at: float) -> float:
    """Seconds to the end of the ramp."""
    return max(0.0, steps[-1].end - at)


def duration(seconds: float) -> str:
    """`1:05`, `2:03:04`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
