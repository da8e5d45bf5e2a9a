"""Reads the counters of a running test into a Snapshot for the live view."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from ..latency import Latency
from ..load.closed import CLIENT, CLIENT_LIMITED, Sample
from ..load.pace import MACHINE, NO_WORKER
from ..load.plan import Plan
from ..processes.cpu import cores, own_seconds
from ..results.run_state import Run
from .about import about
from .host_rows import HostRow, host_rows, states
from .limit import limit_now, outage_now
from .plain import share_done, to_do
from .rows import Row, interval_row, recent, step_row
from .worker_rows import SLOW_SECONDS, Doings, WorkerRow

# The current rate and CPU use are averages over this many seconds.
_NOW_SECONDS = 5.0
# Seconds that a bar of the sparkline covers.
BAR_SECONDS = 2.0
_MOST_BARS = 150
# With at least this many pulls, the latencies of the open interval are shown, else those of the last closed one.
_ENOUGH_PULLS = 20
_LATENCY_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a run at one moment. Rates are in pulls per second, CPU use is in cores.

    `target` says what is tested, and `load` how. `done` is the share of the load that is done, by time or by pulls.
    `to_do` is the work that is left, or None when the workers end. `elapsed` is in seconds.
    `whole` has the figures of the whole run so far, `interval` those of the last tally interval, of `seconds`. It is
    None before the first one ends. `steps` has the steps that are over.
    `rate` is the rate now, and `offered` the rate that the schedule wants now.
    `late` counts the late pulls of a schedule by reason; None without a schedule.
    `limit` says what limits the rate now, or None if that is not known. `limited`: it is not the server.
    `bars` and `p95_bars` are recent rates and p95, the oldest first. `rows` are some of the workers, and `more` is the
    number of others that are busy. `doing` counts all workers by what they do. If several hosts carry out the load,
    `hosts` are some of them in place of workers, `more` is the number of the others, `states` counts all of them by
    state, and the CPU use is that of all of them in the last interval.
    """

    target: str
    load: str
    done: float
    elapsed: float
    seconds: float
    to_do: str | None
    running: int
    planned: int
    peak: int
    whole: Row
    interval: Row | None
    steps: tuple[Row, ...]
    rate: float
    offered: float | None
    bars: tuple[float, ...]
    latency: Latency | None
    p95_bars: tuple[float | None, ...]
    errors: tuple[tuple[str, int], ...]
    late: tuple[tuple[str, int], ...] | None
    limit: str | None
    limited: bool
    driver_cpu: float
    client_cpu: float
    cores: float
    rows: tuple[WorkerRow, ...]
    more: int
    doing: tuple[tuple[str, int], ...]
    hosts: tuple[HostRow, ...] = ()
    states: tuple[tuple[str, int], ...] = ()


class _Reading(NamedTuple):
    """The totals at one moment: pulls, CPU seconds of driver and clients, and late pulls. `at` is monotonic."""

    at: float
    pulled: int
    driver_cpu: float
    client_cpu: float
    late_no_worker: int
    late_machine: int


class Watch:
    """Reads the counters of a run from another thread. It takes no lock and changes nothing."""

    def __init__(self, run: Run, plan: Plan) -> None:
        self.run = run
        self._plan = plan
        self._target, self._load = about(run, plan)
        self._cores = cores()
        self._readings: deque[_Reading] = deque([self._reading()])
        self._bars: deque[float] = deque(maxlen=_MOST_BARS)
        self._p95_bars: deque[float | None] = deque(maxlen=_MOST_BARS)
        self._bar_began, self._bar_pulled = self._readings[0][:2]
        waits = run.tally.schedule is not None or run.settings.herd
        self._doings = Doings(run.workers, self._bar_began, waits=waits)
        self._latency: Latency | None = None
        self._latency_at = 0.0
        self._whole_latency: Latency | None = None
        self._samples = 0

    def snapshot(self, *, rows: int, steps: int) -> Snapshot:
        """Returns the run now, with at most `rows` of its workers or hosts, and `steps` of its steps."""
        now = self._reading()
        before = self._reading_before(now)
        seconds = max(now.at - before.at, 1e-3)
        self._doings.look(now.at)
        latency = self._recent_latency(now.at)
        hosts, more_hosts = host_rows(self.run.hosts, now.at, rows)
        self._draw_bars(now.at, now.pulled)
        slow = max(SLOW_SECONDS, (latency.p95 or 0.0) / 1000) if latency else SLOW_SECONDS
        tally, driver = self.run.tally, self.run.driver
        running, planned = (driver.running, driver.planned) if driver else (0, 0)
        shown, more = self._doings.rows(tally.workers, now.at, rows, slow)
        last = tally.samples[-1] if tally.samples else None
        driver_cpu, client_cpu, allowed = self._cpu(now, before, last)
        limited_by = self._limited_by(last, driver_cpu + client_cpu)
        outage = outage_now(tally.samples, now.pulled, self._second(now.at))
        late = now.late_no_worker - before.late_no_worker, now.late_machine - before.late_machine
        limit = outage.told_so_far() if outage else self._limit(last, limited_by, late)
        return Snapshot(
            target=self._target,
            load=self._load,
            done=share_done(self._plan, self._second(now.at), tally.attempts),
            elapsed=self._second(now.at),
            seconds=last.seconds if last else self.run.settings.tally_seconds,
            to_do=None
            if running and not planned
            else to_do(self._plan, self._second(now.at), tally.attempts),
            running=running,
            planned=planned,
            peak=len(self.run.workers) or len(self.run.image_sets),
            whole=self._whole(now, ending=not planned),
            interval=interval_row("last interval", last, tally) if last else None,
            steps=tuple(map(step_row, recent(tuple(tally.steps), steps))),
            rate=self._rate_of_hosts() if self.run.hosts else (now.pulled - before.pulled) / seconds,
            offered=self._offered(before.at, now.at) if planned else None,
            bars=tuple(self._bars),
            latency=latency,
            p95_bars=tuple(self._p95_bars),
            errors=tuple(tally.errors.most_common()),
            late=self._late(),
            limit=limit,
            limited=outage is not None or limited_by is not None or any(late),
            driver_cpu=driver_cpu,
            client_cpu=client_cpu,
            cores=allowed,
            rows=shown,
            more=more + more_hosts,
            doing=self._doings.counts(),
            hosts=hosts,
            states=states(self.run.hosts),
        )

    def _whole(self, now: _Reading, *, ending: bool) -> Row:
        """Returns the figures of the run so far. Its rate covers the planned time, its latency all closed intervals."""
        tally, seconds = self.run.tally, self._second(now.at)
        if len(tally.samples) != self._samples:
            self._samples = len(tally.samples)
            self._whole_latency = tally.latencies.result()
        return Row(
            name="whole run",
            rate=tally.rate if ending else tally.rate_until(seconds),
            offered=None,
            pulled=now.pulled,
            failed=tally.failed,
            retried=tally.retried,
            latency=self._whole_latency or self._latency,
        )

    def _limited_by(self, last: Sample | None, cpu: float) -> str | None:
        """Returns what else than the server is the limit now: by the CPU use of the moment, or the last interval."""
        if not self.run.hosts and cpu >= CLIENT_LIMITED * self._cores:
            return CLIENT
        return last.limited_by if last else None

    def _cpu(self, now: _Reading, before: _Reading, last: Sample | None) -> tuple[float, float, float]:
        """Returns the CPU use of driver and clients, in cores, and how many cores they may use.

        Of several hosts, only that of the last interval is known.
        """
        if self.run.hosts:
            if last is None or last.seconds <= 0:
                return 0.0, 0.0, 0.0
            return last.driver_cpu_seconds / last.seconds, last.client_cpu_seconds / last.seconds, last.cores
        seconds = max(now.at - before.at, 1e-3)
        driver, clients = now.driver_cpu - before.driver_cpu, now.client_cpu - before.client_cpu
        return max(0.0, driver) / seconds, max(0.0, clients) / seconds, self._cores

    def _rate_of_hosts(self) -> float:
        return sum(host.rate for host in self.run.hosts)

    def _limit(self, last: Sample | None, limited_by: str | None, late: tuple[int, int]) -> str | None:
        """Returns what limits the rate now; None before the first interval ends, as nothing is known."""
        return limit_now(self.run, last, limited_by, late) if last else None

    def _reading(self) -> _Reading:
        tally, driver = self.run.tally, self.run.driver
        used = driver.client_cpu_seconds if driver else tally.client_cpu_seconds
        return _Reading(
            at=monotonic(),
            pulled=tally.pulled,
            driver_cpu=own_seconds(),
            client_cpu=used,
            late_no_worker=tally.late_no_worker,
            late_machine=tally.late_machine,
        )

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
        return None if schedule is None else schedule.offered(max(start, 0.0), end)

    def _late(self) -> tuple[tuple[str, int], ...] | None:
        tally = self.run.tally
        if tally.schedule is None:
            return None
        return (NO_WORKER, tally.late_no_worker), (MACHINE, tally.late_machine)

    def _draw_bars(self, now: float, pulled: int) -> None:
        """Adds the bars that are over. If several are, they share their pulls evenly."""
        over = int((now - self._bar_began) / BAR_SECONDS)
        if over:
            # hosts report all pulls of some seconds together, which the bars would show as peaks
            hosts = self.run.hosts
            rate = self._rate_of_hosts() if hosts else (pulled - self._bar_pulled) / (over * BAR_SECONDS)
            self._bars.extend([rate] * min(over, _MOST_BARS))
            p95 = self._latency.p95 if self._latency and pulled > self._bar_pulled else None
            self._p95_bars.extend([p95] * min(over, _MOST_BARS))
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
