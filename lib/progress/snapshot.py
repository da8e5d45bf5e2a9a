"""Reads the counters of a running test into a Snapshot for the live view."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from ..clean import clean
from ..latency import Latency
from ..load.pace import MACHINE, NO_WORKER
from ..load.plan import Plan
from ..processes.cpu import cores, own_seconds
from ..results.run_state import Run
from .about import about
from .plain import share_done, to_do
from .worker_rows import SLOW_SECONDS, Doings, WorkerRow

# The current rate and CPU use are averages over this many seconds.
_NOW_SECONDS = 5.0
# Seconds that a bar of the sparkline covers.
BAR_SECONDS = 2.0
_MOST_BARS = 150
# With at least this many pulls, the latencies of the open interval are shown, else those of the last closed one.
_ENOUGH_PULLS = 20
_LATENCY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a run at one moment. Rates are in pulls per second, CPU use is in cores.

    `about` says what the run is. `done` is the share of the load that is done, by time or by pulls.
    `to_do` is the work that is left, or None when the workers end. `offered` is the rate that the schedule wants now.
    `late` counts the late pulls of a schedule by reason; None without a schedule. `limited_by` belongs to the last
    interval.
    `bars` are recent rates, the oldest first. `rows` are some of the workers. `rest` counts the others by what they do.
    """

    about: str
    done: float
    to_do: str | None
    running: int
    planned: int
    peak: int
    pulled: int
    failed: int
    rate: float
    offered: float | None
    bars: tuple[float, ...]
    latency: Latency | None
    errors: tuple[tuple[str, int], ...]
    late: tuple[tuple[str, int], ...] | None
    limited_by: str | None
    driver_cpu: float
    client_cpu: float
    cores: float
    rows: tuple[WorkerRow, ...]
    rest: tuple[tuple[str, int], ...]


class _Reading(NamedTuple):
    """The totals at one moment: pulls, and CPU seconds of driver and clients. `at` is monotonic."""

    at: float
    pulled: int
    driver_cpu: float
    client_cpu: float


class Watch:
    """Reads the counters of a run from another thread. It takes no lock and changes nothing."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self.run = run
        self._plan = plan
        self._about = clean(about(run, plan))
        self._cores = cores()
        self._readings: deque[_Reading] = deque([self._reading()])
        self._bars: deque[float] = deque(maxlen=_MOST_BARS)
        self._bar_began, self._bar_pulled = self._readings[0][:2]
        self._doings = Doings(run.workers, self._bar_began)
        self._latency: Latency | None = None
        self._latency_at = 0.0

    def snapshot(self, rows: int) -> Snapshot:
        """Returns the run now, with at most `rows` of its workers."""
        now = self._reading()
        before = self._reading_before(now)
        seconds = max(now.at - before.at, 1e-3)
        self._draw_bars(now.at, now.pulled)
        self._doings.look(now.at)
        latency = self._recent_latency(now.at)
        slow = max(SLOW_SECONDS, (latency.p95 or 0.0) / 1000) if latency else SLOW_SECONDS
        tally, driver = self.run.tally, self.run.driver
        running, planned = (driver.running, driver.planned) if driver else (0, 0)
        shown, rest = self._doings.rows(tally.workers, now.at, rows, slow)
        return Snapshot(
            about=self._about,
            done=share_done(self._plan, self._second(now.at), tally.attempts),
            to_do=None
            if running and not planned
            else to_do(self._plan, self._second(now.at), tally.attempts),
            running=running,
            planned=planned,
            peak=len(self.run.workers),
            pulled=now.pulled,
            failed=tally.failed,
            rate=(now.pulled - before.pulled) / seconds,
            offered=self._offered(before.at, now.at) if planned else None,
            bars=tuple(self._bars),
            latency=latency,
            errors=tuple(tally.errors.most_common()),
            late=self._late(),
            limited_by=tally.samples[-1].limited_by if tally.samples else None,
            driver_cpu=(now.driver_cpu - before.driver_cpu) / seconds,
            client_cpu=max(0.0, now.client_cpu - before.client_cpu) / seconds,
            cores=self._cores,
            rows=shown,
            rest=rest,
        )

    def _reading(self) -> _Reading:
        tally, driver = self.run.tally, self.run.driver
        used = driver.client_cpu_seconds if driver else tally.client_cpu_seconds
        return _Reading(monotonic(), tally.pulled, own_seconds(), used)

    def _reading_before(self, now: _Reading) -> _Reading:
        """Returns the reading about `_NOW_SECONDS` ago, from which the current rates are computed."""
        self._readings.append(now)
        while len(self._readings) > 2 and self._readings[1].at <= now.at - _NOW_SECONDS:
            self._readings.popleft()
        return self._readings[0]

    def _second(self, at: float) -> float:
        """Returns the seconds since the load began."""
        return at - (self.run.begin or at)

    def _offered(self, before: float, now: float) -> float | None:
        schedule, start, end = self.run.tally.schedule, self._second(before), self._second(now)
        return None if schedule is None else schedule.curve.offered(max(start, 0.0), end)

    def _late(self) -> tuple[tuple[str, int], ...] | None:
        tally = self.run.tally
        if tally.schedule is None:
            return None
        return (NO_WORKER, tally.late_no_worker), (MACHINE, tally.late_machine)

    def _draw_bars(self, now: float, pulled: int) -> None:
        """Adds the bars that are over. If several are, they share their pulls evenly."""
        over = int((now - self._bar_began) / BAR_SECONDS)
        if over:
            rate = (pulled - self._bar_pulled) / (over * BAR_SECONDS)
            self._bars.extend([rate] * min(over, _MOST_BARS))
            self._bar_began += over * BAR_SECONDS
            self._bar_pulled = pulled

    def _recent_latency(self, now: float) -> Latency | None:
        """Returns the latency of the open interval if it has enough pulls, else of the last closed one.

        Updated every `_LATENCY_SECONDS`.
        """
        if now - self._latency_at >= _LATENCY_SECONDS:
            self._latency_at = now
            tally = self.run.tally
            found = tally.open_latency(_ENOUGH_PULLS)
            if found is None and tally.samples:
                found = tally.samples[-1].latency
            self._latency = found or self._latency or tally.open_latency(2)
        return self._latency
