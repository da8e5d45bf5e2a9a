"""What the controller hears: leases, acknowledgements, and the bounds of what it keeps of hosts that misbehave."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lib.errors import Stopped
from lib.hosts.fleet import Answered, Heard
from lib.hosts.hearing import Hearing, Reports
from lib.hosts.member import ClockReading, host_of
from lib.hosts.protocol import Hello, Lease, Message, Note, encode
from tests.support.controlling import Control
from tests.support.fake_fleet import Process, Scene


def process(control: Control, number: int) -> Process:
    found = control[number].process
    assert found is not None
    return found


def test_a_lease_every_five_seconds_acknowledges_what_has_arrived() -> None:
    control = Control(2, Scene(workers=2, seconds=60))
    control.run()
    orders = control.fleet.orders(Lease, control[1])
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(orders)]
    assert max(gaps) < 5.5
    assert min(gaps) > 4.5
    acked = [order.acked for _, order in orders if isinstance(order, Lease)]
    assert acked == sorted(acked)
    assert acked[0] == -1
    # ready, armed, started, 30 pieces of intervals, two of the end, and the end
    assert process(control, 1)._written.keys() <= set(range(acked[-1] + 1, 36))


def test_nothing_is_kept_of_a_load_that_is_over() -> None:
    control = Control(3)
    control.run()
    control.hearing.pause(60)
    assert control.hearing._then == {}
    for member in control.members:
        assert member.early == {}
        assert member.unclaimed == []


def test_a_drop_is_sent_again_with_the_next_lease() -> None:
    control = Control(1, Scene(workers=1, seconds=30))
    dropped = []

    def mangle(number: int, attempt: int) -> tuple[float, ...]:
        if number == 5 and attempt == 1:
            dropped.append(number)
            return ()
        return (0.0,)

    control[1].mangle = mangle
    assert control.run() is None
    assert dropped == [5]
    assert process(control, 1)._attempts[5] == 2
    assert control.summary().pulled == 30


def test_messages_of_another_incarnation_do_not_count() -> None:
    control = Control(2)

    def intrude() -> None:
        for address in (control[2].address, "tcp://10.0.0.99:1"):
            control.fleet.inbox.put(Heard(address, "another", "{"))

    assert control.run(when=lambda: control.time.after(2.5, intrude)) is None
    assert control.summary().pulled == 60
    assert control.cautions == []


def test_notes_are_logged_with_the_name_of_the_host() -> None:
    control = Control(2)

    def say() -> None:
        process(control, 2).note("worker 3: pull of app failed")
        process(control, 2).note("the disk is nearly full", caution=True)

    assert control.run(when=lambda: control.time.after(2.5, say)) is None
    assert "host load-2: worker 3: pull of app failed" in control.logs
    assert control.cautions == ["host load-2: the disk is nearly full"]


def test_equal_warnings_of_hosts_are_one_line() -> None:
    control = Control(3)

    def say() -> None:
        for number in (1, 3):
            process(control, number).note("the disk is nearly full", caution=True)
        for number in (1, 2, 3):
            process(control, number).note("crane is old", caution=True)

    assert control.run(when=lambda: control.time.after(2.5, say)) is None
    assert control.cautions == [
        "3 hosts (load-1, load-2, load-3): crane is old",
        "2 hosts (load-1, load-3): the disk is nearly full",
    ]


def test_equal_notes_before_the_load_are_one_line() -> None:
    control = Control(2)
    control.prepare()
    for number in (1, 2):
        process(control, number).note("client crane 0.22")
    control.arm()
    assert "2 hosts (load-1, load-2): client crane 0.22" in control.logs


def test_a_warning_at_the_very_end_is_told() -> None:
    control = Control(2)
    control.prepare()
    process(control, 2).note("the disk is nearly full", caution=True)
    control.time.advance(0.01, lambda: False)
    control.bye()
    assert control.cautions == ["host load-2: the disk is nearly full"]


def test_a_host_that_never_sends_what_is_missing_is_lost() -> None:
    control = Control(2, Scene(workers=2, seconds=60))

    def flood() -> None:
        for number in range(100, 10_200):
            line = encode(Message(number, Note("x"))).decode()
            control.fleet.inbox.put(Heard(control[2].address, process(control, 2).incarnation, line))

    control.prepare(lost_hosts=1)
    control.arm()
    control.at(5.5, flood)
    assert control.follow() is None
    two = control.members[1]
    assert two.state == "lost"
    assert two.reason is not None
    assert two.reason.endswith("is missing")
    assert len(two.early) < 10_000


def test_a_host_that_has_not_begun_cannot_fill_the_memory() -> None:
    control = Control(1)
    (member,) = control.gather()
    for number in range(5000):
        control.fleet.inbox.put(Heard(member.address, "x", f"{number}"))
    control.hearing.pause(1)
    assert len(member.unclaimed) == 1000


def test_a_wait_ends_at_its_moment_or_after_a_signal() -> None:
    control = Control(1)
    before = control.time.now
    assert control.hearing.wait(lambda: False, before + 3) is False
    assert control.time.now == pytest.approx(before + 3, abs=0.001)
    control.fleet.signal(1)
    assert control.hearing.wait(lambda: False, control.time.now + 1, heed=False) is False
    with pytest.raises(Stopped):
        control.hearing.wait(lambda: False)
    assert control.hearing.wait(lambda: True) is True


def test_an_answer_that_nobody_waits_for_is_no_matter() -> None:
    control = Control(1)
    control.fleet.inbox.put(Answered(token=10**9, answer=None, error="", sent=0.0, received=0.0))
    control.hearing.pause(1)


def test_answers_to_several_questions() -> None:
    control = Control(3)
    control.fleet.freeze(control[2], 100)
    addresses = list(control.fleet.hosts)
    answers = control.hearing.ask_addresses(dict.fromkeys(addresses, Hello()), 10.0)
    assert [answers[each].answer is not None for each in addresses] == [True, False, True]
    assert answers[addresses[1]].error == "no answer within 10s"


def test_it_begins_with_real_time() -> None:
    control = Control(1)
    hearing = Hearing(control.fleet, "r", Reports(log=print, caution=print))
    assert hearing.now() > 0


@pytest.mark.parametrize(
    ("probes", "offset", "bound"),
    [
        ([(0.0, 0.010, 100.004)], 99.999, 0.005),
        ([(0.0, 0.010, 100.004), (1.0, 1.002, 101.0013)], 100.0003, 0.001),
        ([(1.0, 1.002, 101.0013), (0.0, 0.010, 100.004)], 100.0003, 0.001),
    ],
)
def test_the_probe_with_the_shortest_round_trip_counts(
    probes: list[tuple[float, float, float]], offset: float, bound: float
) -> None:
    clock = ClockReading()
    for sent, received, read in probes:
        clock.take(sent, received, read)
    assert clock.offset == pytest.approx(offset)
    assert clock.bound == pytest.approx(bound)


def test_a_clock_has_moved_only_beyond_what_the_probes_can_tell() -> None:
    first, second = ClockReading(10.0, 0.01), ClockReading(10.05, 0.02)
    assert first.moved(second) == pytest.approx(0.02)
    assert first.moved(ClockReading(10.01, 0.02)) < 0


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("tcp://10.1.2.3:8788", "10.1.2.3"),
        ("tls://[fe80::1]:8788", "fe80::1"),
        ("tls://load-1.local:8788", "load-1.local"),
        ("inproc", ""),
        ("tcp://[broken", ""),
    ],
)
def test_the_host_of_an_address(address: str, host: str) -> None:
    assert host_of(address) == host
