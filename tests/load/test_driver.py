"""Walking the ramp with workers that pull nothing but time."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from signal import SIGTERM

import pytest

from lib.images import Image, ImageSet
from lib.load.driver import Clients, Driver, Reports, Rules
from lib.load.event import Event
from lib.load.pace import Closed, Rate
from lib.load.plan import Plan
from lib.load.pull import Pulled
from lib.load.ramp import plan_ramp, plan_schedule
from lib.load.tally import Sample, Tally
from lib.load.worker import Work, Worker
from lib.outcomes import FAILED, INTERRUPTED, OK, Failure
from lib.processes.signals import Stop


class Sleeper:
    """Pulls by sleeping; `kill` ends the sleep, as the launcher ends a client."""

    def __init__(self, seconds: float, outcome: str = OK) -> None:
        self.seconds = seconds
        self.outcome = outcome
        self.killed = False
        self.running_cpu = 0.0

    def kill(self) -> None:
        self.killed = True

    def pull(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pulled]:
        started = time.monotonic()
        outcome = self.outcome
        while time.monotonic() < started + self.seconds and outcome != INTERRUPTED:
            time.sleep(0.001)
            outcome = INTERRUPTED if self.killed else outcome
        failure = Failure("refused", "nobody there") if outcome == FAILED else None
        for image in images:
            yield Pulled(image, outcome, started, time.monotonic() - started, 1, 0, failure)


class Ramp:
    """A driver with its workers and all that came of them."""

    def __init__(
        self,
        sleeper: Sleeper,
        workers: int,
        seconds: float,
        tally: float,
        *,
        grace: float = 5.0,
        keep_going: bool = False,
        plan: Plan | None = None,
    ) -> None:
        self.samples: list[Sample] = []
        self.events: list[Event] = []
        self.log: list[str] = []
        self.stop = Stop()
        self.tally = Tally(workers, retries_known=True, on_sample=self.samples.append)
        self.driver = Driver(
            plan or plan_ramp(workers, seconds),
            self.tally,
            self.stop,
            Rules(tally_seconds=tally, grace=grace, keep_going=keep_going),
            Clients(kill=sleeper.kill, running_cpu=lambda: sleeper.running_cpu),
            Reports(observe=self.events.append, log=self.log.append, caution=self.log.append),
        )
        images = ImageSet("p", (Image("a", "1"), Image("b", "1")))
        work = Work(puller=sleeper, pruner=None, pace=Closed(), passes=plan.passes if plan else None)
        self.workers = [
            Worker(k, images, work, self.driver, scratch=Path(), random=None) for k in range(workers)
        ]

    def drive(self) -> None:
        self.driver.drive(self.workers)

    def check_sums(self) -> None:
        pulled = self.tally.pulled
        assert sum(each.pulled for each in self.samples) == pulled
        assert sum(each.pulled for each in self.tally.steps) == pulled
        assert sum(each.pulled for each in self.tally.workers) == pulled
        assert sum(each.seconds for each in self.samples) == pytest.approx(self.driver.elapsed)
        assert sum(each.seconds for each in self.tally.steps) == pytest.approx(self.driver.elapsed)
        assert len(self.events) == self.tally.attempts


def test_a_ramp_of_two_workers() -> None:
    ramp = Ramp(Sleeper(0.01), 2, 0.4, 0.25)
    ramp.drive()
    assert [(each.step.workers, each.step.direction) for each in ramp.tally.steps] == [
        (1, "up"), (2, "up"), (2, "down"), (1, "down"),
    ]  # fmt: skip
    assert [each.workers for each in ramp.samples] == [1, 2, 2, 2, 1, 1, 1]
    assert ramp.driver.elapsed == pytest.approx(1.6, abs=0.5)
    assert ramp.tally.pulled > 20
    ramp.check_sums()


def test_events_count_in_the_interval_in_which_they_ended() -> None:
    ramp = Ramp(Sleeper(0.01), 2, 0.3, 0.1)
    ramp.drive()
    edges = [0.0]
    for sample in ramp.samples:
        edges.append(edges[-1] + sample.seconds)
    for sample, (start, end) in zip(ramp.samples, pairwise(edges), strict=True):
        ended = [event.ended - ramp.driver.began for event in ramp.events]
        assert sample.pulled == sum(1 for at in ended if start < at <= end)


def test_the_last_interval_lasts_until_the_last_worker_has_ended() -> None:
    ramp = Ramp(Sleeper(0.7), 1, 0.2, 0.15)
    ramp.drive()
    assert ramp.tally.pulled == 1
    assert [each.pulled for each in ramp.samples] == [0, 0, 1]
    assert ramp.samples[-1].seconds == pytest.approx(0.4, abs=0.2)
    assert [each.pulled for each in ramp.tally.steps] == [0, 1]
    ramp.check_sums()


def test_clients_that_still_run_at_an_intervals_end_count_in_it() -> None:
    sleeper = Sleeper(0.6)
    sleeper.running_cpu = 0.05
    ramp = Ramp(sleeper, 1, 0.25, 0.2)
    ramp.drive()
    assert [sample.client_cpu_seconds for sample in ramp.samples] == pytest.approx([0.05, 0.0, 0.0])


def test_a_driver_that_was_held_up_catches_up_step_by_step() -> None:
    ramp = Ramp(Sleeper(0.01), 3, 0.2, 0.1)
    start = ramp.driver._start

    def held_up(worker: Worker) -> None:
        start(worker)
        time.sleep(0.45)  # over two steps

    ramp.driver._start = held_up  # type: ignore[method-assign]
    ramp.drive()
    assert [each.step.workers for each in ramp.tally.steps] == [1, 2, 3, 3, 2, 1]
    ramp.check_sums()
    ended = [event.ended - ramp.driver.began for event in ramp.events]
    for each in ramp.tally.steps[:-1]:
        assert each.pulled == sum(1 for at in ended if each.step.start < at <= each.step.end)


def test_rounding_adds_no_interval() -> None:
    """Six times 0.15 is a little less than twice 0.45."""
    ramp = Ramp(Sleeper(0.01), 1, 0.45, 0.15)
    ramp.drive()
    assert len(ramp.samples) == 6
    ramp.check_sums()


def test_a_stop_while_many_workers_start_keeps_the_others_from_starting() -> None:
    ramp = Ramp(Sleeper(0.01), 5, 0.3, 0.1, plan=plan_schedule(5, 0.3, Rate(5, 5)))
    start = ramp.workers[1].start

    def start_and_stop() -> None:
        start()
        ramp.stop.request(signal.SIGTERM)

    ramp.workers[1].start = start_and_stop  # type: ignore[method-assign]
    ramp.drive()
    assert sorted(ramp.driver._started) == [0, 1]
    ramp.check_sums()


def test_a_tally_longer_than_the_test_gives_one_sample() -> None:
    ramp = Ramp(Sleeper(0.01), 1, 0.1, 60)
    ramp.drive()
    assert len(ramp.samples) == 1
    ramp.check_sums()


def in_a_while(seconds: float, ramp: Ramp, signals: int = 1) -> None:
    """Ask for a stop from a timer, as a signal would."""
    import threading

    def ask() -> None:
        for _ in range(signals):
            ramp.stop.request(SIGTERM)

    threading.Timer(seconds, ask).start()


def test_a_stop_lets_pulls_finish() -> None:
    ramp = Ramp(Sleeper(0.3), 2, 0.1, 10)
    in_a_while(0.15, ramp)
    ramp.drive()
    assert (ramp.tally.pulled, ramp.tally.interrupted) == (2, 0)
    assert [each.step.workers for each in ramp.tally.steps] == [1, 2]
    ramp.check_sums()


@pytest.mark.parametrize(("grace", "signals"), [(0.1, 1), (60.0, 2)])
def test_after_the_grace_or_a_second_signal_pulls_are_interrupted(grace: float, signals: int) -> None:
    ramp = Ramp(Sleeper(30), 2, 0.1, 10, grace=grace)
    in_a_while(0.25, ramp, signals)
    ramp.drive()
    assert (ramp.tally.pulled, ramp.tally.failed, ramp.tally.interrupted) == (0, 0, 2)
    assert ramp.driver.elapsed < 5
    ramp.check_sums()


def test_a_hopeless_beginning_ends_the_run_with_the_reason() -> None:
    ramp = Ramp(Sleeper(0.005, FAILED), 2, 5, 1)
    ramp.drive()
    assert (
        ramp.driver.hopeless
        == "none of the first 10 pulls succeeded: refused: nobody there (--keep-going goes on regardless)"
    )
    assert 10 <= ramp.tally.failed <= 12
    assert ramp.driver.elapsed < 3


def test_keep_going_goes_on() -> None:
    ramp = Ramp(Sleeper(0.005, FAILED), 1, 0.2, 1, keep_going=True)
    ramp.drive()
    assert ramp.driver.hopeless is None
    assert ramp.tally.failed > 10


def test_a_fault_of_a_worker_ends_the_run() -> None:
    class Broken(Sleeper):
        def pull(
            self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]
        ) -> Iterator[Pulled]:
            raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError):
        Ramp(Broken(0), 1, 0.1, 1).drive()


@pytest.mark.parametrize("at_once", [False, True])
def test_a_worker_that_cannot_be_started_ends_the_run_with_its_accounts_in_order(at_once: bool) -> None:
    plan = plan_schedule(3, 0.2, Rate(5, 5)) if at_once else None
    ramp = Ramp(Sleeper(0.01), 3, 0.2, 0.1, plan=plan)

    def no_thread() -> None:
        time.sleep(0.1)  # until the first has pulled something
        raise RuntimeError("can't start new thread")

    ramp.workers[1].start = no_thread  # type: ignore[method-assign]
    ramp.drive()
    assert sorted(ramp.driver._started) == [0]
    assert ramp.driver.hopeless is not None
    assert ramp.driver.hopeless.startswith("cannot start worker 1: can't start new thread; raise the limit")
    assert ramp.tally.pulled > 0
    ramp.check_sums()
