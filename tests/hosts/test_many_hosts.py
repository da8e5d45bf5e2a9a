"""A hundred and five hundred hosts: nothing is lost. How much CPU time that takes is for the benchmarks."""

from __future__ import annotations

import pytest

from lib.hosts.protocol import ReadClock
from tests.support.controlling import Control
from tests.support.fake_fleet import Scene


@pytest.mark.parametrize(("hosts", "seconds"), [(100, 40), (500, 10)])
def test_many_hosts(hosts: int, seconds: int) -> None:
    control = Control(hosts, Scene(workers=2 * hosts, seconds=seconds, tally_seconds=5))
    assert control.run() is None
    summary = control.summary()
    assert summary.pulled == 2 * hosts * seconds
    assert summary.complete is True
    assert len(summary.of_hosts) == hosts
    assert {each.pulled for each in summary.of_hosts} == {2 * seconds}
    assert [each.pulled for each in control.samples] == [10 * hosts] * (seconds // 5)
    assert control.cautions == []
    assert len(control.fleet.asked_of(ReadClock)) >= 16 * hosts
    pieces = sum(member.part.pieces for member in control.members if member.part is not None)
    print(f"{hosts} hosts: {1000 * control.fleet.used / pieces:.2f} ms of CPU per piece")
