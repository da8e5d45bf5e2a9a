"""A load on machines with a network, processes and a clock of their own, against a real docker-registry."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.load.latency import Latencies
from tests.support.driving import Ended, files, finish, left_running
from tests.support.machines import Machines, why_not
from tests.support.waiting import wait_until

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
# A cut that is longer than this loses a host.
SHORT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    with Machines(tmp_path, 3) as machines:
        machines.registries(6)
        yield machines


def begin(machines: Machines, *options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        machines.command(*files(machines.folder), *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_pulls(machines: Machines, count: int) -> None:
    """Until the metrics tell of so many intervals."""
    metrics = machines.folder / "metrics"
    wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= count)


def wait_for_log(machines: Machines, words: str) -> None:
    log = machines.folder / "log"
    wait_until(lambda: words in log.read_text(), describe=log.read_text)


def check(ended: Ended, *, late: bool = False) -> None:
    ended.check_accounts(late=late)
    for host in ended.summary["hosts"]:
        own = [each for each in ended.events if each["host"] == host["name"]]
        assert [each["outcome"] for each in own].count("ok") == host["pulled"]


def test_the_log_of_a_real_registry_agrees_and_clocks_may_differ(machines: Machines) -> None:
    machines.scheduler()
    for name in machines.names:
        machines.worker(name, clock=1000 if name == "m2" else 0)
    running = begin(machines, "--workers=4", "--deal=all", "--passes=5", "--tally-seconds=1")
    ended = finish(running, machines.folder)
    assert ended.status == 0, ended.stderr
    check(ended)
    summary = ended.summary
    assert (summary["pulled"], summary["failed"], summary["complete"]) == (4 * 6 * 5, 0, True)
    log = machines.log("hub").read_text(errors="replace")
    pulls = re.findall(r'"GET /v2/\S+/manifests/\S+ HTTP/1.1" 200 \d+ "" "crane', log)
    assert len(pulls) == summary["pulled"]
    # begun by clocks that are 1000 s apart, all within what the probes can tell
    began = [host["began"][:19] for host in summary["hosts"]]
    assert max(began)[:16] == min(began)[:16]
    assert all(host["clock_error_ms"] < 500 for host in summary["hosts"])
    histogram = Latencies()
    for event in ended.events:
        histogram.add(event["seconds"])
    whole = histogram.result()
    assert whole is not None
    wanted, found = whole.rounded(), summary["latency_ms"]
    assert (found["count"], found["p50"], found["p95"], found["p99"]) == pytest.approx(
        (wanted.count, wanted.p50, wanted.p95, wanted.p99), rel=2e-3
    )


def test_a_short_cut_loses_nothing(machines: Machines) -> None:
    machines.scheduler()
    for name in machines.names:
        machines.worker(name)
    running = begin(
        machines, "--workers=3", "--deal=all", "--duration=300", "--tally-seconds=1", "--grace=60"
    )
    wait_for_pulls(machines, 2)
    machines.cut("m2")
    wait_for_log(machines, "silent for 10 s")
    machines.heal("m2")
    wait_for_log(machines, "is back")
    running.send_signal(signal.SIGTERM)
    ended = finish(running, machines.folder)
    assert ended.status == 143, ended.stderr
    check(ended, late=True)
    assert ended.summary["complete"]


def test_a_long_cut_loses_the_host_and_leaves_nothing_there(machines: Machines) -> None:
    machines.scheduler(SHORT)
    for name in machines.names:
        machines.worker(name, environment=SHORT)
    running = begin(
        machines,
        "--workers=3",
        "--deal=all",
        "--duration=300",
        "--tally-seconds=1",
        "--grace=2",
        "--lost-hosts=1",
    )
    wait_for_pulls(machines, 2)
    machines.cut("m2")
    wait_for_log(machines, "lost at")
    wait_until(lambda: not left_running(machines.folder / "m2"))
    running.send_signal(signal.SIGTERM)
    ended = finish(running, machines.folder)
    assert ended.status == 143, ended.stderr
    lost = [host for host in ended.summary["hosts"] if host["lost"]]
    assert [host["share"] for host in lost] == ["2/3"]
    assert not ended.summary["complete"]
    assert "are missing" in (machines.folder / "log").read_text()
    others = [host for host in ended.summary["hosts"] if not host["lost"]]
    assert len(ended.events) == sum(
        host["pulled"] + host["failed"] + host["interrupted_pulls"] for host in others
    )
