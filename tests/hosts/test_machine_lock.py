"""The lock of a machine, as the host process gives it back when its worker cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lib.hosts.machine_lock import LockHeld, handed_on, path_of, take
from lib.hosts.protocol import Driving
from tests.support.paths import ROOT

DRIVING = Driving(run="r", since="now", by="tester")
PROGRAM = """
import subprocess
from lib.hosts.machine_lock import inherited
with inherited():
    {start}
    print("begun", flush=True)
    import sys; sys.stdin.read()
print("ended", flush=True)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def host_process(start: str) -> Iterator[subprocess.Popen[str]]:
    lock = take("host", DRIVING)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(start=start)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **handed_on(lock, "host")},
        pass_fds=(lock,),
    )
    os.close(lock)
    with process:
        assert process.stdout is not None
        started = [int(line) for line in iter(process.stdout.readline, "begun\n")]
        yield process
    for pid in started:
        os.kill(pid, signal.SIGKILL)


def test_a_host_process_without_its_worker_leaves_no_lock() -> None:
    for process in host_process("pass"):
        with pytest.raises(LockHeld):
            take("host", DRIVING)
        process.communicate("\n")
    assert not path_of("host").exists()


def test_it_keeps_a_lock_that_what_it_started_still_holds() -> None:
    start = "other = subprocess.Popen(['sleep', '600'], close_fds=False); print(other.pid, flush=True)"
    for process in host_process(start):
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
        with pytest.raises(LockHeld):
            take("host", DRIVING)


def test_without_a_worker_there_is_no_lock_to_give_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(start="pass")], input="\n", capture_output=True, text=True, cwd=ROOT
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "begun\nended\n")
