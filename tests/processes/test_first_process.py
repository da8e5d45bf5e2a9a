"""ocidriver as a container's first process: signals end every command, and no orphan stays a zombie."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lib.options.subcommands import SUBCOMMANDS
from tests.doubles.fake_crane import install, open_gate, wait_for_launches
from tests.support.driving import between_nobody, command, files, read, wait_for_outcomes
from tests.support.processes import children, pids, read_file
from tests.support.waiting import SECONDS, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a PID namespace")
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@contextmanager
def first(*words: object, entry: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """ocidriver as PID 1; its process and its pid outside. `entry` starts it in another way than the script."""
    argv = [*entry, *map(str, words)] if entry else command(*words)
    running = subprocess.Popen([*UNSHARE, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: bool(list(children(running.pid))))
        yield running, next(children(running.pid))
    finally:
        running.kill()
        running.communicate()


def waits_for_a_writer(pid: int) -> bool:
    return any(b"partner" in read_file(each, "wchan") for each in children(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(
    "words",
    [
        ("report", "{0}"), ("compare", "{0}", "{0}"), ("populate", "--registry-url=h:1", "--ca-file={0}"),
        ("doctor", "--pullthrough-url=a:1", "--registry-url=b:1", "--workers=1", "--image-list={0}"),
        ("--pullthrough-url=a:1", "--registry-url=b:1", "--workers=1", "--image-list={0}"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_a_signal_ends_every_command(words: tuple[str, ...], number: signal.Signals, tmp_path: Path) -> None:
    """It waits for the writer of a named pipe meanwhile."""
    os.mkfifo(tmp_path / "pipe")
    with first(*(word.format(tmp_path / "pipe") for word in words)) as (running, pid):
        wait_until(lambda: waits_for_a_writer(pid))
        os.kill(pid, number)
        out, err = running.communicate(timeout=SECONDS)
    assert (running.returncode, out, err) == (128 + number, "", "")


@pytest.mark.parametrize("words", [("--version",), *((name, "--help") for name in SUBCOMMANDS)], ids=" ".join)
def test_the_exit_status_is_passed_on(words: tuple[str, ...]) -> None:
    with first(*words) as (running, _):
        assert running.wait(SECONDS) == 0
    with first(*words[:1], "--no-such-option") as (running, _):
        assert running.wait(SECONDS) == 2


def test_a_signal_before_anything_is_imported() -> None:
    """The kernel drops a signal that PID 1 has neither blocked nor handled."""
    with first("lab") as (running, pid):
        # before it becomes Python, unshare blocks the signal for a moment too
        wait_until(
            lambda: read_file(pid, "comm") != b"unshare\n" and blocks(pid, signal.SIGTERM), pause=0.001
        )
        os.kill(pid, signal.SIGTERM)
        assert running.wait(SECONDS) == 128 + signal.SIGTERM


# What pip writes into the installed command, with the name of the package in the checkout. The signal comes when the
# command line is imported.
INSTALLED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, *_):
        if name == "lib.cli":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
from lib.entry import main
sys.exit(main())
"""


def test_a_signal_before_the_installed_command_is_imported() -> None:
    with first("lab", entry=(sys.executable, "-c", INSTALLED)) as (running, _):
        assert running.wait(SECONDS) == 128 + signal.SIGTERM


def blocks(pid: int, number: signal.Signals) -> bool:
    masks = [line for line in read_file(pid, "status").decode().splitlines() if line.startswith("SigBlk")]
    return any(int(mask.split()[1], 16) >> (number - 1) & 1 for mask in masks)


def zombies(pid: int) -> list[int]:
    statuses = {each: read_file(each, "status") for each in pids()}
    return [each for each, text in statuses.items() if b"State:\tZ" in text and b"PPid:\t%d\n" % pid in text]


def test_orphans_are_reaped_and_no_status_of_a_client_is_lost(tmp_path: Path) -> None:
    """Each client leaves a process behind, which ends at once."""
    client = install(tmp_path / "bin")
    script = client.read_text().replace("sleep 600 & exit 0", "sh -c 'sleep 0.01 & exit 0'; exit 0")
    client.write_text(script)
    images = [f"orphan/app-{number}:1" for number in range(20)] + ["refused/app:1", "gate/last:1"]
    words = [*between_nobody(client, images, 60), "--workers=1", "--passes=1", *files(tmp_path)]
    with first(*words) as (running, pid):
        wait_for_launches(client, count=len(images))
        wait_until(lambda: zombies(pid) == [])
        open_gate(client)
        out, err = running.communicate(timeout=SECONDS)
    ended = read(tmp_path, running.returncode, out, err)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.outcomes() == ["ok"] * 20 + ["failed", "ok"]
    ended.check_accounts()


def test_a_stop_of_a_run_is_one_signal(tmp_path: Path) -> None:
    """A second one would end the client, which has time to finish."""
    client = install(tmp_path / "bin")
    words = [
        *between_nobody(client, ["ok/app:1", "gate/app:1"], 60),
        "--workers=1",
        "--grace=600",
        *files(tmp_path),
    ]
    with first(*words) as (running, pid):
        wait_for_outcomes(tmp_path, "ok")
        wait_for_launches(client, count=2)
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: "stop all workers" in (tmp_path / "log").read_text())
        open_gate(client)
        out, err = running.communicate(timeout=SECONDS)
    ended = read(tmp_path, running.returncode, out, err)
    assert (ended.status, ended.summary["interrupted_pulls"]) == (143, 0)
    assert ended.outcomes()[:2] == ["ok", "ok"]
    ended.check_accounts()
