"""A server that stalls, seen by a schedule and by workers that wait for it. With real crane and a real registry."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.driving import Ended, drive, finish, start, wait_for_outcomes
from tests.support.upstream import Upstream

STALL = 4.0
RATE = 10
WORKERS = 4


@dataclass(frozen=True)
class Pull:
    """When it began, by a schedule when it was due, and when it ended; wall time."""

    began: float
    ended: float


def pulls_of(ended: Ended) -> list[Pull]:
    ends = [datetime.fromisoformat(event["time"]).timestamp() for event in ended.events]
    return [Pull(end - event["seconds"], end) for end, event in zip(ends, ended.events, strict=True)]


def test_a_stall_shows_in_the_latencies_of_a_schedule_only(
    upstream: Upstream, crane: str, tmp_path: Path
) -> None:
    """Two runs of 12 s, one with a schedule, pull from a registry that is stopped once both are under way.

    All pulls due in the stall's first half have to wait for its second half at least. Workers without a schedule show
    the stall once each.
    """
    running = {}
    for name, more in (("open", [f"--rate={RATE}"]), ("closed", [])):
        (tmp_path / name).mkdir()
        running[name] = start(
            tmp_path / name, f"--pullthrough-url={upstream.address}", f"--registry-url={upstream.address}",
            "--layout=direct", f"--client={crane}", f"--workers={WORKERS}", "--iteration-seconds=1.5", *more,
        )  # fmt: skip
    for name in running:
        wait_for_outcomes(tmp_path / name, "ok")
    os.kill(upstream.server.pid, signal.SIGSTOP)
    stopped = time.time()
    try:
        time.sleep(STALL)
    finally:
        went_on = time.time()
        os.kill(upstream.server.pid, signal.SIGCONT)
    opened, closed = (finish(process, tmp_path / name) for name, process in running.items())
    for each in (opened, closed):
        assert each.status == 0
        each.check_accounts()
    middle = stopped + STALL / 2
    waited = [pull for pull in pulls_of(opened) if stopped < pull.began < middle and pull.ended > went_on]
    assert len(waited) > WORKERS
    assert len(waited) + opened.summary["unstarted"] >= RATE * STALL / 2 - 2
    assert opened.summary["latency_ms"]["max"] > STALL / 2 * 1000
    stuck = [pull for pull in pulls_of(closed) if pull.began < middle and pull.ended > went_on]
    assert len(stuck) <= WORKERS


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
