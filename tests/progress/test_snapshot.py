"""What is told of a run that goes on, before any of it is drawn: the counters read, the workers chosen, plain lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import cast

import pytest

from lib.http.address import parse_endpoint
from lib.images import Image, ImageSet
from lib.latency import Latency
from lib.load.closed import Sample
from lib.load.counts import WorkerTally
from lib.load.curve import Curve, Rate
from lib.load.driver import Driver
from lib.load.event import PULL, Event
from lib.load.pace import Schedule
from lib.load.passes import plan_passes
from lib.load.ramp import plan_ramp
from lib.load.tally import Tally
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

    @property
    def number(self) -> int:
        return self.index


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
        pullthrough=parse_endpoint("--pullthrough-url", "cache:8080"), dry_run=False, prune=False, herd=False,
        tally_seconds=15.0, rate=None,
    )  # fmt: skip
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
        run.own_tally.add(event(0, 0.010))
    run.own_tally.add(event(1, 0.010, Failure("not-found", "gone"))._replace(retries=2))
    run.driver = cast(Driver, Driving(1, 1, client_cpu_seconds=15.5))
    clock.now += 2.0
    seen = watch.snapshot(rows=3, steps=3)
    assert (seen.whole.pulled, seen.whole.failed, seen.whole.retried) == (30, 1, 2)
    assert (seen.whole.rate, seen.elapsed) == (15, 2.0)
    assert seen.errors == (("not-found", 1),)
    assert (seen.running, seen.planned, seen.peak, seen.more) == (1, 1, 3, 0)
    assert seen.doing == ((PULLING, 1), (WAITING, 1), (STOPPED, 1))
    assert seen.to_do == "0:58 left"
    assert seen.done == pytest.approx(2 / 60)
    assert seen.target == "cache:8080 in a dry run"
    assert seen.load == "ramp of 6 steps of 10s, 1m in all, up to 3 workers"
    assert seen.rate == 15
    assert seen.offered is None
    assert seen.client_cpu == pytest.approx(15.5 / 2)
    assert seen.latency is not None
    assert 9.9 < seen.latency.p50 < 10.1
    assert (seen.interval, seen.steps, seen.seconds) == (None, (), 15.0)
    (first,) = seen.rows  # a worker that waits or has stopped has no line
    assert (first.pass_number, first.pulled, first.failed) == (5, 30, 0)
    assert first.name.isprintable()
    assert first.pattern.isprintable()


def test_workers_that_are_to_end_have_nothing_left_to_do(clock: Clock) -> None:
    run = run_of(Doing(PULLING, 1, IMAGE))
    run.own_tally.add(event(0, 0.010))
    for plan, to_do, done in (
        (plan_ramp(1, 10.0), "0:20 left", 0.0),
        (plan_passes([12], 3, None), "1 of 36 pulls done", 1 / 36),
    ):
        watch = Watch(run, plan)
        run.driver = cast(Driver, Driving(running=1, planned=0))
        assert watch.snapshot(rows=1, steps=1).to_do is None
        run.driver = cast(Driver, Driving(running=0, planned=0))
        assert watch.snapshot(rows=1, steps=1).to_do == to_do
        assert watch.snapshot(rows=1, steps=1).done == pytest.approx(done)


def test_a_schedules_rate_is_told(clock: Clock) -> None:
    schedule = Schedule(Curve(((Rate(40.0, 40.0), 10.0),)))
    run = run_of(Doing(WAITING), schedule=schedule)
    watch = Watch(run, plan_ramp(1, 5.0))
    clock.now += 3.0
    assert watch.snapshot(rows=1, steps=1).offered == pytest.approx(40.0)


@pytest.fixture
def doing() -> list[Doing]:
    """Of thirty workers 5 to 9 have stopped, 20 to 29 have not begun; all others pull."""
    what = [STOPPED if 5 <= k < 10 else WAITING if k >= 20 else PULLING for k in range(30)]
    return [Doing(each, 0 if each == WAITING else 1, IMAGE) for each in what]


def test_all_busy_workers_that_fit_are_shown(doing: list[Doing]) -> None:
    doings = Doings(standing(*doing), 0.0)
    rows, more = doings.rows([WorkerTally()] * 30, 1.0, 30, 5.0)
    assert [row.index for row in rows] == [*range(5), *range(10, 20)]  # no line for those that do nothing
    assert more == 0
    assert doings.counts() == ((PULLING, 15), (WAITING, 10), (STOPPED, 5))


def test_of_many_workers_those_that_tell_something_are_shown(doing: list[Doing]) -> None:
    counts = [WorkerTally() for _ in range(30)]
    doings = Doings(standing(*doing), 0.0)
    counts[7].failed, counts[18].failed, counts[19].failed = 1, 9, 8
    rows, more = doings.rows(counts, 1.0, 4, 5.0)
    assert [row.index for row in rows] == [0, 1, 18, 19]
    assert more == 11
    assert doings.rows(counts, 1.0, 0, 5.0) == ((), 15)


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


def test_workers_that_wait_between_pulls_have_a_line_only_for_long_pulls() -> None:
    """Their lines would come and go with each drawing."""
    workers = standing(Doing(WAITING, 3), Doing(PULLING, 3, IMAGE), Doing(PULLING, 4, IMAGE))
    doings = Doings(workers, 0.0, waits=True)
    workers[1].doing = Doing(PULLING, 4, IMAGE)
    doings.look(10.0)
    rows, more = doings.rows([WorkerTally()] * 3, 10.5, 5, 60.0)
    assert ([row.index for row in rows], more) == ([2], 0)
    assert doings.counts() == ((PULLING, 2), (WAITING, 1))


def test_the_last_interval_and_the_steps_are_apart_from_the_whole_run(clock: Clock) -> None:
    run = run_of(Doing(PULLING, 1, IMAGE))
    plan = plan_ramp(2, 10.0)
    watch = Watch(run, plan)
    for at, pulls in ((10.0, 40), (20.0, 20)):
        for _ in range(pulls):
            run.own_tally.add(event(0, 0.010 if at == 10.0 else 0.100)._replace(retries=1))
        run.own_tally.close_sample(at, 1)
        run.own_tally.close_step(at, plan.steps[int(at / 10) - 1])
    run.own_tally.add(event(0, 0.010))
    clock.now += 20.0
    seen = watch.snapshot(rows=1, steps=5)
    assert seen.interval is not None
    assert seen.interval.name == "last interval"
    assert (seen.interval.rate, seen.interval.pulled, seen.interval.retried) == (2.0, 20, 20)
    assert (seen.whole.rate, seen.whole.pulled, seen.whole.retried) == (61 / 20, 61, 60)
    assert [each and round(each.p50) for each in (seen.interval.latency, seen.whole.latency)] == [100, 10]
    assert [(each.name, each.pulled, each.retried) for each in seen.steps] == [
        ("↑ 1 worker", 40, 40),
        ("↑ 2 workers", 20, 20),
    ]
    assert watch.snapshot(rows=1, steps=0).steps == ()


def test_an_outage_that_goes_on_is_what_limits(clock: Clock) -> None:
    run = run_of(Doing(PULLING, 1, IMAGE))
    watch = Watch(run, plan_ramp(1, 60.0))
    assert (watch.snapshot(rows=1, steps=1).limit, watch.snapshot(rows=1, steps=1).limited) == (None, False)
    run.own_tally.add(event(0, 0.010))
    run.own_tally.close_sample(15.0, 1)
    clock.now += 15.0
    seen = watch.snapshot(rows=1, steps=1)
    assert seen.limit is not None
    assert "no pull has succeeded" not in seen.limit
    assert not seen.limited
    for _ in range(3):
        run.own_tally.add(event(0, 0.010, Failure("refused", "no")))
    run.own_tally.close_sample(30.0, 1)
    clock.now += 15.0
    seen = watch.snapshot(rows=1, steps=1)
    assert seen.limit is not None
    assert re.fullmatch(r"since \d\d:\d\d:\d\d, no pull has succeeded: refused \(3\)", seen.limit)
    assert seen.limited
    run.own_tally.add(event(0, 0.010))
    seen = watch.snapshot(rows=1, steps=1)
    assert seen.limit is not None
    assert "no pull has succeeded" not in seen.limit
    assert not seen.limited


def test_what_limits_now_is_of_now(clock: Clock) -> None:
    """Late pulls of long ago are in the counts, but they do not limit the rate any more."""
    schedule = Schedule(Curve(((Rate(40.0, 40.0), 60.0),)))
    run = run_of(Doing(WAITING), schedule=schedule)
    watch = Watch(run, plan_ramp(1, 60.0))
    assert watch.snapshot(rows=1, steps=1).limit is None  # no interval is over
    run.own_tally.add(event(0, 0.010)._replace(late="no-worker"))
    run.own_tally.close_sample(2.0, 1)
    clock.now += 2.0
    seen = watch.snapshot(rows=1, steps=1)
    assert seen.limit is not None
    assert seen.limit.startswith("all workers were busy: 1 pull started late")
    assert seen.limited
    for _ in range(4):
        clock.now += 3.0
        seen = watch.snapshot(rows=1, steps=1)
    assert seen.limit is not None
    assert "busy:" not in seen.limit
    assert not seen.limited
    assert seen.late == (("no-worker", 1), ("machine", 0))
    run.driver = cast(Driver, Driving(1, 1, client_cpu_seconds=1e6))
    clock.now += 1.0
    assert "driver and clients" in str(watch.snapshot(rows=1, steps=1).limit)


def test_a_dry_run_is_limited_by_nothing(clock: Clock) -> None:
    run = run_of(Doing(WAITING))
    cast(SimpleNamespace, run.settings).dry_run = True
    watch = Watch(run, plan_ramp(1, 60.0))
    run.own_tally.add(event(0, 0.010))
    run.own_tally.close_sample(2.0, 1)
    clock.now += 2.0
    assert str(watch.snapshot(rows=1, steps=1).limit).startswith("dry run: nothing was pulled")


def test_plain_words() -> None:
    plan = plan_ramp(2, 10.0)
    sample = Sample(10.0, 5.0, 1, 450, 3, LATENCY)
    errors = [("not-found", 2), ("timeout", 1)]
    assert (
        plain_line(sample, plan, 453, errors, 36)
        == "0:30 left, workers 1/1, 90 pulls/s, p95 50.1 ms, errors: 2 not-found, 1 timeout, 36 retried"
    )
    limited = Sample(10.0, 5.0, 1, 450, 0, LATENCY, 0.5, 4.0)
    assert plain_line(limited, plan, 453, [], 0).endswith("errors: none, 0 retried, limited by the client")
    nothing = Sample(41.0, 5.0, 0, 0, 0, None)
    assert (
        plain_line(nothing, plan, 453, [], None)
        == "0:00 left, workers 0/0, 0 pulls/s, p95 -, errors: none, retries unknown"
    )
    work = plan_passes([200, 200], 3, None)
    assert plain_line(sample, work, 453, [], 0).startswith("453 of 1,200 pulls done, workers 1/2, 90 pulls/s")
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
