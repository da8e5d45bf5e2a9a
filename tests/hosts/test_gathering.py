"""Which hosts take part, and what is said of those that cannot."""

from __future__ import annotations

from typing import Any

import pytest

from lib import __version__
from lib.errors import RunError, Stopped
from lib.hosts.preparing import assign
from lib.hosts.protocol import PROTOCOL, Driving
from tests.support.controlling import Control, hosts_option
from tests.support.fake_fleet import Host, facts_with

LOST = "lost the scheduler (connection refused) before the load began; repeat the run"


def refusal(control: Control, **options: Any) -> str:
    with pytest.raises(RunError) as raised:
        control.gather(hosts_option(**options))
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_all_hosts_that_are_there_take_part_in_the_order_of_their_names() -> None:
    control = Control(12)
    members = control.gather(hosts_option(2))
    assert len(members) == 12
    assert [each.worker for each in members] == sorted(each.worker for each in members)
    assert members[0].name == "load-1"
    assert control.cautions == []


def join_at(control: Control, host: Host, seconds: float) -> None:
    host.gone = True
    control.time.after(seconds, lambda: setattr(host, "gone", False))


def test_it_waits_until_enough_hosts_have_joined() -> None:
    control = Control(3)
    join_at(control, control[2], 20)
    join_at(control, control[3], 40)
    before = control.time.now
    assert len(control.gather(hosts_option(2))) == 2
    assert 20 <= control.time.now - before < 21


def test_too_few_hosts_in_time_are_named() -> None:
    control = Control(3)
    join_at(control, control[3], 100)
    assert refusal(control, least=3, seconds=60.0) == (
        "only 2 of 3 hosts joined within 1m (worker-1, worker-2); start more Dask workers, or give a lower --min-hosts "
        "or a longer --hosts-timeout"
    )
    assert control.time.now < 1000 + 62


def test_no_host_at_all() -> None:
    assert refusal(Control(0)) == (
        "only 0 of 1 host joined within 1m; start more Dask workers, or give a lower --min-hosts or a longer "
        "--hosts-timeout"
    )


def test_a_signal_ends_the_wait() -> None:
    control = Control(1)
    control.time.after(5, lambda: control.fleet.signal(1))
    with pytest.raises(Stopped):
        control.gather(hosts_option(2))
    assert control.time.now < 1006


def test_a_lost_scheduler_ends_the_wait() -> None:
    control = Control(1)
    control.time.after(5, control.fleet.lose_scheduler)
    assert refusal(control, least=2) == LOST
    assert control.time.now < 1006


def test_the_scheduler_is_lost_while_hosts_are_asked() -> None:
    control = Control(2)
    control[2].there = 5.0
    control.time.after(1, control.fleet.lose_scheduler)
    assert refusal(control) == LOST


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"version": "0.1"},
            f"it has ocidriver 0.1, and the controller has {__version__}; install the same version",
        ),
        (
            {"protocol": 99},
            f"its ocidriver has protocol 99, and that of the controller has {PROTOCOL}; install the same version",
        ),
        (
            {"distributed": "1.0"},
            "it has distributed 1.0, and the controller has 2026.8.0; install the same version",
        ),
        (
            {"driving": Driving(run="r", since="2026-01-31 12:01:00", by="joe on there")},
            "it has been driving another run since 2026-01-31 12:01:00 (by joe on there)",
        ),
    ],
)
def test_hosts_that_cannot_take_part_are_named_with_the_reason(facts: dict[str, Any], told: str) -> None:
    control = Control(4)
    for number in (2, 4):
        facts_with(control[number], **facts)
    assert refusal(control) == f"not all hosts can take part: 2 hosts (worker-2, worker-4): {told}"


def test_a_host_that_does_not_answer() -> None:
    control = Control(2)
    control.fleet.freeze(control[2], 100)
    assert refusal(control) == "not all hosts can take part: host worker-2: no answer within 10s"


def test_different_reasons_are_told_apart() -> None:
    control = Control(4)
    for number in (1, 2, 4):
        facts_with(control[number], version="0.1")
    control.fleet.freeze(control[3], 100)
    text = refusal(control)
    assert text.startswith(
        "not all hosts can take part: 3 hosts (worker-1, worker-2, worker-4): it has ocidriver 0.1"
    )
    assert text.endswith("; host worker-3: no answer within 10s")


def test_control_characters_of_a_host_reach_no_message() -> None:
    control = Control(2)
    control[2].worker = "w\x1b[31m\n2"
    facts_with(control[2], version="0\x1b[0m\n1")
    text = refusal(control)
    assert text.isprintable()
    assert "host w [31m 2: it has ocidriver 0 [0m 1" in text


def test_names_of_hosts_are_clean_and_short() -> None:
    control = Control(1)
    facts_with(control[1], node="a\x00b" + 1000 * "x")
    (member,) = control.gather()
    assert member.name.isprintable()
    assert len(member.name) == 100


# ---- machines


def test_one_worker_of_each_machine_takes_part() -> None:
    control = Control(4)
    for number in (2, 4):
        facts_with(control[number], machine="machine 1", node="load-1")
    members = control.gather(hosts_option(2))
    assert [each.worker for each in members] == ["worker-1", "worker-3"]
    assert control.cautions == [
        "2 Dask workers left out, because another one on the same machine takes part: worker-2, worker-4"
    ]


def test_too_few_machines() -> None:
    control = Control(2)
    facts_with(control[2], machine="machine 1")
    assert refusal(control, least=2) == (
        "--min-hosts 2: the Dask workers are on 1 machine only; start one on each machine"
    )


def test_local_hosts_share_this_machine() -> None:
    control = Control(3)
    for number in (1, 2, 3):
        facts_with(control[number], machine="this one", node="here")
    members = control.gather(hosts_option(3, local=3))
    assert [each.name for each in members] == ["worker-1", "worker-2", "worker-3"]
    assert control.cautions == []


def test_machines_with_the_same_name_have_the_names_of_their_workers() -> None:
    control = Control(3)
    for number in (1, 2):
        facts_with(control[number], node="localhost")
    assert [each.name for each in control.gather()] == ["worker-1", "worker-2", "load-3"]


def test_a_machine_with_the_name_of_another_worker() -> None:
    control = Control(3)
    facts_with(control[1], node="")
    facts_with(control[2], node="worker-1")
    assert [each.name for each in control.gather()] == [
        "tcp://10.0.0.1:8788",
        "tcp://10.0.0.2:8788",
        "load-3",
    ]


# ---- shares


def test_hosts_without_a_worker_stay_idle() -> None:
    control = Control(4)
    members = assign(control.hearing, control.gather(), 2)
    assert [(each.name, str(each.share)) for each in members] == [("load-1", "1/2"), ("load-2", "2/2")]
    assert control.cautions == [
        "2 hosts will be idle, because the load has only 2 workers: load-3, load-4; give more workers"
    ]
    # what happens to them does not matter
    control.fleet.lose(control[4])
    control.hearing.pause(10)
    assert len(control.cautions) == 1
    assert set(control.hearing.members) == {control[1].address, control[2].address}
