"""A load on several hosts in the live view: hosts in place of workers, those with trouble first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lib.load.closed import Sample
from lib.load.ramp import plan_ramp
from lib.progress.host_rows import host_rows, states
from lib.progress.host_table import host_table
from lib.progress.snapshot import Watch
from lib.progress.view import view_lines
from lib.results.host_line import HostLine, HostState
from tests.progress.test_snapshot import LATENCY, START, Clock, clock, run_of
from tests.progress.test_view import snapshot

__all__ = ["clock"]
HOSTS = (
    HostLine(name="a", state="running", workers=4, pulled=1200, failed=0, rate=12.5, last_piece=START),
    HostLine(name="b", state="lost", workers=4, pulled=300, failed=2, last_piece=START),
    HostLine(name="c\x1b[2J", state="silent", workers=3, pulled=1100, failed=0, rate=11.0, last_piece=START - 12.0),
    HostLine(name="d", state="running", workers=3, pulled=1000, failed=1, rate=10.0, last_piece=START),
)  # fmt: skip


def test_hosts_with_trouble_come_first_and_the_rest_is_counted() -> None:
    rows, more = host_rows(HOSTS, START, 3)
    assert [row.name[0] for row in rows] == ["b", "c", "a"]
    assert more == 1
    assert [row.rate for row in rows] == [None, None, 12.5]
    assert [row.seconds for row in rows] == [None, 12.0, None]
    assert rows[1].name.isprintable()
    assert states(HOSTS) == (("running", 2), ("silent", 1), ("lost", 1))
    assert host_rows((), START, 3) == ((), 0)


@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_the_table_fits_any_width(width: int) -> None:
    rows, more = host_rows([*HOSTS, replace(HOSTS[0], name="a-host-with-a-long-name" * 4)], START, 5)
    lines = list(host_table(rows, more, width))
    assert all(line.cell_len <= width for line in lines), [line.plain for line in lines]
    assert lines[0].plain.startswith("host")
    if width >= 80:
        assert lines[0].plain.split() == ["host", "workers", "pulled", "failed", "pulls/s", "now"]
        assert lines[2].plain.split()[-6:] == ["3", "1,100", "0", "-", "silent", "0:12"]
        assert lines[3].plain.split() == ["a", "4", "1,200", "0", "12.5", "running"]


def test_a_snapshot_of_hosts_has_no_workers_and_reads_no_cpu_of_its_own(clock: Clock) -> None:
    run = run_of()
    run.hosts = HOSTS
    run.image_sets = ()
    watch = Watch(run, plan_ramp(3, 10.0))
    assert watch.snapshot(rows=2, steps=0).cores == 0.0
    run.tally.samples.append(
        Sample(15.0, 15.0, 3, 30, 0, LATENCY, driver_cpu_seconds=3.0, client_cpu_seconds=60.0, cores=8.0,
               limits=("client",), hosts=3)
    )  # fmt: skip
    clock.now += 2.0
    seen = watch.snapshot(rows=2, steps=0)
    assert seen.rows == ()
    assert [row.name[0] for row in seen.hosts] == ["b", "c"]
    assert seen.more == 2
    assert seen.rate == 33.5  # what each host reported last, and no difference of totals
    assert seen.bars == (33.5,)
    assert (seen.driver_cpu, seen.client_cpu, seen.cores) == (0.2, 4.0, 8.0)
    assert seen.limit is not None
    assert "nearly all CPU of a host; " in seen.limit
    assert seen.limited


def test_the_view_shows_hosts() -> None:
    rows, more = host_rows(HOSTS, START, 4)
    shown = replace(snapshot(0, 24), hosts=rows, states=states(HOSTS), more=more, doing=())
    lines = [line.plain for line in view_lines(shown, 160, 40)]
    assert "workers    0 of 0 planned, 0 in all, on 4 hosts: 2 running, 1 silent, 1 lost" in lines
    assert any("CPU of the hosts: drivers 8 %, clients 130 % of 200 %" in line for line in lines)
    assert [line.split()[0][:1] for line in lines[-4:]] == ["b", "c", "a", "d"]
    for width in (30, 60, 80):
        assert all(line.cell_len < width for line in view_lines(shown, width, 24))


def test_states_are_those_that_a_host_may_have() -> None:
    every: tuple[HostState, ...] = ("joined", "ready", "running", "silent", "ended", "lost")
    assert [state for state, _ in states([HostLine(name="x", state=each) for each in every])] == list(every)
