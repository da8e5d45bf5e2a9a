"""The private files do not outlive the run, whatever ends it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from lib.lab.servers import Server
from tests.doubles.secured import LISTER, PULLER, kept_in_docker
from tests.support.driving import drive, start, wait_for_outcomes
from tests.support.secured_runs import QUICK, World, apart, servers
from tests.support.waiting import wait_until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_private_files_are_gone_after_a_signal(
    number: signal.Signals, world: World, upstream: Server, cache: Server, crane: str, tmp_path: Path
) -> None:
    """After a SIGKILL it is the guard that removes them."""
    login = kept_in_docker(tmp_path, {upstream.address: LISTER, cache.address: PULLER})
    running = start(
        tmp_path, *servers(cache, upstream), *QUICK[:2], "--iteration-seconds=30", f"--client={crane}",
        f"--ca-file={world.authority.path}", environment={**apart(tmp_path), **login},
    )  # fmt: skip
    wait_for_outcomes(tmp_path, "ok")
    config = next((tmp_path / "tmp").glob("ocidriver-*/docker/config.json"))
    assert config.stat().st_mode & 0o777 == 0o600
    assert PULLER.basic in config.read_text()
    running.send_signal(number)
    running.communicate(timeout=100)
    wait_until(lambda: not list((tmp_path / "tmp").iterdir()))


def test_the_next_start_removes_what_a_killed_run_and_a_killed_guard_left(
    world: World, upstream: Server, cache: Server, crane: str, tmp_path: Path
) -> None:
    login = kept_in_docker(tmp_path, {upstream.address: LISTER, cache.address: PULLER})
    options = (*servers(cache, upstream), *QUICK, f"--client={crane}", f"--ca-file={world.authority.path}")
    environment = {**apart(tmp_path), **login}
    running = start(tmp_path, *options, "--iteration-seconds=30", environment=environment)
    wait_for_outcomes(tmp_path, "ok")
    (config,) = (tmp_path / "tmp").glob("ocidriver-*/docker/config.json")
    folder = config.parent.parent
    os.kill(guard_of(folder), signal.SIGKILL)
    running.kill()
    running.communicate(timeout=100)
    assert config.exists()
    (tmp_path / "next").mkdir()
    ended = drive(tmp_path / "next", *options, environment=environment)
    assert ended.status == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def guard_of(folder: Path) -> int:
    """The process that has the folder as its last argument."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if words[-2:] == [str(folder).encode(), b""] and b"guard.py" in words[-3]:
            return int(path.parent.name)
    raise AssertionError("no guard")
