"""What several hosts have found, put together: equal results are one line, different ones are told apart."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lib.doctor.check import FAILURE, OK, WARNING, Check
from lib.doctor.merged import common_changes, merged, same_clients, worded
from lib.hosts.protocol import Examined
from lib.results.summary import ClientInfo

ROOM = Check("room", OK, "1 GiB free")
NO_CLIENT = Check("client", FAILURE, "crane not found", "install it")
CLIENT = Check("client", OK, "crane 0.20")


def lines(found: Mapping[str, list[Check]]) -> list[str]:
    """Each with its status and its name."""
    return [
        f"{each.status} {each.name}: {each.message}" for each in worded(merged(found), lambda: len(found))
    ]


def names(count: int) -> list[str]:
    return [f"load-{number}" for number in range(1, count + 1)]


def test_equal_results_are_one_line() -> None:
    found = {name: [ROOM, CLIENT] for name in names(20)}
    assert lines(found) == ["ok room: 20 hosts: 1 GiB free", "ok client: 20 hosts: crane 0.20"]
    assert [each.hosts for each in merged(found)] == [tuple(names(20))] * 2


def test_one_host_is_named() -> None:
    assert lines({"a": [ROOM]}) == ["ok room: host a: 1 GiB free"]


def test_hosts_that_cannot_take_part_are_named() -> None:
    """There may be no others."""
    checks = merged({name: [Check("hosts", FAILURE, "no answer")] for name in ("a", "b")})
    assert [each.message for each in worded(checks, lambda: 0)] == ["2 hosts (a, b): no answer"]


def test_different_results_are_grouped() -> None:
    found = {name: [NO_CLIENT] for name in names(17)}
    found["b"] = [Check("client", FAILURE, "no answer")]
    found["c"] = [CLIENT, ROOM]
    assert lines(found) == [
        "ok client: host c: crane 0.20",
        "failure client: 17 hosts (load-1, load-2, load-3, load-4, load-5 and 12 others): crane not found",
        "failure client: host b: no answer",
        "ok room: host c: 1 GiB free",
    ]
    assert merged(found)[1].advice == "install it"


def test_the_checks_are_in_the_order_of_the_host_with_most_of_them() -> None:
    checks = [Check(name, OK, "x") for name in ("client", "server", "pull", "room")]
    found = {"a": [NO_CLIENT, checks[3]], "b": checks}
    assert list(dict.fromkeys(each.name for each in merged(found))) == ["client", "server", "pull", "room"]


def test_of_many_different_results_that_are_well_one_is_the_example() -> None:
    found = {name: [Check("pull", OK, f"{name} pulled"), ROOM] for name in names(20)}
    assert lines(found) == [
        "ok pull: 20 hosts, such as load-1: load-1 pulled",
        "ok room: 20 hosts: 1 GiB free",
    ]
    assert len(merged(found)) == 21


def test_of_many_different_problems_the_first_ones_are_shown() -> None:
    found = {name: [Check("pull", WARNING, f"{name} was slow")] for name in names(20)}
    shown = lines(found)
    assert shown[:7] == [f"warning pull: host {name}: {name} was slow" for name in names(7)]
    assert shown[7:] == ["warning pull: 13 hosts, such as load-8: load-8 was slow"]


def test_a_result_that_a_host_has_twice_names_it_once() -> None:
    assert merged({"a": [ROOM, ROOM]})[0].hosts == ("a",)


def test_checks_of_this_machine_stay_as_they_are() -> None:
    assert list(worded([ROOM, NO_CLIENT, ROOM], lambda: 3)) == [ROOM, NO_CLIENT, ROOM]


@pytest.mark.parametrize(
    ("changes", "common", "undecided"),
    [
        ([{}, {}], {}, False),
        ([{"--layout": "zot"}, {"--layout": "zot"}], {"--layout": "zot"}, False),
        ([{"--layout": "zot"}, {}], {}, True),
        ([{"--layout": "zot"}, {"--layout": "direct"}], {}, True),
        # what one host cannot do, the load cannot do
        ([{"--prune": None}, {}], {"--prune": None}, False),
        ([{"--prune": None}, {"--prune": "x"}], {}, True),
        ([{"--prune": None, "--client": "skopeo"}, {"--prune": None}], {"--prune": None}, True),
    ],
)
def test_the_changes_of_all_hosts(
    changes: list[dict[str, str | None]], common: dict[str, str | None], undecided: bool
) -> None:
    found = [Examined(checks=[], changes=each, undecided=False, client=None) for each in changes]
    assert common_changes(found) == (common, undecided)


def test_the_hosts_need_the_same_client() -> None:
    old, new = (ClientInfo(name="crane", version=version) for version in ("0.19", "0.20"))
    other = ClientInfo(name="skopeo", version="1.9")
    assert list(same_clients({})) == list(same_clients({"a": new, "b": new})) == []
    (check,) = same_clients({"a": new, "b": old, "c": new})
    assert check.status == WARNING
    assert check.message.endswith(
        "different versions of the client: 2 hosts (a, c): crane 0.20; host b: crane 0.19"
    )
    (check,) = same_clients({"a": new, "b": old, "c": other})
    assert check.status == FAILURE
    assert check.message.endswith("different clients: 2 hosts (a, b): crane; host c: skopeo")
