"""When a load begins: armed for one moment at a time, and none after it has begun."""

from __future__ import annotations

import threading
import time

import pytest

from lib.errors import RunError, Stopped
from lib.hosts.appointment import Appointment, wait_for
from lib.hosts.protocol import LATEST_START, Arm, Armed, Unarmed
from tests.support.waiting import SECONDS, wait_until

NOW = 1000.0
AHEAD = 60.0


def ready() -> Appointment:
    appointment = Appointment(AHEAD, lambda: NOW)
    appointment.open()
    return appointment


@pytest.mark.parametrize("at", [NOW - LATEST_START, NOW, NOW + 5.0, NOW + AHEAD])
def test_it_is_armed(at: float) -> None:
    appointment = ready()
    assert appointment.arm(Arm(at, 7.0)) == Armed(at)
    assert appointment.arm(Arm(at, 7.0)) == Armed(at)


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (NOW - LATEST_START - 0.1, "the moment was 0.6 s ago"),
        (NOW + AHEAD + 0.5, "the moment is 60.5 s ahead, which is too far"),
    ],
)
def test_it_is_not_armed_for_any_moment(at: float, reason: str) -> None:
    assert ready().arm(Arm(at, 7.0)) == Unarmed(reason)


def test_it_is_not_armed_before_it_is_ready() -> None:
    assert Appointment(AHEAD, lambda: NOW).arm(Arm(NOW, 7.0)) == Unarmed("the host is not ready")


def test_it_is_armed_for_one_moment_at_a_time() -> None:
    appointment = ready()
    appointment.arm(Arm(NOW + 5, 7.0))
    assert appointment.arm(Arm(NOW + 6, 7.0)) == Unarmed("the host has confirmed another moment already")
    assert appointment.disarm() == Unarmed("")
    assert appointment.arm(Arm(NOW + 6, 7.0)) == Armed(NOW + 6)


def test_it_begins_once() -> None:
    appointment = ready()
    first = Arm(NOW, 7.0)
    appointment.arm(first)
    assert appointment.settle(lambda: False) == first
    assert appointment.disarm() is None
    assert appointment.arm(Arm(NOW + 6, 7.0)) == Unarmed("the load has begun already")


def test_a_stop_ends_the_wait() -> None:
    with pytest.raises(Stopped):
        ready().settle(lambda: True)


def test_it_waits_until_it_is_armed_again() -> None:
    appointment = Appointment(AHEAD)
    appointment.open()
    settled: list[Arm] = []
    thread = threading.Thread(target=lambda: settled.append(appointment.settle(lambda: False)))
    thread.start()
    appointment.arm(Arm(time.monotonic() + 30, 7.0))
    appointment.disarm()
    last = Arm(time.monotonic() + 0.2, 7.0)
    appointment.arm(last)
    wait_until(lambda: settled == [last])
    thread.join(SECONDS)


def test_the_wait_ends_at_the_moment() -> None:
    at = time.monotonic() + 0.02
    assert 0 <= wait_for(at) <= time.monotonic() - at


def test_a_beginning_that_is_too_late_is_none() -> None:
    assert wait_for(time.monotonic() - 0.1) >= 0.1
    with pytest.raises(RunError, match=r"^the host was 0\.6\d* s late for the beginning of the load"):
        wait_for(time.monotonic() - LATEST_START - 0.1)
