"""The load on the hosts: what the controller makes of their pieces, of losses, of failures and of stops."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.errors import RunError
from lib.hosts.protocol import Bye, Lease, Refused
from lib.pieces.wire import CountsLine, Header
from lib.results.summary import ClientInfo
from tests.support.controlling import Control
from tests.support.fake_fleet import Host, Process, Scene


def process(host: Host) -> Process:
    assert host.process is not None
    return host.process


def stops(control: Control, host: Host) -> list[int]:
    """The numbers of stops in the leases of a host, as they changed."""
    told = [order.stop for _, order in control.fleet.orders(Lease, host) if isinstance(order, Lease)]
    return sorted(set(told))


def reasons(control: Control) -> list[str | None]:
    return [None if each.lost is None else each.lost.reason for each in control.counts()]


def check_counts(control: Control) -> None:
    """The summary has what the hosts have, and each event once."""
    summary = control.summary()
    assert summary.pulled == sum(each.pulled for each in summary.of_hosts)
    assert summary.pulled == sum(each.pulled for each in summary.samples)
    assert summary.pulled == sum(process(host).tally.pulled for host in control.fleet.hosts.values())


def test_the_hosts_add_up_to_the_whole_load() -> None:
    control = Control(3)
    assert control.run() is None
    whole, summary = control.scene.whole(), control.summary()
    assert (summary.pulled, summary.failed) == (whole.pulled, whole.failed) == (60, 0)
    assert summary.complete is True
    found = whole.latencies.result()
    assert found is not None
    assert summary.latency_ms is not None
    assert (summary.latency_ms.p50, summary.latency_ms.p99) == (found.rounded().p50, found.rounded().p99)
    assert [(each.pulled, each.seconds) for each in control.samples] == [(12, 2.0)] * 5
    assert [each.pulled for each in summary.of_hosts] == [20, 20, 20]
    assert reasons(control) == [None] * 3
    assert [each.name for each in summary.of_hosts] == ["load-1", "load-2", "load-3"]
    assert control.cautions == []
    assert all(process(host).left for host in control.fleet.hosts.values())


def test_a_host_without_any_failure_has_its_clock_and_its_start_in_the_summary() -> None:
    control = Control(2)
    control[2].ahead, control[2].there, control[2].back = 1000.0, 0.004, 0.002
    assert control.run() is None
    one, two = control.counts()
    assert one.address == "tcp://10.0.0.1:8788"
    assert one.start_error_ms == two.start_error_ms == 0.1
    assert one.clock_error_ms == pytest.approx(1.0)
    assert two.clock_error_ms == pytest.approx(3.0)


# ---- losses


@pytest.mark.parametrize("way", ["worker", "process", "line", "piece", "refused"])
def test_a_lost_host_stops_the_others_with_grace(way: str) -> None:
    control = Control(3)

    def fault() -> None:
        lost = process(control[2])
        match way:
            case "worker":
                control.fleet.lose(control[2])
            case "process":
                lost.die()
            case "line":
                lost.write(10**6, "{no json")
            case "piece":
                lost.end("worker 3 ended with an error")
            case "refused":
                lost.over = True
                lost.post(Refused("it was late"))

    control.prepare()
    at = control.arm()
    control.time.after(at - control.time.now + 4.5, fault)
    reason = control.follow()
    control.bye()
    why = {
        "worker": "its Dask worker is gone",
        "process": "the host process was killed by SIGKILL",
        "line": "it sent a line that is not valid",
        "piece": "its load ended early: worker 3 ended with an error",
        "refused": "it was late",
    }[way]
    assert reason is not None
    assert reason.startswith("host load-2: lost at ")
    assert why in reason
    assert reason.endswith("to go on without it, give --lost-hosts 1")
    assert f"({why}" in control.told()
    assert "host load-2 lost at " in control.told()
    assert "counted until 4" in control.told()
    assert stops(control, control[1]) == [0, 1]
    assert control.summary().complete is False
    assert process(control[1]).over
    one, two, three = control.counts()
    assert one.lost is None
    assert three.lost is None
    assert two.lost is not None
    assert two.lost.reason.startswith(why)
    if way != "piece":
        assert two.counted_until == 4.0


def test_more_than_the_lost_hosts_that_are_allowed_stop_the_load() -> None:
    control = Control(4)

    def fault() -> None:
        control.fleet.lose(control[2])
        control.at(6.5, lambda: control.fleet.lose(control[3]))

    reason = control.run(lost_hosts=1, when=lambda: control.time.after(4.5, fault))
    assert reason is not None
    assert reason.startswith("2 hosts (load-2, load-3): lost") or reason.startswith("host load-2: lost at 4")
    assert reason.endswith("to go on without them, give --lost-hosts 2")
    assert process(control[1]).stop == 1


@pytest.mark.parametrize("phase", ["preparing", "armed", "loading"])
def test_a_process_that_says_nothing_is_lost_although_its_agent_answers(phase: str) -> None:
    control = Control(2, Scene(workers=2, seconds=120))

    def freeze() -> None:
        frozen = process(control[2])
        frozen.heed = frozen.post = lambda *_: None  # type: ignore[method-assign,assignment]

    if phase == "preparing":
        control[2].prepare_seconds = 1.0
        control.time.after(0.5, freeze)
        with pytest.raises(RunError, match="host load-2: its process has said nothing for 3"):
            control.prepare()
        return
    control.prepare()
    at = control.arm()
    control.time.after(at - control.time.now + {"armed": -0.5, "loading": 3.5}[phase], freeze)
    reason = control.follow()
    assert reason is not None
    assert "its process has said nothing for 3" in reason


def test_hosts_that_end_because_the_controller_was_stopped_are_told_as_such() -> None:
    control = Control(2, Scene(workers=2, seconds=120))
    reason = control.run(when=lambda: control.time.after(4.5, lambda: control.time.advance(31.0)))
    assert reason is not None
    assert reason.endswith("; this process was stopped for 31s; repeat the run")
    assert control.cautions[0] == "this process was stopped for 31s; a host without a lease ends its load"


def test_a_short_stop_of_the_controller_does_no_harm() -> None:
    control = Control(2, Scene(workers=2, seconds=60))
    assert control.run(when=lambda: control.time.after(4.5, lambda: control.time.advance(12.0))) is None
    assert control.cautions == []


def test_a_long_preparation_is_no_loss() -> None:
    control = Control(2)
    control[2].prepare_seconds = 600.0
    assert control.run() is None
    assert control.cautions == []


def test_without_its_only_host_a_load_cannot_go_on() -> None:
    control = Control(1)
    reason = control.run(when=lambda: control.time.after(4.5, lambda: control.fleet.lose(control[1])))
    assert reason is not None
    assert reason.endswith("(its Dask worker is gone); repeat the run")


def test_the_load_goes_on_without_the_hosts_that_may_be_lost() -> None:
    control = Control(3)
    reason = control.run(
        lost_hosts=1, when=lambda: control.time.after(4.5, lambda: control.fleet.lose(control[2]))
    )
    assert reason is None
    summary = control.summary()
    assert summary.complete is False
    assert [each.pulled for each in summary.of_hosts] == [20, 8, 20]
    assert [each.counted_until for each in summary.of_hosts] == [10.0, 4.0, 10.0]
    assert [each.pulled for each in control.samples] == [12, 12, 8, 8, 8]
    assert [each.hosts for each in control.samples] == [3, 3, 2, 2, 2]
    assert process(control[1]).stop == process(control[3]).stop == 0


def test_all_hosts_lost_is_a_failure_even_if_they_may_be() -> None:
    control = Control(2)

    def fault() -> None:
        for number in (1, 2):
            control.fleet.lose(control[number])

    reason = control.run(lost_hosts=2, when=lambda: control.time.after(4.5, fault))
    assert reason == "no host carried out its share: 2 hosts (load-1, load-2): its Dask worker is gone"
    assert control.summary().pulled == 24
    assert control.summary().complete is False


def test_a_host_that_was_never_heard_of_again_counts_until_its_last_piece() -> None:
    control = Control(2)
    reason = control.run(
        lost_hosts=1, when=lambda: control.time.after(0.5, lambda: control.fleet.lose(control[2]))
    )
    assert reason is None
    one, two = control.counts()
    assert (one.pulled, one.counted_until) == (30, 10.0)
    assert (two.pulled, two.counted_until, two.latency_ms) == (0, 0.0, None)
    assert "counted until 0 s" in control.told()


# ---- silence


def test_a_silent_host_comes_back_and_nothing_is_lost() -> None:
    control = Control(2, Scene(workers=2, seconds=60))
    assert (
        control.run(when=lambda: control.time.after(5, lambda: control.fleet.freeze(control[2], 13))) is None
    )
    assert control.cautions == ["host load-2 has been silent for 10 s", "host load-2 is back"]
    check_counts(control)
    assert control.summary().pulled == 120
    assert control.summary().complete is True
    # intervals that were shown without it have its pulls at the end
    assert [each.pulled for each in control.samples if each.hosts == 1]
    assert [each.pulled for each in control.summary().samples] == [4] * 30


def test_a_host_that_stays_silent_is_lost() -> None:
    control = Control(2, Scene(workers=2, seconds=100))
    reason = control.run(when=lambda: control.time.after(5, lambda: control.fleet.freeze(control[2], 1000)))
    assert reason is not None
    assert "host load-2: lost at 3" in reason
    assert "(silent for 30 s)" in reason
    assert control.cautions[0] == "host load-2 has been silent for 10 s"
    assert "host load-2 lost at 3" in control.cautions[1]
    assert control.hearing.now() < 3000
    # the host stops by itself: it has no lease
    assert process(control[2]).over


def test_late_pieces_of_a_lost_host_count_and_it_is_told_to_leave() -> None:
    control = Control(2, Scene(workers=2, seconds=100))

    def fault() -> None:
        control.fleet.freeze(control[2], 60)

    reason = control.run(lost_hosts=1, when=lambda: control.time.after(5, fault))
    assert reason is None
    one, two = control.counts()
    assert one.lost is None
    assert two.lost is not None
    assert two.lost.reason == "silent for 30 s"
    # its process went on until its lease had ended
    assert two.counted_until == pytest.approx(process(control[2]).tally.samples[-1].at)
    assert 20 < two.counted_until < 40
    check_counts(control)
    assert process(control[2]).left
    assert len(control.fleet.asked_of(Bye, control[2])) == 2


def test_a_process_that_says_nothing_while_its_agent_answers_is_lost() -> None:
    control = Control(2, Scene(workers=2, seconds=100))

    def hang() -> None:
        frozen = process(control[2])
        control[2].mangle = lambda *_: ()
        frozen.over = True

    reason = control.run(when=lambda: control.time.after(5, hang))
    assert reason is not None
    assert "its process has said nothing for 3" in reason


def test_a_pause_of_the_controller_itself_makes_no_host_silent() -> None:
    control = Control(2, Scene(workers=2, seconds=30))

    def pause() -> None:
        # as if the controller had been stopped: nothing is read for a while
        control.time.advance(12.0)

    assert control.run(when=lambda: control.time.after(5, pause)) is None
    assert control.cautions == []
    check_counts(control)


# ---- the scheduler


def test_a_lost_scheduler_ends_the_load_with_what_has_arrived() -> None:
    control = Control(3)
    reason = control.run(lost_hosts=3, when=lambda: control.time.after(6.5, control.fleet.lose_scheduler))
    assert reason == "lost the scheduler (connection refused); the summary has what arrived before"
    assert control.cautions == ["lost the scheduler (connection refused)"]
    assert control.summary().pulled == 36
    assert reasons(control) == ["the scheduler is gone"] * 3
    assert control.summary().complete is False


# ---- workers that come back


@pytest.mark.parametrize(
    ("address", "worker", "told"),
    [
        ("tcp://10.0.0.2:8788", "another name", True),
        ("tcp://10.9.9.9:1234", "worker-2", True),
        ("tcp://10.0.0.2:9999", "another name", True),
        ("tcp://10.9.9.9:1234", "worker-9", False),
    ],
)
def test_a_worker_that_is_started_again_takes_no_part(address: str, worker: str, told: bool) -> None:
    control = Control(3)

    def fault() -> None:
        control.fleet.lose(control[2])
        control.time.after(1, lambda: control.fleet.join(address, worker))
        control.time.after(2, lambda: control.fleet.join(address, worker))

    assert control.run(lost_hosts=1, when=lambda: control.time.after(2.5, fault)) is None
    assert control.cautions.count("host load-2 came back; it takes part in the next run") == int(told)
    assert [each.pulled for each in control.counts()] == [20, 4, 20]


def test_a_worker_that_only_joins_changes_nothing() -> None:
    control = Control(2)
    assert (
        control.run(when=lambda: control.time.after(2.5, lambda: control.fleet.join("tcp://10.0.0.2:1", "x")))
        is None
    )
    assert control.cautions == []


# ---- the first pulls


def test_only_failures_on_all_hosts_end_the_load() -> None:
    control = Control(3, Scene(workers=6, seconds=100, succeeds=lambda *_: False))
    reason = control.run()
    assert reason == (
        "none of the first 12 pulls succeeded: dns: no such host (to find the cause, run ocidriver doctor; to continue "
        "regardless, use --keep-going)"
    )
    assert control.hearing.now() < 1020
    assert stops(control, control[1]) == [0, 1]
    assert reasons(control) == [None] * 3


def test_one_host_that_pulls_is_enough_to_go_on() -> None:
    control = Control(3, Scene(workers=6, succeeds=lambda worker, _: worker % 3 == 1))
    assert control.run() is None
    assert (control.summary().pulled, control.summary().failed) == (20, 40)


def test_a_host_whose_first_piece_is_late_may_have_pulled() -> None:
    control = Control(3, Scene(workers=60, succeeds=lambda worker, _: worker % 3 == 1))
    control[2].mangle = lambda number, _: (1.5,) if number == 3 else (0.0,)
    assert control.run() is None
    assert control.summary().pulled == 200


def test_failures_end_the_load_although_one_host_says_nothing() -> None:
    control = Control(3, Scene(workers=60, seconds=100, succeeds=lambda *_: False))
    control[2].mangle = lambda number, _: () if number > 2 else (0.0,)
    reason = control.run()
    assert reason is not None
    assert reason.startswith("none of the first ")
    assert reason.count("pulls succeeded: dns: no such host")


def test_only_failures_may_go_on() -> None:
    control = Control(3, Scene(workers=6, succeeds=lambda *_: False))
    assert control.run(keep_going=True) is None
    assert control.summary().failed == 60


# ---- stops


def test_the_first_signal_stops_all_hosts_and_the_second_one_hurries_them() -> None:
    control = Control(3, Scene(workers=6, seconds=100))
    for number in (1, 2, 3):
        control[number].drain_seconds = 5.0

    def fault() -> None:
        control.fleet.signal(1)
        control.time.after(1, lambda: control.fleet.signal(2))

    assert control.run(when=lambda: control.time.after(6.2, fault)) is None
    assert control.cautions == ["stopping: clients have 30s to finish; a second signal ends them at once"]
    for number in (1, 2, 3):
        assert stops(control, control[number]) == [0, 1, 2]
    assert reasons(control) == [None] * 3
    assert control.summary().pulled == 66 - 0
    check_counts(control)
    # a stop does not wait for the next lease
    first = min(at for at, order in control.fleet.orders(Lease, control[1]) if getattr(order, "stop", 0) == 1)
    assert control.load.began is not None
    assert first - control.load.began == pytest.approx(6.2, abs=0.01)


def test_a_third_signal_does_not_wait_for_a_host_that_does_not_end() -> None:
    control = Control(2, Scene(workers=2, seconds=100))
    control[2].drain_seconds = 1000.0

    def fault() -> None:
        for count in (1, 2, 3):
            control.time.after(count, lambda count=count: control.fleet.signal(count))  # type: ignore[misc]

    control.run(when=lambda: control.time.after(6, fault))
    assert control.load.began is not None
    assert control.hearing.now() - control.load.began < 40
    assert reasons(control) == [None, "the driver did not wait for its end"]
    assert control.summary().pulled > 0


def test_a_signal_and_a_loss_at_the_same_time_leave_a_summary() -> None:
    control = Control(2, Scene(workers=2, seconds=100))

    def fault() -> None:
        control.fleet.signal(1)
        control.fleet.lose(control[2])

    control.run(when=lambda: control.time.after(6.2, fault))
    assert control.summary().pulled == 6 + 6
    assert reasons(control)[1] == "its Dask worker is gone"


# ---- pieces


def test_counts_that_lack_pieces_are_reported() -> None:
    control = Control(2)

    def fault() -> None:
        # as if two pieces had never been numbered
        tally = process(control[2]).tally
        tally.on_piece = None
        control.time.after(3, lambda: setattr(tally, "on_piece", process(control[2])._post_piece))

    reason = control.run(when=lambda: control.time.after(3.5, fault))
    assert reason == ("host load-2: its counts are incomplete, because pieces are missing; repeat the run")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda h: msgspec.structs.replace(h, workers=h.workers + 1), "of different loads"),
        (lambda h: msgspec.structs.replace(h, load="another load"), "of different loads"),
        (lambda h: msgspec.structs.replace(h, share="1/3"), "prepared share 1/3 in place of 2/3"),
        (lambda h: msgspec.structs.replace(h, image_sets=[]), "is not valid"),
        (
            lambda h: msgspec.structs.replace(
                h, before=CountsLine(numbers={}, client_cpu_seconds=0.0, errors={}, prune_errors={}, examples=[],
                                     workers={99: [0]})
            ),
            "is not valid",
        ),
    ],
)  # fmt: skip
def test_a_host_that_prepared_another_load_is_refused(change: Callable[[Header], Header], told: str) -> None:
    control = Control(3)
    control[2].change = change
    with pytest.raises(Exception, match=told) as raised:
        control.prepare()
    assert type(raised.value).__name__ == "RunError"
    assert "\n" not in str(raised.value)


def test_hosts_with_other_clients_are_named() -> None:
    control = Control(2)
    newer = ClientInfo(name="crane", version="0.21")
    control[2].change = lambda header: msgspec.structs.replace(header, client=newer)
    assert control.run() is None
    assert "the hosts had different clients" in control.told()


@pytest.mark.parametrize(
    "line",
    [
        '{"number":%d,"body":{"line":"piece"}}',
        '{"number":%d,"body":{"line":"none such"}}',
        '{"number":%d}',
        "[]",
        "",
        "\ud800",
    ],
)
def test_a_line_that_is_not_valid_loses_its_host_only(line: str) -> None:
    control = Control(2)

    def fault() -> None:
        process(control[2]).write(10**6, line % 10**6 if "%d" in line else line)

    assert control.run(lost_hosts=1, when=lambda: control.time.after(3.5, fault)) is None
    found = reasons(control)
    assert found[0] is None
    assert found[1] is not None
    assert found[1].startswith("it sent a line that is not valid: ")
    assert "\n" not in found[1]


# ---- messages on their way


def delays(seed: int) -> Callable[[int, int], Sequence[float]]:
    """Messages are late by up to four seconds, come twice, or are dropped until they are sent for the third time."""
    luck = random.Random(seed)

    def mangle(number: int, attempt: int) -> Sequence[float]:
        if number < 3:  # ready, armed and begun
            return (0.0,)
        if attempt < 3 and luck.random() < 0.3:
            return ()
        return [4 * luck.random() for _ in range(luck.choice([1, 1, 2]))]

    return mangle


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_messages_in_any_order_dropped_or_doubled_count_once(seed: int) -> None:
    control = Control(3, Scene(workers=5, seconds=20))
    for number, host in enumerate(control.fleet.hosts.values()):
        host.mangle = delays(seed + number)
    assert control.run() is None, control.logs
    whole, summary = control.scene.whole(), control.summary()
    assert summary.pulled == whole.pulled == 100
    assert [(each.pulled, each.failed) for each in summary.samples] == [
        (each.pulled, each.failed) for each in whole.samples
    ]
    check_counts(control)
    assert control.cautions == []


def test_states_for_the_views() -> None:
    control = Control(3, Scene(workers=3, seconds=60))
    seen: list[list[str]] = []

    def look() -> None:
        seen.append([line.state for line in control.load.lines()])

    def faults() -> None:
        control.at(1, look)
        control.at(2, lambda: control.fleet.freeze(control[2], 14))
        control.at(3, lambda: control.fleet.lose(control[3]))
        control.at(15, look)
        control.at(30, look)

    control.run(lost_hosts=1, when=faults)
    look()
    assert seen == [
        ["running"] * 3,
        ["running", "silent", "lost"],
        ["running", "running", "lost"],
        ["ended"] * 2 + ["lost"],
    ]
    lines = control.load.lines()
    assert [line.name for line in lines] == ["load-1", "load-2", "load-3"]
    assert [line.pulled for line in lines] == [60, 60, 2]
    assert control.load.workers(3) == 0
