"""The demonstration, run as a user runs it, only shorter."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lib.lab.demo import command_line, first_and_repeat
from lib.lab.scene import Scene
from tests.support.paths import ROOT
from tests.support.processes import descendants, wait_until_gone
from tests.support.running import run
from tests.support.summaries import LATENCY, a_summary
from tests.support.waiting import SECONDS, wait_until

SHORT = ("--iteration-seconds", "0.5", "--tally-seconds", "1")


def start(folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lib.lab.demo", str(folder), *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demo_runs_the_driver_and_tells_the_result(tmp_path: Path, crane: str) -> None:
    del crane
    with start(tmp_path / "out", *SHORT) as demo:
        shown = demo.communicate(timeout=2 * SECONDS)[0]
    assert demo.returncode == 0, shown
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    metrics = (tmp_path / "out" / "metrics.tsv").read_text()
    events = (tmp_path / "out" / "events.jsonl").read_text().splitlines()
    assert summary["failed"] == 0
    assert summary["pulled"] == len(events) > 0
    assert metrics
    assert metrics in shown
    assert re.search(
        r"^\./ocidriver\.py --pullthrough-url \S+ .*--patterns=-0001,-0002,-0003 ", shown, re.MULTILINE
    )
    assert f"of {summary['pulled']} pulls, " in shown
    assert str(tmp_path / "out" / "ocidriver.log") in shown


def test_without_docker_registry_the_demo_takes_the_labs_own_cache_and_says_so(
    tmp_path: Path, crane: str
) -> None:
    for name, path in (("crane", crane), ("python", sys.executable)):
        (tmp_path / name).symlink_to(path)
    program = (
        "import sys\nfrom lib.lab import demo\n"
        f"sys.executable = {str(tmp_path / 'python')!r}\n"
        f"demo.main([{str(tmp_path / 'out')!r}, *{SHORT!r}])"
    )
    environment = {"PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = run(sys.executable, "-c", program, cwd=ROOT, environment=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "docker-registry is not installed: apt-get install docker-registry" in ran.stdout
    assert "using the lab's own cache on 127.0.0.1:" in ran.stdout
    assert "--layout" not in ran.stdout
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["pulled"] > 0


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)],
)
def test_the_demo_leaves_no_process_whatever_ends_it(
    tmp_path: Path, crane: str, number: signal.Signals, status: int
) -> None:
    """In mid-run, with all its servers and a driver running."""
    del crane
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    options = ("--iteration-seconds", "20", "--tally-seconds", "0.5")
    with start(tmp_path / "out", *options, TMPDIR=str(temporary)) as demo:
        metrics = tmp_path / "out" / "metrics.tsv"
        wait_until(lambda: metrics.exists() and metrics.read_text())
        below = descendants(demo.pid)
        assert len(below) >= 2
        demo.send_signal(number)
        shown = demo.communicate(timeout=SECONDS)[0]
    assert demo.returncode == status, shown
    wait_until_gone(below)
    if number != signal.SIGKILL:
        assert "Traceback" not in shown
        assert not list(temporary.iterdir())


def test_the_command_line_is_one_that_can_be_typed(tmp_path: Path) -> None:
    typed = command_line(Scene("up:1", "cache:2", "distribution"), tmp_path, ["--tally-seconds", "3"])
    assert typed[:7] == [
        *("--pullthrough-url", "cache:2", "--registry-url", "up:1"),
        *("--patterns=-0001,-0002,-0003", "--layout", "distribution"),
    ]
    assert typed[-8:][0::2] == ["--metrics-file", "--log-file", "--summary-file", "--events-file"]


def test_what_it_says_of_first_pulls() -> None:
    assert first_and_repeat(a_summary(first_latency_ms=LATENCY)) == (
        "First pulls of an image, which the cache had to fetch, took 2.04 ms (median); all others 2.04 ms."
    )
    assert "nothing to say about the cache" in first_and_repeat(a_summary(first_latency_ms=None))
