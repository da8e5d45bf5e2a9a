"""Signals at random moments from a run's first statement to after its end: nothing half written, nothing left behind.

OCIDRIVER_STOPS sets how many runs are stopped, OCIDRIVER_STOPS_SEED the moments.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from lib.lab.servers import lab_cache
from lib.processes.signals import SIGNALS
from tests.doubles.fake_crane import image_list, install
from tests.support.driving import (
    NOBODY,
    Ended,
    finish,
    left_running,
    read,
    start,
    wait_for_log,
    wait_for_the_script,
)
from tests.support.upstream import Upstream
from tests.support.waiting import SECONDS

STOPS = int(os.environ.get("OCIDRIVER_STOPS", "40"))
SEED = int(os.environ.get("OCIDRIVER_STOPS_SEED", "1"))
# Runs at a time; they disturb each other, so that a moment finds the run here or there.
TOGETHER = 3
SHORT = ("--workers=2", "--iteration-seconds=0.3", "--tally-seconds=0.2", "--grace=0.5")


@dataclass(frozen=True)
class Plan:
    """The first signal comes so many seconds after the script began, a second one so many after the first.

    With `after`, the first one comes when these words are in the log. `more` are options of that run.
    """

    number: int
    signals: tuple[signal.Signals, ...]
    first: float
    between: float
    after: str | None = None
    more: tuple[str, ...] = ()


def plans(count: int, seconds: float) -> list[Plan]:
    """Over a run of so many seconds, and a little more."""
    random = Random(SEED)
    known = [
        Plan(count, (signal.SIGTERM,), 0.0, 0.0, "\tstart worker 0", ("--iteration-seconds=60",)),
        Plan(count + 1, (signal.SIGINT, signal.SIGTERM), 0.0, 0.0, "\tstop all workers"),
        Plan(count + 2, (signal.SIGTERM,), 0.0, 0.0, "\ttest ends: "),
    ]
    return known + [
        Plan(
            number,
            tuple(random.choice(SIGNALS) for _ in range(random.choice((1, 1, 2)))),
            random.uniform(0.0, 1.1 * seconds),
            random.choice((0.0, random.uniform(0.0, 0.3))),
        )
        for number in range(count)
    ]


def begin(folder: Path, options: list[str]) -> subprocess.Popen[str]:
    (folder / "temporary").mkdir(parents=True)
    running = start(folder, *SHORT, *options, environment={"TMPDIR": str(folder / "temporary")})
    wait_for_the_script(running, folder)
    return running


def stopped(folder: Path, options: list[str], plan: Plan) -> Ended:
    running = begin(folder, [*options, *plan.more])
    if plan.after is not None:
        wait_for_log(folder, plan.after)
    time.sleep(plan.first)
    for number in plan.signals:
        running.send_signal(number)
        time.sleep(plan.between)
    out, err = running.communicate(timeout=SECONDS)
    check_whole(folder)
    return read(folder, running.returncode, out, err)


def check_whole(folder: Path) -> None:
    """Each file that is there is whole, and none is there besides."""
    names = {path.name for path in folder.iterdir()}
    assert names <= {"metrics", "log", "events", "summary.json", "temporary"}
    for name in names & {"metrics", "log", "events"}:
        assert (folder / name).read_text()[-1:] in ("", "\n")
    if "summary.json" in names:
        assert json.loads((folder / "summary.json").read_text())["schema"] == 1


def check_end(ended: Ended, plan: Plan) -> None:
    assert (ended.stdout, ended.stderr) == ("", "")
    assert "Traceback" not in ended.log
    assert list((ended.folder / "temporary").iterdir()) == []
    assert left_running(ended.folder / "temporary") == []
    caught, uncaught = {128 + number for number in plan.signals}, {-number for number in plan.signals}
    assert ended.status in {0} | caught | uncaught
    if ended.summary:
        ended.check_accounts()
    else:  # the signal was the first to come
        assert ended.status in uncaught
        assert ended.log == ""


def check_all(folder: Path, options: list[str]) -> None:
    undisturbed = folder / "undisturbed"
    running, began = begin(undisturbed, options), time.monotonic()
    good = finish(running, undisturbed)
    seconds = time.monotonic() - began
    assert (good.status, good.stderr, good.summary["interrupted"]) == (0, "", False)
    planned = plans(STOPS // 2, seconds)
    with ThreadPoolExecutor(TOGETHER) as pool:
        ends = list(pool.map(lambda plan: stopped(folder / str(plan.number), options, plan), planned))
    for ended, plan in zip(ends, planned, strict=True):
        check_end(ended, plan)
    assert any(ended.summary.get("interrupted") for ended in ends)


@pytest.mark.timeout(200 + 10 * STOPS)
def test_the_real_client_through_a_cache_with_prunes(crane: str, upstream: Upstream, tmp_path: Path) -> None:
    with lab_cache(upstream.address) as cache:
        check_all(
            tmp_path,
            [
                f"--pullthrough-url={cache.address}",
                f"--registry-url={upstream.address}",
                f"--client={crane}",
                "--prune",
            ],
        )


@pytest.mark.timeout(200 + 10 * STOPS)
def test_a_client_that_is_slow_hangs_and_leaves_processes(tmp_path: Path) -> None:
    client = install(tmp_path)
    images = image_list(client, ["ok/a:1", "slow/b:1", "orphan/c:1", "hang/d:1"])
    check_all(
        tmp_path,
        [
            *NOBODY,
            *(f"--client={client}", f"--image-list={images}", "--pull-timeout=0.5"),
        ],
    )
