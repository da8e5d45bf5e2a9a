"""The run's temporary folder, its lock, and the guard that outlives a killed driver."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lib.processes.guard import MARK, Guard, marked
from lib.processes.scratch import Scratch
from tests.support.paths import ROOT
from tests.support.processes import alive
from tests.support.waiting import SECONDS, wait_until


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_it_is_the_users_alone_and_gone_afterwards(tmp_path: Path) -> None:
    with Scratch() as scratch:
        assert scratch.path.parent == tmp_path
        assert scratch.path.stat().st_mode & 0o777 == 0o700
        (scratch.folder("worker-0") / "file").touch()
        assert scratch.folder("worker-0").stat().st_mode & 0o777 == 0o700
    assert list(tmp_path.iterdir()) == []


def test_a_later_start_removes_what_nobody_holds_and_nothing_else(tmp_path: Path) -> None:
    with Scratch() as running:
        abandoned = tmp_path / "ocidriver-abandoned"
        abandoned.mkdir()
        (abandoned / "lock").touch()
        foreign = tmp_path / "ocidriver-without-lock"
        foreign.mkdir()
        with Scratch() as other:
            assert running.path.exists()
            assert foreign.exists()
            assert not abandoned.exists()
            assert other.path != running.path
        assert running.path.exists()


def test_no_link_leads_a_later_start_elsewhere(tmp_path: Path) -> None:
    """Where all may write, such as /tmp, somebody else may have made folders and links of such names."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "lock").touch()
    (tmp_path / "ocidriver-link").symlink_to(mine)
    trap = tmp_path / "ocidriver-trap"
    trap.mkdir()
    (trap / "lock").symlink_to(mine / "lock")
    (trap / "inner").symlink_to(mine)
    with Scratch():
        assert (mine / "lock").exists()
        assert trap.exists()
    abandoned = tmp_path / "ocidriver-abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "inner").symlink_to(mine)
    with Scratch():
        assert not abandoned.exists()
    assert (mine / "lock").exists()


def test_a_folder_in_another_place_goes_with_it(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with Scratch() as scratch:
        made = scratch.elsewhere(place)
        assert made.parent == place
        assert made.stat().st_mode & 0o777 == 0o700
        (made / "file").touch()
        with pytest.raises(FileNotFoundError):
            scratch.elsewhere(tmp_path / "absent")
        for file in scratch.path.iterdir():
            assert file.stat().st_mode & 0o077 == 0
    assert list(place.iterdir()) == []


def test_a_later_start_removes_the_folder_that_a_killed_run_had_in_another_place(tmp_path: Path) -> None:
    place, mine = tmp_path / "place", tmp_path / "mine"
    (place / "ocidriver-left").mkdir(parents=True)
    mine.mkdir()
    (place / "ocidriver-link").symlink_to(mine)
    (mine / "file").touch()
    abandoned = tmp_path / "ocidriver-abandoned"
    abandoned.mkdir()
    (abandoned / "lock").touch()
    (abandoned / "elsewhere").write_text(f"{place}/ocidriver-left\n{place}/ocidriver-link\n")
    with Scratch():
        assert not abandoned.exists()
        assert not (place / "ocidriver-left").exists()
    assert (mine / "file").exists()


def test_the_guard_ends_what_a_client_left_and_nothing_else(tmp_path: Path) -> None:
    left, other = (
        subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: mark}, start_new_session=True)
        for mark in (str(tmp_path), f"{tmp_path}x")
    )
    try:
        with Guard(str(tmp_path)):
            while not (found := marked(str(tmp_path))):
                pass  # a process shows its environment a moment after its start
            assert found == [left.pid]
        assert left.wait(SECONDS) == -signal.SIGKILL
        assert other.poll() is None
        assert tmp_path.exists()
    finally:
        for process in (left, other):
            process.kill()
            process.wait()


DRIVER = """
import os, subprocess, sys, time
from lib.processes.guard import MARK, Guard
from lib.processes.scratch import Scratch
with Scratch() as scratch, Guard(str(scratch.path)):
    client = subprocess.Popen(["sleep", "600"], env={**os.environ, MARK: str(scratch.path)}, start_new_session=True)
    print(client.pid, scratch.path, flush=True)
    time.sleep(600)
"""


def test_clients_do_not_outlive_a_driver_that_was_killed() -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    pid, folder = driver.stdout.readline().split()
    assert alive(int(pid))
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    wait_until(lambda: not alive(int(pid)) and not Path(folder).exists())
