"""Counting: every Event once, in the interval and the step in which it ended."""

from __future__ import annotations

import pytest

from lib.images import Image
from lib.load.closed import Sample
from lib.load.event import PRUNE, PULL, Event
from lib.load.plan import Step
from lib.load.tally import Tally
from lib.outcomes import FAILED, INTERRUPTED, OK, Failure
from lib.processes.machine import MachineUse

IMAGE = Image("app", "v1")


def pull(
    outcome: str = OK, *, seconds: float = 0.1, first: bool = False, worker: int = 0, retries: int | None = 0
) -> Event:
    failure = Failure("timeout", "too slow") if outcome == FAILED else None
    return Event(PULL, worker, 1, IMAGE, outcome, 0.0, seconds, first, retries, failure, 0.01)


def prune(outcome: str = OK) -> Event:
    failure = Failure("unsupported", "405") if outcome == FAILED else None
    return Event(PRUNE, 0, 1, IMAGE, outcome, 0.0, 0.1, failure=failure)


@pytest.fixture
def samples() -> list[Sample]:
    return []


@pytest.fixture
def tally(samples: list[Sample]) -> Tally:
    return Tally(2, retries_known=True, on_sample=samples.append)


def test_each_outcome_is_counted_once(tally: Tally) -> None:
    for event in (
        pull(),
        pull(worker=1),
        pull(FAILED),
        pull(INTERRUPTED),
        prune(),
        prune(FAILED),
        prune(INTERRUPTED),
    ):
        tally.add(event)
    assert (tally.pulled, tally.failed, tally.interrupted) == (2, 1, 1)
    assert (tally.pruned, tally.prune_failed) == (1, 1)
    assert (dict(tally.errors), dict(tally.prune_errors)) == ({"timeout": 1}, {"unsupported": 1})
    assert tally.attempts == 4
    assert tally.error_rate == pytest.approx(1 / 3)
    assert [(each.pulled, each.failed, each.pruned) for each in tally.workers] == [(1, 1, 1), (1, 0, 0)]
    assert [(each.interrupted, each.prune_failed, each.prune_interrupted) for each in tally.workers] == [
        (1, 1, 1),
        (0, 0, 0),
    ]
    assert tally.examples == {("pull", "timeout"): "too slow", ("prune", "unsupported"): "405"}
    assert tally.client_cpu_seconds == pytest.approx(0.04)


def test_samples_and_steps_each_add_up(tally: Tally, samples: list[Sample]) -> None:
    steps = [Step(1, "up", 0, 3), Step(1, "down", 3, 6)]
    for _ in range(3):
        tally.add(pull())
    tally.close_sample(2.0, 1)
    tally.add(pull(FAILED))
    tally.close_step(3.0, steps[0])
    tally.add(pull())
    tally.close_sample(4.0, 1)
    tally.add(pull())
    tally.close_sample(5.5, 1)
    tally.close_step(5.5, steps[1])
    assert [(each.seconds, each.pulled, each.failed) for each in samples] == [
        (2.0, 3, 0),
        (2.0, 1, 1),
        (1.5, 1, 0),
    ]
    assert [(each.seconds, each.pulled, each.failed) for each in tally.steps] == [(3.0, 3, 1), (2.5, 2, 0)]
    assert sum(each.rate * each.seconds for each in samples) == pytest.approx(tally.pulled)
    total = tally.latencies.result()
    assert total is not None
    assert total.p50 == pytest.approx(100, rel=0.01)


def sized(size: int | None, *, began: float, ended: float) -> Event:
    return pull()._replace(size=size, began=began, ended=ended, seconds=ended - began)


def test_bytes_add_up_and_each_step_has_its_share(tally: Tally, samples: list[Sample]) -> None:
    """One pull lies in both steps, and ends in the second."""
    tally.sized = True
    tally.add(sized(1000, began=0.0, ended=1.0))
    tally.add(pull(FAILED))
    tally.close_sample(2.0, 1)
    tally.close_step(2.0, Step(1, "up", 0, 2))
    tally.add(sized(4000, began=1.0, ended=3.0))
    tally.close_sample(4.0, 1)
    tally.close_step(4.0, Step(1, "down", 2, 4))
    tally.add(sized(50, began=3.0, ended=5.0))
    tally.end(5.0, 0)
    assert [each.bytes for each in samples] == [1000, 4000, 50]
    assert [each.bytes for each in tally.steps] == [1000, 4000]
    assert tally.drain is not None
    assert (tally.bytes, tally.drain.bytes) == (5050, 50)
    assert tally.bytes_per_second == pytest.approx(5000 / 4)
    assert [each.bytes_per_second for each in tally.steps] == pytest.approx([3000 / 2, 2025 / 2])


def test_one_unknown_size_makes_the_sum_unknown_but_not_that_of_other_intervals(
    tally: Tally, samples: list[Sample]
) -> None:
    tally.sized = True
    tally.add(sized(1000, began=0.0, ended=1.0))
    tally.close_sample(1.0, 1)
    tally.close_step(1.0, Step(1, "up", 0, 1))
    tally.add(sized(None, began=1.0, ended=2.0))
    tally.close_sample(2.0, 1)
    tally.close_step(2.0, Step(1, "hold", 1, 2))
    tally.close_sample(3.0, 1)
    tally.close_step(3.0, Step(1, "down", 2, 3))
    assert (tally.bytes, tally.bytes_per_second) == (None, None)
    assert [each.bytes for each in samples] == [1000, None, 0]
    assert [each.bytes_per_second for each in tally.steps] == [1000, None, 0]


def test_without_sizes_there_are_no_bytes(tally: Tally, samples: list[Sample]) -> None:
    tally.close_sample(1.0, 1)
    tally.close_step(1.0, Step(1, "up", 0, 1))
    assert (tally.bytes, tally.bytes_per_second, samples[0].bytes) == (None, None, None)
    assert (tally.steps[0].bytes, tally.steps[0].bytes_per_second) == (None, None)


def test_first_and_repeat_latencies_are_apart(tally: Tally) -> None:
    tally.add(pull(seconds=1.0, first=True))
    tally.add(pull(seconds=0.1))
    tally.close_sample(1.0, 1)
    first, repeat = tally.first.result(), tally.repeat.result()
    assert first is not None
    assert repeat is not None
    assert (first.max, repeat.max) == (1000, 100)


def test_failed_pulls_have_no_latency(tally: Tally, samples: list[Sample]) -> None:
    tally.add(pull(FAILED, seconds=9))
    tally.close_sample(1.0, 1)
    assert samples[0].latency is None


def test_hidden_retries() -> None:
    known, silent = (Tally(1, retries_known=flag, on_sample=lambda _: None) for flag in (True, False))
    known.add(pull(retries=2))
    known.add(pull(FAILED, retries=1))
    silent.add(pull(retries=None))
    assert (known.retried, silent.retried) == (3, None)
    for each in (known, silent):
        each.close_sample(15, 1)
    known.add(pull(retries=1))
    known.close_sample(30, 1)
    assert [each.retried for each in (*known.samples, *silent.samples)] == [3, 1, None]


def test_each_interval_has_its_own_failures_by_class(tally: Tally) -> None:
    for outcome in (FAILED, FAILED, OK):
        tally.add(pull(outcome))
    tally.close_sample(15, 1)
    tally.add(prune(FAILED))
    tally.close_sample(30, 1)
    tally.add(pull(FAILED))
    tally.close_sample(45, 1)
    assert [each.errors for each in tally.samples] == [{"timeout": 2}, {}, {"timeout": 1}]
    assert tally.errors == {"timeout": 3}


@pytest.mark.parametrize(
    ("driver", "clients", "limit"),
    [(0.5, 18.5, "client"), (2.0, 16.0, "client"), (0.5, 17.0, None), (0.0, 0.0, None)],
)
def test_who_is_the_limit_of_an_interval(driver: float, clients: float, limit: str | None) -> None:
    sample = Sample(10.0, 10.0, 4, 100, 0, None, driver, clients, 2.0)
    assert sample.limited_by == limit
    assert Sample(0.0, 0.0, 4, 0, 0, None, 0.0, 0.0, 2.0).limited_by is None


@pytest.mark.parametrize(
    ("use", "limit"),
    [
        (MachineUse(idle=0.5, steal=0.0, pressure=0.9), None),
        (MachineUse(idle=0.03, steal=0.0, pressure=0.9), "machine"),
        (MachineUse(idle=0.5, steal=0.2, pressure=None), "machine"),
        (MachineUse(idle=0.9, steal=0.0, pressure=0.1, throttled=115 / 118), "client"),
        (MachineUse(idle=0.03, steal=0.0, pressure=0.1, throttled=115 / 118), "client"),
        (MachineUse(idle=0.9, steal=0.0, pressure=0.1, throttled=0.1), None),
    ],
)
def test_other_programs_and_a_quota_limit_an_interval(use: MachineUse, limit: str | None) -> None:
    assert Sample(10.0, 10.0, 4, 100, 0, None, 0.5, 1.0, 2.0, use).limited_by == limit


def busy(cpu_seconds: float) -> Event:
    return Event(PULL, 0, 1, IMAGE, OK, 0.0, 0.1, cpu_seconds=cpu_seconds)


@pytest.mark.parametrize(("limited", "verdict"), [(0, None), (1, None), (2, "client"), (20, "client")])
def test_a_run_is_limited_by_its_clients_in_a_tenth_of_its_time(limited: int, verdict: str | None) -> None:
    tally = Tally(1, retries_known=True, on_sample=lambda _: None, cores=2.0)
    for k in range(20):
        tally.add(busy(1.9 if k < limited else 0.5))
        tally.close_sample(k + 1.0, 1, 0.05 * (k + 1))
    assert [sample.limited_by for sample in tally.samples].count("client") == limited
    assert tally.limited_by == verdict
    assert tally.samples[1].driver_cpu_seconds == pytest.approx(0.05)


def test_a_client_that_outlasts_an_interval_uses_cpu_in_each(tally: Tally, samples: list[Sample]) -> None:
    tally.close_sample(1.0, 1, running_cpu_seconds=0.9)
    tally.add(busy(0.1))
    tally.close_sample(2.0, 1, running_cpu_seconds=1.7)
    tally.add(busy(2.0))  # the one that ran
    tally.close_sample(3.0, 1)
    assert [sample.client_cpu_seconds for sample in samples] == pytest.approx([0.9, 0.9, 0.3])


def test_no_interval_has_less_than_no_cpu(tally: Tally, samples: list[Sample]) -> None:
    """A client can have ended that is not counted yet."""
    tally.close_sample(1.0, 1, running_cpu_seconds=0.9)
    tally.close_sample(2.0, 1, running_cpu_seconds=0.0)
    tally.add(busy(1.0))
    tally.close_sample(3.0, 1)
    assert [sample.client_cpu_seconds for sample in samples] == pytest.approx([0.9, 0.0, 0.1])


def test_a_launch_is_one_latency_and_as_many_pulls_as_it_has_images(
    tally: Tally, samples: list[Sample]
) -> None:
    for timed in (True, False, False):
        tally.add(Event(PULL, 0, 1, IMAGE, OK, 0.0, 0.3, timed, launch=1, timed=timed))
    tally.add(Event(PULL, 0, 1, IMAGE, OK, 0.0, 0.1, launch=3, timed=False, repulled=True))
    tally.close_sample(1.0, 1)
    latency = tally.first.result()
    assert (tally.pulled, tally.repulled, samples[0].pulled) == (4, 1, 4)
    assert latency is not None
    assert (latency.min, latency.max) == (300.0, 300.0)
    assert tally.repeat.result() is None
