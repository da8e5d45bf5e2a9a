"""Walking through a plan in simulated time, with workers that pull nothing."""

from __future__ import annotations

from itertools import pairwise
from signal import SIGTERM

import pytest

from lib.latency import Latency
from lib.load.curve import Rate
from lib.load.pace import Schedule
from lib.load.passes import plan_passes
from lib.load.plan import Plan
from lib.load.ramp import plan_ramp, plan_schedule
from lib.load.stages import parse_stages, plan_stages
from lib.load.tally import OnPiece, Tally
from lib.load.worker import Worker
from lib.outcomes import FAILED
from tests.support.simulated import Simulation


def test_a_ramp_of_two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulls of a sixteenth of a second, all through steps of four tenths."""
    ramp = Simulation(monkeypatch, plan_ramp(2, 0.4), tally=0.25)
    ramp.drive()
    assert [(each.step.workers, each.step.direction) for each in ramp.tally.steps] == [
        (1, "up"), (2, "up"), (2, "down"), (1, "down"),
    ]  # fmt: skip
    assert [each.workers for each in ramp.tally.samples] == [1, 2, 2, 2, 1, 1, 1]
    assert ramp.driver.elapsed == pytest.approx(1.625)  # the pull that runs at the end is the 26th
    assert [each.pulled for each in ramp.tally.workers] == [26, 13]
    assert [each.pulled for each in ramp.tally.steps] == [6, 12, 13, 7]
    drain = ramp.tally.drain
    assert drain is not None
    assert drain.seconds == pytest.approx(0.025)
    assert (drain.pulled, drain.failed) == (1, 0)
    # 16 per second and worker, on both sides of the peak; the stopped worker finishes a pull in the last step
    assert [each.rate for each in ramp.tally.steps] == pytest.approx([16.0, 32.0, 32.0, 16.5])
    assert ramp.tally.rate == pytest.approx(38 / 1.6)


def test_what_ends_after_the_plan_is_the_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pull of half a minute runs past the end of a plan of two seconds, and changes no rate."""
    ramp = Simulation(monkeypatch, plan_ramp(1, 1.0), pull=0.1, tally=0.5)
    ramp.time.after(1.85, lambda: setattr(ramp.workers[0], "seconds", 30.0))
    ramp.drive()
    assert [each.seconds for each in ramp.tally.samples] == pytest.approx([0.5] * 4)
    assert [each.seconds for each in ramp.tally.steps] == pytest.approx([1.0, 1.0])
    drain = ramp.tally.drain
    assert drain is not None
    assert drain.seconds == pytest.approx(29.9)
    assert (drain.pulled, drain.failed, ramp.tally.pulled) == (1, 0, 20)
    assert ramp.tally.rate == pytest.approx(19 / 2)
    line = ramp.samples[-1]
    assert line.pulled == 1
    assert line.seconds == pytest.approx(29.9)


def test_the_time_that_workers_spend_on_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the planned end: the second worker runs for a half of it, and prunes half a second of that."""
    ramp = Simulation(monkeypatch, plan_ramp(2, 1.0), pull=0.1, tally=0.5)
    ramp.drive()
    began = ramp.driver.began
    for worker in ramp.workers:
        worker.pruning = []
    ramp.workers[1].pruning += [(began + 1.5, began + 2.0)]
    ramp.workers[0].pruning += [(began + 3.75, began + 9.0)]
    pruning, running = ramp.driver.worker_seconds()
    assert pruning == pytest.approx(0.5 + 0.25)
    assert running == pytest.approx(4.0 + 2.0, abs=0.11)


def test_a_run_without_pulls_after_its_end_has_no_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Simulation(monkeypatch, plan_passes([2, 2], 3, None), pull=0.1, tally=0.25)
    work.drive()
    assert (work.tally.drain, work.tally.pulled) == (None, 12)
    assert work.tally.planned_seconds == pytest.approx(0.6)
    assert work.samples == work.tally.samples


def test_events_count_in_the_interval_in_which_they_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(2, 0.3), tally=0.1, pull=0.017)
    ramp.drive()
    edges = [0.0]
    for sample in ramp.samples:
        edges.append(edges[-1] + sample.seconds)
    for sample, (start, end) in zip(ramp.samples, pairwise(edges), strict=True):
        ended = [event.ended - ramp.driver.began for event in ramp.events]
        assert sample.pulled == sum(1 for at in ended if start < at <= end)


def test_the_last_interval_ends_with_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(1, 0.2), pull=0.7, tally=0.15)
    ramp.drive()
    assert ramp.tally.pulled == 1
    assert [each.pulled for each in ramp.samples] == [0, 0, 0, 1]
    assert [each.seconds for each in ramp.samples] == pytest.approx([0.15, 0.15, 0.1, 0.3])
    assert [each.pulled for each in ramp.tally.steps] == [0, 0]
    assert [each.rate for each in ramp.tally.steps] == pytest.approx([1 / 0.7, 1 / 0.7])


def test_clients_that_still_run_at_an_intervals_end_count_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(1, 0.25), pull=0.6, tally=0.2)
    ramp.running_cpu = 0.05
    ramp.drive()
    assert [sample.client_cpu_seconds for sample in ramp.tally.samples] == pytest.approx([0.05, 0.0, 0.0])


def test_a_driver_that_was_held_up_catches_up_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(3, 0.2), pull=0.01, tally=0.1)
    start = ramp.driver._start

    def held_up(worker: Worker) -> None:
        start(worker)
        ramp.time.advance(0.45)  # over two steps

    ramp.driver._start = held_up  # type: ignore[method-assign]
    ramp.drive()
    assert [each.step.workers for each in ramp.tally.steps] == [1, 2, 3, 3, 2, 1]
    ended = [event.ended - ramp.driver.began for event in ramp.events]
    for each in ramp.tally.steps[:-1]:
        assert each.pulled == sum(1 for at in ended if each.step.start < at <= each.step.end)


def test_rounding_adds_no_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six times 0.15 is a little less than twice 0.45."""
    ramp = Simulation(monkeypatch, plan_ramp(1, 0.45), tally=0.15)
    ramp.drive()
    assert len(ramp.tally.samples) == 6


def noting(places: list[tuple[float, str]]) -> OnPiece:
    """Notes where each piece ends, and what ends with it."""
    return lambda piece, place, _: places.append((piece.end, place.ends))


@pytest.mark.parametrize("beat", [0.1, 0.15, 0.3, 0.7, 2.0])
def test_beats_cut_pieces_and_change_nothing_else(monkeypatch: pytest.MonkeyPatch, beat: float) -> None:
    """None of them coincides with the end of an interval or step, and none comes after the planned end."""
    ended: list[list[tuple[float, str]]] = []
    tallies = []
    for seconds in (None, beat):
        ramp = Simulation(monkeypatch, plan_ramp(2, 0.45), pull=0.04, tally=0.3, beat=seconds)
        places: list[tuple[float, str]] = []
        ended.append(places)
        ramp.tally.on_piece = noting(places)
        ramp.drive()
        tallies.append(ramp.tally)
    without, with_beats = ended
    assert [each for each in with_beats if each[1] != "beat"] == without
    others = [at for at, ends in without if ends != "load"]
    wanted = [
        k * beat for k in range(1, 100) if k * beat < 1.8 and all(abs(k * beat - at) > 1e-6 for at in others)
    ]
    assert [at for at, ends in with_beats if ends == "beat"] == pytest.approx(wanted)
    assert with_beats == sorted(with_beats, key=lambda each: each[0])
    one, other = map(figures, tallies)
    assert one == other


def figures(tally: Tally) -> tuple[object, ...]:
    """Those that beats must not change. Means may be rounded otherwise."""
    return (
        tally.totals,
        [(each.at, each.seconds, each.workers, each.pulled, told(each.latency)) for each in tally.samples],
        [
            (each.step, each.seconds, each.pulled, round(each.rate, 9), told(each.latency))
            for each in tally.steps
        ],
        tally.drain,
        told(tally.latencies.result()),
    )


def told(latency: Latency | None) -> object:
    return None if latency is None else (latency.count, latency.p50, latency.max, round(latency.mean, 9))


def test_beats_end_with_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Simulation(monkeypatch, plan_passes([2, 2], 1000, None), pull=0.1, tally=10.0, beat=0.5)
    ends: list[float] = []
    work.tally.on_piece = lambda piece, *_: ends.append(piece.end)
    work.time.after(1.25, lambda: work.stop.request(SIGTERM))
    work.drive()
    assert ends == pytest.approx([0.5, 1.0, 1.25, 1.25, 1.3])


def test_a_stop_while_many_workers_start_keeps_the_others_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ramp = Simulation(monkeypatch, plan_schedule(5, 0.3, Rate(5, 5)), tally=0.1)
    start = ramp.workers[1].start

    def start_and_stop() -> None:
        start()
        ramp.stop.request(SIGTERM)

    ramp.workers[1].start = start_and_stop  # type: ignore[method-assign]
    ramp.drive()
    assert len(ramp.driver._spans) == 2


def test_by_a_schedule_all_workers_run_from_the_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_schedule(2, 0.3, Rate(20, 20)), tally=0.25)
    ramp.drive()
    assert [sample.workers for sample in ramp.tally.samples] == [2] * 5
    assert [each.step.workers for each in ramp.tally.steps] == [2] * 4


@pytest.mark.parametrize(
    ("plan", "sloped"),
    [
        (
            plan_stages(parse_stages("--stage", ["0.3:20/s", "0.7:20/s", "0.1:0/s", "0.2:0/s"]), 2),
            [True, False, True, False],
        ),
        (plan_schedule(1, 0.3, Rate(20, 10)), [True, True]),
        (plan_schedule(1, 0.3, Rate(20, 20)), [False, False]),
        (plan_ramp(1, 0.3), [False, False]),
    ],
)
def test_steps_know_whether_the_schedule_changes_in_them(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, sloped: list[bool]
) -> None:
    ramp = Simulation(monkeypatch, plan, tally=0.25)
    ramp.tally.schedule = Schedule(plan.curve) if plan.curve else None
    ramp.drive()
    assert [each.shares.sloped for each in ramp.tally.steps] == sloped


def test_a_tally_longer_than_the_test_gives_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(1, 0.1), tally=60)
    ramp.drive()
    assert len(ramp.tally.samples) == 1


def in_a_while(seconds: float, ramp: Simulation, signals: int = 1) -> None:
    """Ask for a stop, as a signal would."""

    def ask() -> None:
        for _ in range(signals):
            ramp.stop.request(SIGTERM)

    ramp.time.after(seconds, ask)


def test_a_stop_lets_pulls_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(2, 0.1), pull=0.3)
    in_a_while(0.15, ramp)
    ramp.drive()
    assert (ramp.tally.pulled, ramp.tally.interrupted) == (2, 0)
    assert [each.step.workers for each in ramp.tally.steps] == [1, 2]
    assert ramp.driver.elapsed == pytest.approx(0.4)


@pytest.mark.parametrize(("grace", "signals", "elapsed"), [(0.1, 1, 0.35), (60.0, 2, 0.25)])
def test_after_the_grace_or_a_second_signal_pulls_are_interrupted(
    monkeypatch: pytest.MonkeyPatch, grace: float, signals: int, elapsed: float
) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(2, 0.1), pull=30, grace=grace)
    in_a_while(0.25, ramp, signals)
    ramp.drive()
    assert (ramp.tally.pulled, ramp.tally.failed, ramp.tally.interrupted) == (0, 0, 2)
    assert ramp.driver.elapsed == pytest.approx(elapsed)


def test_a_hopeless_beginning_ends_the_run_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(2, 5), outcome=FAILED)
    ramp.drive()
    assert (
        ramp.driver.hopeless == "none of the first 10 pulls succeeded: refused: nobody there "
        "(to find the cause, run ocidriver doctor; to continue regardless, use --keep-going)"
    )
    assert 10 <= ramp.tally.failed <= 12
    assert ramp.driver.elapsed < 3


def test_keep_going_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(1, 5), outcome=FAILED, keep_going=True)
    ramp.drive()
    assert ramp.driver.hopeless is None
    assert ramp.tally.failed == 161  # two steps of 80, and the one that runs at the end


def test_a_fault_of_a_worker_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = Simulation(monkeypatch, plan_ramp(1, 60))
    worker = ramp.workers[0]

    def broken() -> None:
        worker.error = ZeroDivisionError("broken")
        ramp.driver.worker_ended(worker)

    worker.start = broken  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        ramp.drive()
    assert ramp.driver.elapsed < 1


@pytest.mark.parametrize("at_once", [False, True])
def test_a_worker_that_cannot_be_started_ends_the_run_with_its_accounts_in_order(
    monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    plan = plan_schedule(3, 0.2, Rate(5, 5)) if at_once else plan_ramp(3, 0.2)
    ramp = Simulation(monkeypatch, plan, pull=0.01, tally=0.1)

    def no_thread() -> None:
        ramp.time.advance(0.1)  # until the first has pulled something
        raise RuntimeError("can't start new thread")

    ramp.workers[1].start = no_thread  # type: ignore[method-assign]
    ramp.drive()
    assert len(ramp.driver._spans) == 1
    assert ramp.driver.hopeless is not None
    assert ramp.driver.hopeless.startswith("cannot start worker 1: can't start new thread; raise the limit")
    assert ramp.tally.pulled > 0
