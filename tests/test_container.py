"""The entry point of the container image: the exit status, signals, and the time that orphans have to end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.processes import children, is_pending, read_file
from tests.support.running import run
from tests.support.waiting import SECONDS, wait_until

UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
ENTRY = (sys.executable, "-m", "lib.container")
# Leaves an orphan behind, which writes a file when it is told to end.
LEAVE = 'sh -c \'read -r _ <"$0"; echo >"$1"\' "$1" "$2" & exit 5'
# Waits a fifth of a second for an orphan that never ends.
REST = """
import os, sys
from lib.processes.first_process import stand_in_as_first_process
status = stand_in_as_first_process(0.2)
if status is None:
    os.execvp("sh", ["sh", "-c", "sleep 600 & exit 3"])
sys.exit(status)
"""

as_first = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")


@contextmanager
def first(*words: object, entry: tuple[str, ...] = ENTRY) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The entry point as PID 1; the process that makes the namespace, and the pid of PID 1 outside."""
    argv = [*UNSHARE, *entry, *map(str, words)]
    pipe = subprocess.PIPE
    running = subprocess.Popen(argv, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    try:
        wait_until(lambda: bool(list(children(running.pid))))
        yield running, next(children(running.pid))
    finally:
        running.kill()
        running.communicate()


@contextmanager
def first_with_an_orphan(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """As `first`, when its command has ended with 5, and its orphan waits for a line in the pipe `folder/told`."""
    os.mkfifo(folder / "told")
    with first("sh", "-c", LEAVE, "sh", folder / "told", folder / "ended") as (running, pid):
        wait_until(lambda: any(b"partner" in read_file(each, "wchan") for each in children(pid)))
        yield running, pid


def tell(folder: Path) -> None:
    (folder / "told").write_text("end\n")


@pytest.mark.parametrize("how", ["first", "another"])
@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL, ""),
        (["absent"], 127, "ocidriver: no command absent in this image; use ocidriver …, or dask worker …\n"),
        (["/"], 126, "ocidriver: cannot start /: Permission denied\n"),
        ([], 2, "ocidriver: name a command: ocidriver …, or dask worker …\n"),
    ],
    ids=["status", "killed", "absent", "no program", "no command"],
)
def test_the_exit_status_is_that_of_the_command(words: list[str], status: int, error: str, how: str) -> None:
    if how == "first" and os.geteuid() != 0:
        pytest.skip("only root can make a PID namespace")
    done = run(*(UNSHARE if how == "first" else ()), *ENTRY, *words, cwd=ROOT)
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    assert (code, done.stdout, done.stderr) == (status, "", error)


@as_first
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_gets_a_signal_as_if_it_were_alone(number: signal.Signals) -> None:
    """Nothing is blocked in it, and SIGPIPE is not ignored, as it is in Python."""
    with first("sh", "-c", "echo up; exec sleep 600") as (running, pid):
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        (command,) = children(pid)
        masks = re.findall(rb"^Sig(?:Blk|Ign):\s*(\w+)$", read_file(command, "status"), re.MULTILINE)
        blocked, ignored = (int(mask, 16) for mask in masks)
        assert (blocked, ignored >> (signal.SIGPIPE - 1) & 1) == (0, 0)
        os.kill(pid, number)
        assert running.wait(SECONDS) == 128 + number


@as_first
def test_an_orphan_has_time_to_end(tmp_path: Path) -> None:
    with first_with_an_orphan(tmp_path) as (running, pid):
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not is_pending(pid, signal.SIGTERM))
        assert running.poll() is None
        tell(tmp_path)
        assert running.wait(SECONDS) == 5
    assert (tmp_path / "ended").exists()


@as_first
def test_the_second_signal_ends_the_wait_for_orphans(tmp_path: Path) -> None:
    with first_with_an_orphan(tmp_path) as (running, pid):
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        assert running.wait(SECONDS) == 5
    assert not (tmp_path / "ended").exists()


@as_first
def test_the_wait_for_orphans_has_an_end() -> None:
    with first(entry=(sys.executable, "-c", REST)) as (running, _):
        assert running.wait(SECONDS) == 3
