"""All hosts begin at the same moment, by their own clocks, or none does."""

from __future__ import annotations

import pytest

from lib.errors import RunError, Stopped
from lib.hosts.protocol import Arm, Disarm, ReadClock
from tests.support.controlling import Control
from tests.support.fake_fleet import Process, Scene


def process(control: Control, number: int) -> Process:
    found = control[number].process
    assert found is not None
    return found


def refusal(control: Control, start: float | None = None) -> str:
    with pytest.raises(RunError) as raised:
        control.arm(start)
    control.bye()
    assert all(host.process.left for host in control.fleet.hosts.values() if host.process and not host.gone)
    text = str(raised.value)
    assert "\n" not in text
    return text


def begun(control: Control, at: float) -> list[float]:
    """How late each host began, in seconds."""
    return [(process(control, number).began or 0.0) - at for number in range(1, len(control.members) + 1)]


def test_clocks_that_differ_do_not_matter() -> None:
    control = Control(3)
    control[1].ahead, control[2].ahead, control[3].ahead = 0.0, 1000.0, -500.0
    control[2].there, control[2].back = 0.03, 0.01
    control.prepare()
    at = control.arm()
    assert control.follow() is None
    assert begun(control, at) == pytest.approx([0.0, 0.01, 0.0], abs=0.0001)
    for number, offset in ((1, 0.0), (2, 1000.01), (3, -500.0)):
        clock = control.members[number - 1].clock
        assert clock.offset == pytest.approx(offset, abs=0.001)
        # the true offset is within the stated bound
        assert abs(clock.offset - control[number].ahead) <= clock.bound
    assert control.cautions == []


def test_each_host_gets_wall_clock_time_by_the_controllers_clock() -> None:
    control = Control(2)
    control[2].ahead = 1000.0
    control.prepare()
    at = control.arm()
    control.follow()
    for member in control.members:
        assert member.part is not None
        header = member.part.header
        assert header.clock_offset + header.began == pytest.approx(1e9 + at, abs=0.002)


def test_sixteen_probes_of_each_host_and_few_at_the_same_time() -> None:
    control = Control(20, Scene(workers=20))
    for host in control.fleet.hosts.values():
        host.there = host.back = 0.1
    control.prepare()
    control.arm()
    probes = control.fleet.asked_of(ReadClock)
    assert len(probes) == 16 * 20
    open_ = [sum(at <= other < at + 0.2 for at, _ in probes) for other, _ in probes]
    assert max(open_) <= 8


@pytest.mark.parametrize(("latency", "caution"), [(0.04, False), (0.06, True), (0.4, True)])
def test_an_uncertain_clock_is_told(latency: float, caution: bool) -> None:
    control = Control(2)
    control[2].there = control[2].back = latency
    control.prepare()
    control.arm()
    assert bool(control.cautions) is caution
    if caution:
        assert control.cautions == [
            f"host load-2: its clock is known only to ±{1000 * latency:g} ms, so its intervals may be off by as much"
        ]


def test_a_clock_that_is_too_uncertain_is_refused() -> None:
    control = Control(2)
    control[2].there = control[2].back = 0.6
    control.prepare()
    assert refusal(control) == (
        "host load-2: its clock is known only to ±600 ms; use a faster network between controller and hosts"
    )


def test_a_clock_that_cannot_be_read_is_refused_soon() -> None:
    control = Control(2)
    control.prepare()
    control.fleet.freeze(control[2], 25)
    before = control.time.now
    assert "host load-2: its clock could not be read" in refusal(control)
    assert control.time.now - before < 45


# ---- when


def test_a_start_is_three_seconds_ahead() -> None:
    control = Control(2)
    control.prepare()
    before = control.time.now
    assert 3.0 <= control.arm() - before < 3.5


def test_a_start_is_further_ahead_with_many_hosts_and_long_round_trips() -> None:
    control = Control(2)
    control[2].there = control[2].back = 0.45
    control.prepare()
    before = control.time.now
    at = control.arm()
    assert at - before >= 16 * 0.9 + 4 * 0.9
    many = Control(400, Scene(workers=400, seconds=2))
    many.prepare()
    before = many.time.now
    assert many.arm() - before >= 4.0


def test_a_planned_start_that_is_far_ahead() -> None:
    control = Control(2)
    control.prepare()
    start = control.time.now + 7200
    assert control.arm(start) == start
    # the clocks are compared shortly before
    assert min(at for at, _ in control.fleet.asked_of(ReadClock)) == pytest.approx(start - 60, abs=1)
    assert control.follow() is None
    assert begun(control, start) == pytest.approx([0.0, 0.0], abs=0.0001)
    assert control.cautions == []


def test_a_planned_start_that_is_near() -> None:
    control = Control(2)
    control.prepare()
    start = control.time.now + 20
    assert control.arm(start) == start
    assert control.time.now < start - 15


@pytest.mark.parametrize("ahead", [-100.0, 0.0, 1.0])
def test_a_planned_start_that_is_too_near(ahead: float) -> None:
    control = Control(2)
    control.prepare()
    start = control.time.now + ahead
    at = control.arm(start)
    assert at > start
    assert control.cautions[0].startswith("the hosts were ready too late for --start-at; the load begins ")


@pytest.mark.parametrize("seconds", [10.0, 7180.0])
def test_a_signal_ends_the_wait_for_a_planned_start(seconds: float) -> None:
    control = Control(2)
    control.prepare()
    start = control.time.now + 7200
    control.time.after(seconds, lambda: control.fleet.signal(1))
    with pytest.raises(Stopped):
        control.hearing.wait(lambda: False, control.arm(start))
    assert control.time.now < start - 15
    control.bye()
    assert [process(control, number).began for number in (1, 2)] == [None, None]
    assert all(process(control, number).left for number in (1, 2))


def test_a_host_that_is_lost_before_a_planned_start_ends_the_wait() -> None:
    control = Control(2)
    control.prepare()
    control.time.after(10, lambda: control.fleet.lose(control[2]))
    before = control.time.now
    assert refusal(control, before + 7200) == "the load did not begin: host load-2: its Dask worker is gone"
    assert control.time.now - before < 12


def test_a_host_that_is_lost_while_it_is_armed_stops_the_load() -> None:
    control = Control(2)
    reason = None

    def lose() -> None:
        control.fleet.lose(control[2])

    control.prepare()
    at = control.arm()
    control.time.after(1.0, lose)
    control.hearing.wait(lambda: control.load.hopeless is not None, at)
    reason = control.follow()
    assert reason is not None
    assert reason.startswith("host load-2: lost at 0 s (its Dask worker is gone); to go on without it")
    assert process(control, 1).began is None or process(control, 1).over


# ---- hosts that do not arm


def test_a_host_that_does_not_answer_has_a_second_try() -> None:
    control = Control(2)
    control[2].arms = ["late"]
    control.prepare()
    at = control.arm()
    assert control.cautions == [
        "not all hosts confirmed the beginning in time: host load-2: no answer in time; trying once more"
    ]
    assert control.follow() is None
    assert begun(control, at) == pytest.approx([0.0, 0.0], abs=0.0001)
    assert len(control.fleet.orders(Arm, control[1])) == 2
    assert len(control.fleet.orders(Disarm, control[1])) == 1
    assert control.summary().pulled == 60


def test_a_host_that_does_not_arm_twice_ends_the_run() -> None:
    control = Control(3)
    control[2].arms = ["the host is too busy", "the host is too busy"]
    control.prepare()
    assert refusal(control) == (
        "the load did not begin, because not all hosts confirmed its beginning in time: host load-2: the host is too "
        "busy"
    )
    assert [process(control, number).began for number in (1, 2, 3)] == [None] * 3


def test_an_answer_to_the_first_try_does_not_count_for_the_second() -> None:
    control = Control(2)
    # the answer to the first order comes after the second order
    control[2].arms = ["", "late"]
    control.prepare()
    control[2].mangle = lambda number, _: (2.5,) if number == 1 else (0.0,)
    assert "host load-2: no answer in time" in refusal(control)


@pytest.mark.parametrize("seconds", [3.3, 3.6])
def test_a_host_that_cannot_be_disarmed_has_begun(seconds: float) -> None:
    """Also if that is known only after the second try."""
    control = Control(2)
    control[2].arms = ["late", "late"]
    control.prepare()
    # it is not reached until its load has begun
    control.time.after(0.5, lambda: control.fleet.freeze(control[1], seconds))
    assert refusal(control) == "the load began on some hosts only: load-1; repeat the run"
    assert control.fleet.orders(Disarm, control[1])


def test_a_far_start_leaves_time_for_a_second_try() -> None:
    control = Control(2)
    control[2].arms = ["late"]
    control.prepare()
    start = control.time.now + 50
    assert control.arm(start) == start
    assert control.follow() is None
    assert begun(control, start) == pytest.approx([0.0, 0.0], abs=0.0001)


def test_a_process_that_dies_before_it_is_armed() -> None:
    control = Control(2)
    control.prepare()
    process(control, 2).die()
    assert refusal(control) == "the load did not begin: host load-2: the host process was killed by SIGKILL"


# ---- clocks during the load


def test_a_clock_that_moves_is_told_once() -> None:
    control = Control(2, Scene(workers=2, seconds=200))

    def move() -> None:
        control[2].ahead += 0.5

    assert control.run(when=lambda: control.time.after(5, move)) is None
    assert control.cautions == [
        "the clock of host load-2 has moved by 498 ms or more during the load, so its intervals may be off by as much"
    ]
