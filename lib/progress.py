"""What a watcher sees of a ramp that goes on: counters that exist anyway, read from outside, as one Snapshot.

Chooses between the live view, a plain line every tally and nothing.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

from .cpu import cores, own_seconds
from .failures import clean
from .latency import Latency
from .linefile import LineFile
from .output import Outputs
from .ramp import Step
from .settings import STDOUT
from .summary import Run
from .tally import Sample
from .worker import PRUNING, PULLING, Worker

ALWAYS, AUTO, NEVER = "always", "auto", "never"
# The rate now and the CPU now are taken over so many seconds.
_NOW_SECONDS = 5.0
# A bar of the sparkline stands for so many seconds.
BAR_SECONDS = 2.0
_MOST_BARS = 150
# From so many pulls on, the open interval's latencies say more than the last closed one's.
_ENOUGH_PULLS = 20
_LATENCY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker now: the image `number` of `images` in its pass; `doing` is clean."""

    index: int
    pattern: str
    pass_number: int
    number: int
    images: int
    pulled: int
    failed: int
    what: str
    name: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The run at one moment. Seconds left; rates in pulls a second, the oldest bar first; CPU in cores.

    `rows` are the first workers, as many as were asked for, of `peak`; `rest` counts what the others do.
    """

    left: float
    running: int
    planned: int
    peak: int
    pulled: int
    failed: int
    rate: float
    bars: tuple[float, ...]
    latency: Latency | None
    errors: tuple[tuple[str, int], ...]
    driver_cpu: float
    client_cpu: float
    cores: float
    rows: tuple[WorkerRow, ...]
    rest: tuple[tuple[str, int], ...]


class Progress(Protocol):
    """Whatever watches a run; `end` is called when the ramp is over and its result is known."""

    def end(self) -> None: ...


class Watch:
    """Reads the counters of a run, from a thread of its own; nothing is locked, and nothing is written."""

    def __init__(self, run: Run, steps: Sequence[Step]) -> None:
        self.run = run
        self.steps = steps
        self._cores = cores()
        self._readings: deque[tuple[float, int, float, float]] = deque([self._reading()])
        self._bars: deque[float] = deque(maxlen=_MOST_BARS)
        self._bar_began, self._bar_pulled = self._readings[0][:2]
        self._latency: Latency | None = None
        self._latency_at = 0.0

    def snapshot(self, rows: int) -> Snapshot:
        """The run now, with so many workers of it."""
        now, pulled, driver_cpu, client_cpu = reading = self._reading()
        self._readings.append(reading)
        while len(self._readings) > 2 and self._readings[1][0] <= now - _NOW_SECONDS:
            self._readings.popleft()
        before, pulled_before, driver_before, client_before = self._readings[0]
        seconds = max(now - before, 1e-3)
        self._draw_bars(now, pulled)
        tally, workers = self.run.tally, self.run.workers
        doing = [worker.doing.what for worker in workers]
        at = now - (self.run.begin or now)
        return Snapshot(
            left=time_left(self.steps, at),
            running=sum(1 for what in doing if what in (PULLING, PRUNING)),
            planned=planned_at(self.steps, at),
            peak=len(workers),
            pulled=pulled,
            failed=tally.failed,
            rate=(pulled - pulled_before) / seconds,
            bars=tuple(self._bars),
            latency=self._recent_latency(now),
            errors=tuple(tally.errors.most_common()),
            driver_cpu=(driver_cpu - driver_before) / seconds,
            client_cpu=(client_cpu - client_before) / seconds,
            cores=self._cores,
            rows=tuple(self._row(worker) for worker in workers[:rows]),
            rest=tuple((what, doing[rows:].count(what)) for what in dict.fromkeys(doing[rows:])),
        )

    def _reading(self) -> tuple[float, int, float, float]:
        """Now, the pulls so far, the CPU seconds of driver and clients so far."""
        tally = self.run.tally
        return monotonic(), tally.pulled, own_seconds(), tally.client_cpu_seconds

    def _draw_bars(self, now: float, pulled: int) -> None:
        """Close the bar that is over; where several are, they share their pulls evenly."""
        over = int((now - self._bar_began) / BAR_SECONDS)
        if over:
            rate = (pulled - self._bar_pulled) / (over * BAR_SECONDS)
            self._bars.extend([rate] * min(over, _MOST_BARS))
            self._bar_began += over * BAR_SECONDS
            self._bar_pulled = pulled

    def _recent_latency(self, now: float) -> Latency | None:
        """Of the open interval once it has enough pulls, else of the last closed; looked up once a second."""
        if now - self._latency_at >= _LATENCY_SECONDS:
            self._latency_at = now
            tally = self.run.tally
            found = tally.open_latency(_ENOUGH_PULLS)
            if found is None and tally.samples:
                found = tally.samples[-1].latency
            self._latency = found or self._latency or tally.open_latency(2)
        return self._latency

    def _row(self, worker: Worker) -> WorkerRow:
        doing, counts = worker.doing, self.run.tally.workers[worker.index]
        return WorkerRow(
            worker.index,
            clean(worker.image_set.pattern),
            worker.passes + (doing.what in (PULLING, PRUNING)),
            doing.number,
            len(worker.image_set.images),
            counts.pulled,
            counts.failed,
            doing.what,
            clean(doing.image.name) if doing.image else "",
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


def plain_line(sample: Sample, steps: Sequence[Step], errors: Sequence[tuple[str, int]]) -> str:
    """A tally interval for people who read a pipeline's log; `errors` are those of the run so far."""
    p95 = f"{sample.latency.p95:.1f} ms" if sample.latency else "-"
    told = ", ".join(f"{count} {error_class}" for error_class, count in errors) or "none"
    return (
        f"{duration(time_left(steps, sample.at))} left, workers {sample.workers}/{planned_at(steps, sample.at)}, "
        f"{sample.rate:.2f} pulls/s, p95 {p95}, errors: {told}"
        + (", limited by this machine's CPU" if sample.limited_by else "")
    )


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


class Nothing:
    """Nobody watches."""

    def end(self) -> None:
        return


def wants_live(mode: str, is_terminal: bool, environment: Callable[[str], str | None]) -> bool:
    """A terminal that can move its cursor; by itself not in CI, where some have one that nobody sits at."""
    if mode == NEVER or not is_terminal or environment("TERM") in (None, "", "dumb", "unknown"):
        return False
    return mode == ALWAYS or environment("CI") in (None, "", "0", "false")


def start_progress(mode: str, run: Run, steps: Sequence[Step], outputs: Outputs) -> Progress:
    """Let the user watch the ramp that begins now, in the way that fits `--progress` and stderr."""
    if wants_live(mode, os.isatty(2), os.environ.get):
        from .live import LiveView  # rich takes a while to import

        return LiveView(Watch(run, steps), outputs)
    return PlainLines(run, steps, outputs) if mode == ALWAYS else Nothing()
