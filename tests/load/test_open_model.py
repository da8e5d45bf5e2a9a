"""A server that stalls, seen by a schedule and by workers that wait for it. With real crane and a real registry."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.driving import Ended, drive, finish, start
from tests.support.upstream import Upstream

STALL = 5.0


def run_through_a_stall(upstream: Upstream, crane: str, folder: Path, *options: str) -> Ended:
    """The registry is stopped for so long in a run of 8 s, once pulls are under way."""
    folder.mkdir()
    process = start(
        folder, f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}",
        "--layout=direct", f"--client={crane}", "--workers=4", "--iteration-seconds=1", *options,
    )  # fmt: skip
    events = folder / "events"
    while process.poll() is None and not (events.exists() and events.stat().st_size):
        time.sleep(0.01)
    os.kill(upstream.server.pid, signal.SIGSTOP)
    try:
        time.sleep(STALL)
    finally:
        os.kill(upstream.server.pid, signal.SIGCONT)
    return finish(process, folder)


def test_a_stall_shows_in_the_latencies_of_a_schedule(upstream: Upstream, crane: str, tmp_path: Path) -> None:
    opened = run_through_a_stall(upstream, crane, tmp_path / "open", "--rate=20")
    assert opened.status == 0
    opened.check_accounts()
    slow = [event for event in opened.events if event["seconds"] > STALL / 2]
    # one due every 50 ms: all that were due in the stall's first half waited for at least its second
    assert len(slow) >= 20 * STALL / 2 - 4
    assert opened.summary["latency_ms"]["p99"] > 4000
    closed = run_through_a_stall(upstream, crane, tmp_path / "closed")
    closed.check_accounts()
    assert len([event for event in closed.events if event["seconds"] > STALL / 2]) <= 4  # one a worker


@pytest.mark.parametrize("batch", [1, 4])
def test_a_schedule_counts_pulls_not_launches(
    upstream: Upstream, crane: str, tmp_path: Path, batch: int
) -> None:
    ended = drive(
        tmp_path, f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}",
        "--layout=direct", f"--client={crane}", "--workers=2",
        "--iteration-seconds=0.5", "--rate=40", f"--batch={batch}",
    )  # fmt: skip
    ended.check_accounts()
    summary = ended.summary
    attempts = summary["pulled"] + summary["failed"] + summary["interrupted_pulls"]
    assert 80 <= attempts + summary["unstarted"] < 80 + batch
