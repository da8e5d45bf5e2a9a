"""The schedule: when pulls are due, who is late, and what never started."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import UsageError
from lib.load.pace import Closed, Rate, Schedule, parse_rate

RATES = st.floats(0.01, 1000)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("50", Rate(50, 50)), ("0.5", Rate(0.5, 0.5)), ("10:200", Rate(10, 200)), ("0:5", Rate(0, 5))],
)
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate("--rate", text) == rate
    assert str(rate) == text


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "0:0", "a", "10:", ":10", "1:2:3", "nan", "inf", "1e3", "200000", "٣"]
)
def test_no_rates(text: str) -> None:
    with pytest.raises(UsageError, match="--rate"):
        parse_rate("--rate", text)


@given(RATES, RATES, st.floats(0.1, 100))
def test_each_pull_is_due_when_so_many_are_due(first: float, last: float, seconds: float) -> None:
    schedule = Schedule(Rate(first, last), seconds)
    total = math.ceil(schedule.due_by(seconds))
    assert total == math.ceil((first + last) / 2 * seconds) or math.isclose(
        total, (first + last) / 2 * seconds
    )
    for pull in {0, total // 2, total - 1}:
        second = schedule.second_of(pull)
        assert 0 <= second <= seconds
        assert schedule.due_by(second) == pytest.approx(pull, abs=1e-6 * total)
    assert schedule.second_of(total) == math.inf


def test_a_rate_is_even_and_a_rising_one_begins_slowly() -> None:
    even = Schedule(Rate(20, 20), 5.0)
    assert [even.second_of(pull) for pull in range(3)] == pytest.approx([0.0, 0.05, 0.1])
    rising = Schedule(Rate(0, 20), 10.0)
    assert rising.due_by(5.0) == 25
    assert rising.second_of(25) == pytest.approx(5.0)


def test_a_launch_waits_for_its_time_and_what_is_due_already_does_not() -> None:
    schedule, stopping = Schedule(Rate(20, 20), 5.0), threading.Event()
    began = time.monotonic() - 0.1
    schedule.begin(began)
    due = [schedule.next(1, stopping) for _ in range(4)]
    assert due == pytest.approx([began, began + 0.05, began + 0.1, began + 0.15])
    assert time.monotonic() >= began + 0.15
    assert schedule.taken == 4


def test_a_batch_takes_the_time_of_as_many_pulls() -> None:
    schedule, stopping = Schedule(Rate(1000, 1000), 5.0), threading.Event()
    schedule.begin(0.0)
    assert [schedule.next(20, stopping) for _ in range(3)] == pytest.approx([0.0, 0.02, 0.04])


def test_who_is_stopped_while_waiting_gives_its_pull_back() -> None:
    schedule, stopping = Schedule(Rate(0.5, 0.5), 10.0), threading.Event()
    schedule.begin(time.monotonic())
    assert schedule.next(1, stopping) is not None
    stopping.set()
    assert schedule.next(1, stopping) is None
    assert schedule.taken == 1
    assert schedule.unstarted(1.9) == 0
    assert schedule.unstarted(2.1) == 1
    assert schedule.unstarted(10.0) == 4


def test_after_the_last_pull_a_worker_waits_for_the_ramps_end() -> None:
    schedule, stopping = Schedule(Rate(10, 10), 0.1), threading.Event()
    schedule.begin(0.0)
    assert schedule.next(1, stopping) is not None
    threading.Timer(0.05, stopping.set).start()
    assert schedule.next(1, stopping) is None
    assert stopping.is_set()
    assert schedule.unstarted(0.1) == 0


def test_without_a_schedule_pulls_start_at_once() -> None:
    stopping = threading.Event()
    before = time.monotonic()
    due = Closed().next(1, stopping)
    assert due is not None
    assert before <= due <= time.monotonic()
    stopping.set()
    assert Closed().next(1, stopping) is None


@pytest.mark.parametrize(
    ("rate", "seconds", "pulls"), [(10, 0.6, 6), (1.1, 360, 396), (2.2, 100, 220), (20, 5, 100)]
)
def test_a_whole_number_of_pulls_is_not_one_more_by_rounding(rate: float, seconds: float, pulls: int) -> None:
    workers = 3
    schedule = Schedule(Rate(rate, rate), 2 * workers * (seconds / (2 * workers)))
    assert schedule.unstarted(seconds) == pulls
    assert schedule.second_of(pulls) == math.inf
    assert schedule.second_of(pulls - 1) < seconds
