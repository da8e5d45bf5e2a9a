"""Launching small real processes: ends, limits, floods, orphans, kills."""

from __future__ import annotations

import errno
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lib.processes.launch import KEPT_HEAD, KEPT_STDERR, Launcher
from lib.processes.posix_spawn import Spawner
from lib.processes.signals import Stop
from tests.support.processes import alive
from tests.support.waiting import SECONDS, wait_until


@pytest.fixture
def launcher() -> Iterator[Launcher]:
    launcher = Launcher({"PATH": os.environ["PATH"], "GIVEN": "yes"})
    yield launcher
    launcher.close()


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_a_good_end(launcher: Launcher) -> None:
    outcome = launcher.run(shell("exit 0"), SECONDS)
    assert (outcome.returncode, outcome.stderr, outcome.timed_out, outcome.interrupted) == (
        0,
        "",
        False,
        False,
    )
    assert 0 < outcome.seconds < SECONDS
    assert outcome.cpu_seconds > 0


def test_what_running_clients_have_used_is_known(launcher: Launcher) -> None:
    busy = threading.Thread(target=launcher.run, args=(shell("while :; do :; done"), SECONDS))
    busy.start()
    try:
        wait_until(lambda: launcher.running_cpu_seconds() >= 0.2)
    finally:
        launcher.kill_all()
        busy.join()
    assert launcher.running_cpu_seconds() == 0.0
    assert isinstance(launcher.running_cpu_seconds(), float)  # the summary would show 0 in place of 0.0


def test_status_stderr_and_environment(launcher: Launcher) -> None:
    outcome = launcher.run(shell('echo out; echo "err $GIVEN $HOME" >&2; exit 3'), SECONDS)
    assert (outcome.returncode, outcome.stderr) == (3, "err yes \n")


def test_a_signal_is_negative(launcher: Launcher) -> None:
    assert launcher.run(shell("kill -SEGV $$"), SECONDS).returncode == -11


@pytest.mark.parametrize(
    ("script", "asked", "interrupted"),
    [("kill -INT $$", True, True), ("kill -HUP $$", True, True), ("kill -INT $$", False, False),
     ("kill -SEGV $$", True, False), ("exit 2", True, False)],
)  # fmt: skip
def test_the_signal_that_stops_the_driver_may_end_a_client_as_it_is_born(
    script: str, asked: bool, interrupted: bool
) -> None:
    stop = Stop()
    # who is asked waits for it, however late it comes
    launcher = Launcher(
        {"PATH": os.environ["PATH"]}, lambda seconds: stop.wait(SECONDS if asked else seconds)
    )
    if asked:
        threading.Timer(0.1, stop.request, [signal.SIGINT]).start()
    outcome = launcher.run(shell(script), SECONDS)
    launcher.close()
    assert outcome.returncode != 0
    assert outcome.interrupted == interrupted


def test_the_limit_kills_even_what_ignores_signals(launcher: Launcher) -> None:
    outcome = launcher.run(shell("trap '' INT TERM HUP; sleep 600; sleep 600"), 0.2)
    assert (outcome.returncode, outcome.timed_out) == (-9, True)
    assert 0.2 <= outcome.seconds < SECONDS


def test_of_a_flood_both_ends_are_kept(launcher: Launcher) -> None:
    outcome = launcher.run(
        shell("echo the head >&2; head -c 5000000 /dev/zero >&2; echo the end >&2"), SECONDS
    )
    assert outcome.returncode == 0
    assert outcome.stderr.startswith("the head\n")
    assert outcome.stderr.endswith("the end\n")
    assert len(outcome.stderr) <= KEPT_HEAD + 3 * KEPT_STDERR


def test_invalid_utf8_and_nulls_are_text_that_can_be_written(launcher: Launcher) -> None:
    outcome = launcher.run(shell(r"printf 'a\377\355\240\200\0b\360\237' >&2"), SECONDS)
    assert outcome.stderr.encode().replace("\ufffd".encode(), b"") == b"a\0b"


def test_a_client_that_never_stops_writing_meets_the_limit_too(launcher: Launcher) -> None:
    outcome = launcher.run(shell("exec yes >&2"), 0.3)
    assert outcome.timed_out
    assert outcome.seconds < SECONDS


def test_a_limit_of_months(launcher: Launcher) -> None:
    assert launcher.run(shell("exit 0"), 3e7).returncode == 0


def test_what_the_client_leaves_behind_dies_with_it(launcher: Launcher, tmp_path: Path) -> None:
    outcome = launcher.run(shell(f"sleep 600 & echo $! > {tmp_path}/pid"), SECONDS)
    assert outcome.returncode == 0
    pid = int((tmp_path / "pid").read_text())
    wait_until(lambda: not alive(pid))


@pytest.mark.parametrize("path", ["/does/not/exist", "/etc/passwd"])
def test_what_cannot_be_started(launcher: Launcher, path: str) -> None:
    outcome = launcher.run([path], SECONDS)
    assert outcome.error is not None
    assert "cannot start the client" in outcome.stderr


def test_without_a_descriptor_nothing_is_started(launcher: Launcher, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        outcome = launcher.run(shell(f"echo $$ > {tmp_path}/pid"), SECONDS)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (outcome.returncode, outcome.stderr) == (127, "cannot start the client: Too many open files")
    assert outcome.error is not None
    assert os.listdir(tmp_path) == []


def test_without_a_descriptor_nothing_runs_unwatched(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def none_left(pid: int) -> int:
        started.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    before = set(os.listdir("/proc/self/fd"))
    outcome = launcher.run(shell(f"echo $$ > {tmp_path}/pid; sleep 600"), SECONDS)
    assert (outcome.returncode, outcome.stderr) == (127, "cannot start the client: Too many open files")
    assert outcome.error is not None
    assert set(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(started[0], os.WNOHANG)


def test_kill_all_ends_running_and_later_launches(launcher: Launcher) -> None:
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(launcher.run(shell("sleep 600"), SECONDS)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(launcher._running) == 4)
    launcher.kill_all()
    launcher.kill_all()
    for thread in threads:
        thread.join(SECONDS)
    outcomes.append(launcher.run(shell("sleep 600"), SECONDS))
    assert [(each.returncode, each.interrupted, each.timed_out) for each in outcomes] == [
        (-9, True, False)
    ] * 5


def test_clients_start_in_turns_and_run_at_the_same_time(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each waits for a line in the pipe, which is written when all of them run."""
    spawn, starting, most = Spawner.start, 0, 0
    many, pipe = 40, tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = os.open(pipe, os.O_RDWR)

    def watched(self: Spawner, argv: Sequence[str], standard: Sequence[int]) -> int:
        nonlocal starting, most
        starting += 1
        most = max(most, starting)
        time.sleep(0.01)  # others would start meanwhile, if it were their turn
        starting -= 1
        return spawn(self, argv, standard)

    monkeypatch.setattr(Spawner, "start", watched)
    try:
        with ThreadPoolExecutor(many) as workers:
            outcomes = workers.map(lambda _: launcher.run(shell(f"read line < {pipe}"), SECONDS), range(many))
            wait_until(lambda: len(launcher._running) >= many)
            running = len(launcher._running)
            os.write(lines, b"\n" * many)
            assert {each.returncode for each in outcomes} == {0}
    finally:
        os.close(lines)
    assert running == many
    assert most <= max(1, (os.cpu_count() or 1) // 2)


def test_what_cannot_start_or_is_unwanted_gives_its_turn_back(launcher: Launcher) -> None:
    for _ in range(os.cpu_count() or 1):
        assert launcher.run(["/does/not/exist"], SECONDS).error is not None
        assert launcher.run(["/does/not/exist"], SECONDS, lambda: True).dropped
    with ThreadPoolExecutor(1) as worker:
        assert worker.submit(launcher.run, shell("exit 0"), SECONDS).result(SECONDS).returncode == 0


def test_the_client_is_a_process_group_of_its_own_with_default_signals(launcher: Launcher) -> None:
    outcome = launcher.run(
        shell("cut -d' ' -f5 /proc/$$/stat >&2; echo $$ >&2; grep SigIgn /proc/$$/status >&2"),
        SECONDS,
    )
    group, pid, ignored = outcome.stderr.split("\n")[:3]
    assert group.strip() == pid.strip()
    assert int(ignored.split()[1], 16) & 0x7FFFFFFF == 0  # of the 31 signals that are not real-time ones


def test_no_descriptor_leaks(launcher: Launcher) -> None:
    inherited = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(inherited, True)
    fresh = Launcher({})
    try:
        listing = fresh.run(shell("ls /proc/$$/fd >&2"), SECONDS).stderr.split()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            launcher.run(shell("exit 1"), SECONDS)
            launcher.run(["/does/not/exist"], SECONDS)
        assert len(os.listdir("/proc/self/fd")) == before
        assert {name for name in listing if int(name) > 2} <= {"3", "10"}  # the shell's own
    finally:
        fresh.close()
        os.close(inherited)
