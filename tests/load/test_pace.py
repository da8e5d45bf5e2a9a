"""The schedule: when pulls are due, who is late, and what never started."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.errors import UsageError
from lib.load.curve import Curve, Rate, parse_rate
from lib.load.pace import MACHINE, NO_WORKER, Schedule, why_late

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
    schedule = Schedule(Curve(((Rate(first, last), seconds),)))
    total = math.ceil(schedule.curve.due_by(seconds))
    assert total == math.ceil((first + last) / 2 * seconds) or math.isclose(
        total, (first + last) / 2 * seconds
    )
    for pull in {0, total // 2, total - 1}:
        second = schedule.second_of(pull)
        assert 0 <= second <= seconds
        assert schedule.curve.due_by(second) == pytest.approx(pull, abs=1e-6 * total)
    assert schedule.second_of(total) == math.inf


def test_a_rate_is_even_and_a_rising_one_begins_slowly() -> None:
    even = Schedule(Curve(((Rate(20, 20), 5.0),)))
    assert [even.second_of(pull) for pull in range(3)] == pytest.approx([0.0, 0.05, 0.1])
    rising = Schedule(Curve(((Rate(0, 20), 10.0),)))
    assert rising.curve.due_by(5.0) == 25
    assert rising.second_of(25) == pytest.approx(5.0)


def test_what_is_taken_is_no_longer_unstarted() -> None:
    schedule = Schedule(Curve(((Rate(0.5, 0.5), 10.0),)))
    schedule.begin(100.0)
    assert schedule.due() == 100.0
    schedule.take(1)
    assert schedule.due() == 102.0
    assert (schedule.unstarted(1.9), schedule.unstarted(2.1), schedule.unstarted(10.0)) == (0, 1, 4)
    schedule.take(4)
    assert schedule.due() is None
    assert schedule.unstarted(10.0) == 0
    schedule.give_back(4)
    assert (schedule.taken, schedule.unstarted(10.0)) == (1, 4)


def test_a_pull_waits_for_its_time_and_one_that_is_due_already_does_not() -> None:
    stopping = threading.Event()
    due = time.monotonic() + 0.05
    assert Schedule.wait(due, stopping)
    assert time.monotonic() >= due
    assert Schedule.wait(due, stopping)
    stopping.set()
    assert not Schedule.wait(due, stopping)
    assert not Schedule.wait(due + 1e6, stopping)


@pytest.mark.parametrize(
    ("asked", "started", "reason"),
    [
        (-1.0, 0.05, None),
        (-1.0, 0.2, MACHINE),
        (0.02, 0.2, MACHINE),
        (0.15, 0.2, NO_WORKER),
        (0.2, 0.2, NO_WORKER),
    ],
)
def test_a_late_pull_has_a_reason(asked: float, started: float, reason: str | None) -> None:
    assert why_late(100.0, 100.0 + asked, 100.0 + started) == reason


@pytest.mark.parametrize(
    ("rate", "seconds", "pulls"), [(10, 0.6, 6), (1.1, 360, 396), (2.2, 100, 220), (20, 5, 100)]
)
def test_a_whole_number_of_pulls_is_not_one_more_by_rounding(rate: float, seconds: float, pulls: int) -> None:
    workers = 3
    schedule = Schedule(Curve(((Rate(rate, rate), 2 * workers * (seconds / (2 * workers))),)))
    assert schedule.unstarted(seconds) == pulls
    assert schedule.second_of(pulls) == math.inf
    assert schedule.second_of(pulls - 1) < seconds
