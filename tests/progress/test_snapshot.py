"""What is told of a run that goes on, before any of it is drawn: the counters read, the workers chosen, plain lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import cast

import pytest

from lib.http.address import parse_endpoint
from lib.images import Image, ImageSet
from lib.latency import Latency
from lib.load.curve import Curve, Rate
from lib.load.driver import Driver
from lib.load.event import PULL, Event
from lib.load.pace import Schedule
from lib.load.passes import plan_passes
from lib.load.ramp import plan_ramp
from lib.load.tally import Sample, Tally, WorkerTally
from lib.load.worker import PRUNING, PULLING, STOPPED, WAITING, Doing, Worker
from lib.options.settings import Settings
from lib.outcomes import FAILED, OK, Failure
from lib.progress import snapshot as snapshots
from lib.progress.choose import wants_live
from lib.progress.plain import duration, plain_line
from lib.progress.snapshot import Watch
from lib.progress.worker_rows import Doings
from lib.results.run_state import Run

IMAGE = Image("ok/app", "1")
START = 1000.0
LATENCY = Latency(count=200, min=1.0, mean=2.0, p50=3.04, p90=4.0, p95=50.06, p99=1234.5, max=9999.0)


@dataclass
class Standing:
    """A worker that does nothing but stand there."""

    index: int
    image_set: ImageSet
    doing: Doing
    passes: int = 4


@dataclass
class Driving:
    """A driver's word on how many workers run and should, and on their clients."""

    running: int
    planned: int
    client_cpu_seconds: float = 0.0


class Clock:
    """The monotonic time that a Watch reads."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(snapshots, "monotonic", made)
    return made


def standing(*doing: Doing) -> tuple[Worker, ...]:
    """Workers whose patterns are hostile."""
    workers = [Standing(k, ImageSet(f"-{k}\x1b[2J", (IMAGE,)), each) for k, each in enumerate(doing)]
    return cast(tuple[Worker, ...], tuple(workers))


def run_of(*doing: Doing, schedule: Schedule | None = None) -> Run:
    tally = Tally(len(doing), retries_known=True, on_sample=lambda _: None, schedule=schedule)
    settings = SimpleNamespace(
        pullthrough=parse_endpoint("--pullthrough-url", "cache:8080"), dry_run=False, prune=False, herd=False
    )
    run = Run(cast(Settings, settings), datetime.now(), tally)
    run.workers = standing(*doing)
    run.driver = cast(Driver, Driving(1, 1))
    run.begin = START
    return run


def event(worker: int, seconds: float, failure: Failure | None = None) -> Event:
    outcome = FAILED if failure else OK
    return Event(PULL, worker, 1, IMAGE, outcome, START, seconds, failure=failure, cpu_seconds=0.5)


def test_a_snapshot_reads_the_counters_and_cleans_names(clock: Clock) -> None:
    hostile = Image("bad\x1b]0;owned\x07", "1\u202e")
    run = run_of(Doing(PULLING, 1, hostile), Doing(STOPPED, 1), Doing(WAITING))
    watch = Watch(run, plan_ramp(3, 10.0))
    for _ in range(30):
        run.tally.add(event(0, 0.010))
    run.tally.add(event(1, 0.010, Failure("not-found", "gone")))
    run.driver = cast(Driver, Driving(1, 1, client_cpu_seconds=15.5))
    clock.now += 2.0
    seen = watch.snapshot(rows=3)
    assert (seen.pulled, seen.failed, seen.errors) == (30, 1, (("not-found", 1),))
    assert (seen.running, seen.planned, seen.peak, seen.rest) == (1, 1, 3, ())
    assert seen.to_do == "0:58 left"
    assert seen.done == pytest.approx(2 / 60)
    assert seen.about == "http://cache:8080, dry run: ramp of 6 steps of 10s, 1m in all, up to 3 workers"
    assert seen.rate == 15
    assert seen.offered is None
    assert seen.client_cpu == pytest.approx(15.5 / 2)
    assert seen.latency is not None
    assert 9.9 < seen.latency.p50 < 10.1
    first, *_ = seen.rows
    assert (first.pass_number, first.pulled, first.failed) == (5, 30, 0)
    assert first.name.isprintable()
    assert first.pattern.isprintable()
    assert [each.pass_number for each in watch.snapshot(rows=3).rows] == [5, 4, 4]


def test_workers_that_are_to_end_have_nothing_left_to_do(clock: Clock) -> None:
    run = run_of(Doing(PULLING, 1, IMAGE))
    run.tally.add(event(0, 0.010))
    for plan, to_do, done in (
        (plan_ramp(1, 10.0), "0:20 left", 0.0),
        (plan_passes([12], 3, None), "1 of 36 pulls done", 1 / 36),
    ):
        watch = Watch(run, plan)
        run.driver = cast(Driver, Driving(running=1, planned=0))
        assert watch.snapshot(rows=1).to_do is None
        run.driver = cast(Driver, Driving(running=0, planned=0))
        assert watch.snapshot(rows=1).to_do == to_do
        assert watch.snapshot(rows=1).done == pytest.approx(done)


def test_a_schedules_rate_is_told(clock: Clock) -> None:
    schedule = Schedule(Curve(((Rate(40.0, 40.0), 10.0),)))
    run = run_of(Doing(WAITING), schedule=schedule)
    watch = Watch(run, plan_ramp(1, 5.0))
    clock.now += 3.0
    assert watch.snapshot(rows=1).offered == pytest.approx(40.0)


@pytest.fixture
def doing() -> list[Doing]:
    """Of thirty workers 5 to 9 have stopped, 20 to 29 have not begun; all others pull."""
    what = [STOPPED if 5 <= k < 10 else WAITING if k >= 20 else PULLING for k in range(30)]
    return [Doing(each, 0 if each == WAITING else 1, IMAGE) for each in what]


def test_all_that_fit_are_shown(doing: list[Doing]) -> None:
    rows, rest = Doings(standing(*doing), 0.0).rows([WorkerTally()] * 30, 1.0, 30, 5.0)
    assert [row.index for row in rows] == list(range(30))
    assert rest == ()


def test_of_many_workers_those_that_tell_something_are_shown(doing: list[Doing]) -> None:
    counts = [WorkerTally() for _ in range(30)]
    doings = Doings(standing(*doing), 0.0)
    rows, rest = doings.rows(counts, 1.0, 20, 5.0)
    assert [row.index for row in rows] == [*range(5), *range(10, 20)]  # no line for those that do nothing
    assert rest == ((STOPPED, 5), (WAITING, 10))
    counts[7].failed, counts[18].failed, counts[19].failed = 1, 9, 8
    rows, rest = doings.rows(counts, 1.0, 4, 5.0)
    assert [row.index for row in rows] == [0, 7, 18, 19]
    assert rest == ((PULLING, 12), (STOPPED, 4), (WAITING, 10))
    rows, rest = doings.rows(counts, 1.0, 0, 5.0)
    assert (rows, rest) == ((), ((PULLING, 15), (STOPPED, 5), (WAITING, 10)))


def test_a_launch_that_lasts_is_shown_and_timed(doing: list[Doing]) -> None:
    workers = standing(*doing)
    doings = Doings(workers, 0.0)
    for worker in workers[:18]:
        worker.doing = Doing(worker.doing.what, worker.doing.number + 1, IMAGE)
    workers[19].doing = Doing(PRUNING, 1)
    doings.look(7.0)
    rows, _ = doings.rows([WorkerTally()] * 30, 8.0, 2, 5.0)
    assert [(row.index, row.seconds) for row in rows] == [(0, None), (18, 8.0)]
    rows, _ = doings.rows([WorkerTally()] * 30, 13.0, 30, 5.0)
    assert {row.index: row.seconds for row in rows if row.seconds} == {
        k: 13.0 if k == 18 else 6.0 for k in (*range(5), *range(10, 20))
    }


def test_by_a_schedule_a_worker_that_waits_for_its_next_pull_runs() -> None:
    rows, rest = Doings(standing(Doing(WAITING), Doing(WAITING, 3)), 0.0).rows(
        [WorkerTally()] * 2, 60.0, 1, 5.0
    )
    assert [(row.index, row.what, row.pass_number, row.seconds) for row in rows] == [(1, WAITING, 5, None)]
    assert rest == ((WAITING, 1),)


def test_plain_words() -> None:
    plan = plan_ramp(2, 10.0)
    sample = Sample(10.0, 5.0, 1, 450, 3, LATENCY)
    errors = [("not-found", 2), ("timeout", 1)]
    assert (
        plain_line(sample, plan, 453, errors)
        == "0:30 left, workers 1/1, 90.00 pulls/s, p95 50.1 ms, errors: 2 not-found, 1 timeout"
    )
    limited = Sample(10.0, 5.0, 1, 450, 0, LATENCY, 0.5, 4.0)
    assert plain_line(limited, plan, 453, []).endswith("errors: none, limited by the client")
    nothing = Sample(41.0, 5.0, 0, 0, 0, None)
    assert plain_line(nothing, plan, 453, []) == "0:00 left, workers 0/0, 0.00 pulls/s, p95 -, errors: none"
    work = plan_passes([200, 200], 3, None)
    assert plain_line(sample, work, 453, []).startswith("453 of 1200 pulls done, workers 1/2, 90.00 pulls/s")
    assert [duration(each) for each in (0, 59.6, 3600)] == ["0:00", "1:00", "1:00:00"]


@pytest.mark.parametrize(
    ("mode", "terminal", "environment", "live"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "xterm", "CI": "true"}, False),
        ("auto", True, {"TERM": "xterm", "CI": "false"}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {}, False),
        ("always", True, {"TERM": "xterm", "CI": "true"}, True),
        ("always", True, {"TERM": "dumb"}, False),
        ("always", False, {"TERM": "xterm"}, False),
        ("never", True, {"TERM": "xterm"}, False),
    ],
)
def test_when_the_view_is_live(mode: str, terminal: bool, environment: dict[str, str], live: bool) -> None:
    assert wants_live(mode, terminal, environment.get) is live
