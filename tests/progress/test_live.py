"""The live view on a bare terminal, byte by byte, plain lines in a pipe, and nothing where nobody asked."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from lib.progress.live import LiveView
from lib.progress.picture import Picture
from lib.results.output import Outputs
from tests.doubles.fake_crane import install, open_gate
from tests.support.driving import between_nobody, command, drive, files, read, wait_for_log
from tests.support.terminal import resize
from tests.support.waiting import SECONDS, wait_until

CTRL_C, CTRL_Q, CTRL_S = b"\x03", b"\x11", b"\x13"
# What a test writes to a terminal when the run has ended.
LAST = b"<the end>"


@pytest.fixture
def client(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return install(tmp_path / "bin")


def test_a_fault_of_the_view_ends_the_view_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    monkeypatch.setattr("lib.progress.live._STDERR", slave)
    logged: list[str] = []
    kept: list[str] = []

    class Files:
        log = logged.append

        def shown_on(self, terminal: int) -> list[object]:
            return []

    view = LiveView(cast(Picture, None), cast(Outputs, Files()))
    take = view._taker(kept.append)
    wait_until(lambda: not take("a line"))
    assert not take("another")
    view.end()
    assert "the live view ended early: AttributeError" in logged[0]
    os.close(master)
    os.close(slave)


class Screen:
    """What a very wide terminal shows in the end, with all that scrolled away; unknown sequences are kept apart."""

    def __init__(self, data: str) -> None:
        self.lines = [""]
        self.unknown: list[str] = []
        self.row = self.column = 0
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b.|\r|\n|[^\x1b\r\n]+", data):
            self._take(part)

    def _take(self, part: str) -> None:
        if part == "\r":
            self.column = 0
        elif part == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif part[0] != "\x1b":
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
            self.column += len(part)
        elif part[-1] == "A":
            self.row -= int(part[2:-1])
            assert self.row >= 0
        elif part == "\x1b[B":
            self.row += 1
            assert self.row < len(self.lines)
        elif part == "\x1b[2K":
            self.lines[self.row] = ""
        elif part in ("\x1b[K", "\x1b[J"):
            self.lines[self.row] = self.lines[self.row][: self.column]
            if part == "\x1b[J":
                del self.lines[self.row + 1 :]
        elif part[-1] != "m":
            self.unknown.append(part)


@dataclass
class OnTerminal:
    """A run on a terminal of its own; a thread collects what it shows."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    before: list[object]
    data: bytearray

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text.encode() in self.data, describe=self.data.decode)

    def hold(self) -> None:
        """Type Ctrl-S, and wait until the terminal shows nothing more: no drawing is longer in coming than a second."""
        self.type(CTRL_S)
        seen = -1
        while seen != len(self.data):
            seen = len(self.data)
            time.sleep(1.2)

    def end(self, *, held: bool = False) -> tuple[int, Screen]:
        """Wait for its end, and until all that the terminal shows is here."""
        status = self.process.wait(timeout=SECONDS)
        if not held:
            os.write(self.slave, LAST)
            wait_until(lambda: LAST in self.data)
        return status, Screen(self.data.replace(LAST, b"").decode())


@pytest.fixture
def on_terminal() -> Iterator[Callable[..., OnTerminal]]:
    """Starts runs on a new terminal, which must be left as it was."""
    started: list[OnTerminal] = []

    def begin(
        *options: object,
        environment: dict[str, str] | None = None,
        stdout: int | None = None,
    ) -> OnTerminal:
        master, slave = pty.openpty()
        resize(slave, 500, 30)
        before = termios.tcgetattr(slave)
        process = subprocess.Popen(
            command(*options),
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            env={
                **{k: v for k, v in os.environ.items() if k != "CI"},
                "TERM": "xterm",
                **(environment or {}),
            },
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        running = OnTerminal(process, master, slave, before, bytearray())
        started.append(running)
        threading.Thread(target=_collect, args=(running,), daemon=True).start()
        return running

    yield begin
    for each in started:
        each.process.kill()
        each.process.wait()
        assert termios.tcgetattr(each.slave) == each.before
        os.close(each.slave)
        os.close(each.master)


def _collect(running: OnTerminal) -> None:
    with suppress(OSError):
        while data := os.read(running.master, 65536):
            running.data += data


def options(client: Path, *images: str, work: Sequence[str]) -> list[str]:
    words = between_nobody(client, images, 1.0, tally=0.1)
    together = [word for word in words if not word.startswith("--iteration-seconds")]
    return [*together, "--patterns=app-0,app-1", *work]


IMAGES = ["ok/app-0:v1", "ok/app-1:v1", "refused/app-1:v2"]
# Two workers that start together: some work, and more than there is time for.
SOME, ENDLESS = ("--passes=2",), ("--passes=1000000",)
VIEW = re.compile(
    r"^(target|load|time|workers|rate now|p95 now|errors|limit now) |^whole run|^last int|^# pattern| pulling "
)


def check_the_end(screen: Screen, last_word: str) -> None:
    """Nothing of the view is left; log, metrics and table are whole, each line in a line of its own."""
    assert screen.unknown == []
    assert not [line for line in screen.lines if VIEW.search(line)]
    assert (screen.lines[screen.row], screen.column) == ("", 0)
    logged = [line for line in screen.lines if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t", line)]
    for message in ("test begins", "fixed work: ", "start worker 0", last_word, "test ends: "):
        assert len([line for line in logged if line[20:].startswith(message)]) == 1, message
    header = next(k for k, line in enumerate(screen.lines) if line.split()[:2] == ["pulls/s", "pulled"])
    table = [line for line in screen.lines[header + 1 :] if not line.startswith("until ")]
    assert len(table) < len(screen.lines) - header - 1
    assert [line[:11].strip() for line in table if re.match(r"(tested|peak|failed|average) ", line)] == [
        "tested", "peak", "failed", "average",
    ]  # fmt: skip


def test_on_a_terminal_lines_stand_above_the_view(
    client: Path, on_terminal: Callable[..., OnTerminal], tmp_path: Path
) -> None:
    images = ["gate/app-0:v1", "ok/app-1:v1", "refused/app-1:v2", "gate/app-1:v3"]
    summary = tmp_path / "summary"
    running = on_terminal(*options(client, *images, work=["--passes=1"]), f"--summary-file={summary}")
    for seen in ("2 of 4 pulls done", "2 of 2 planned", "pulling gate/app-0:v1", "1 refused"):
        running.wait_for(seen)
    open_gate(client)
    status, screen = running.end()
    assert status == 0
    check_the_end(screen, "all workers have finished their passes")
    intervals = len(json.loads(summary.read_text())["samples"])
    assert len([line for line in screen.lines if re.match(r".{19}\t\d+\.\d{6}\t", line)]) == intervals


@pytest.mark.parametrize("hidden", [False, True])
def test_a_warm_up_has_a_bar_that_goes_when_it_ends(
    client: Path, on_terminal: Callable[..., OnTerminal], tmp_path: Path, hidden: bool
) -> None:
    """Its result stays, once: in the log, or where the log is elsewhere, as a line of its own."""
    images = ["gate/app-0:v1", "ok/app-1:v1"]
    words = [
        *options(client, *images, work=["--passes=1"]),
        "--warm-up",
        *(files(tmp_path) if hidden else []),
    ]
    running = on_terminal(*words)
    running.wait_for(" 50 %  warm-up: 1 of 2 images pulled")
    open_gate(client)
    running.wait_for("crane 0.0.1, cached by a warm-up")
    status, screen = running.end()
    assert status == 0
    told = [line for line in screen.lines if "warm-up: " in line and "fixed work" not in line]
    assert len(told) == 1
    assert re.search(r"warm-up: 2 of 2 images pulled in \d[\dms.]*$", told[0])
    assert told[0].startswith("ocidriver: ") == hidden
    if not hidden:
        check_the_end(screen, "all workers have finished their passes")


@pytest.mark.parametrize(("stop", "status"), [("ctrl-c", 130), (signal.SIGTERM, 143)])
def test_a_stop_leaves_the_terminal_as_it_was(
    stop: str | signal.Signals, status: int, client: Path, on_terminal: Callable[..., OnTerminal]
) -> None:
    running = on_terminal(*options(client, *IMAGES, work=ENDLESS), "--grace=100")
    running.wait_for("2 of 2 planned")
    if isinstance(stop, signal.Signals):
        running.process.send_signal(stop)
    else:
        running.type(CTRL_C)
    ended, screen = running.end()
    assert ended == status
    check_the_end(screen, "stop all workers")
    told = [line for line in screen.lines if "stopping: clients have" in line]
    assert len(told) == 1  # by the log, which is seen


def test_stdout_that_is_no_terminal_gets_its_lines_alone(
    client: Path, on_terminal: Callable[..., OnTerminal], tmp_path: Path
) -> None:
    with (tmp_path / "stdout").open("wb") as stdout:
        running = on_terminal(*options(client, *IMAGES, work=SOME), stdout=stdout.fileno())
        status, screen = running.end()
    assert status == 0
    text = (tmp_path / "stdout").read_text()
    assert "\x1b" not in text
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t", line) for line in text.splitlines())
    assert "test ends: " in text
    assert not [line for line in screen.lines if "\t" in line]


@pytest.mark.parametrize(("stop", "status"), [(None, 0), (signal.SIGTERM, 143)])
def test_a_held_terminal_holds_nothing_up(
    stop: signal.Signals | None,
    status: int,
    client: Path,
    on_terminal: Callable[..., OnTerminal],
    tmp_path: Path,
) -> None:
    """One that waited for the terminal would never end."""
    images = ["ok/app-0:v1", "gate/app-1:v1"]
    running = on_terminal(*files(tmp_path), *options(client, *images, work=["--passes=3"]), "--grace=100")
    running.wait_for("1 of 2 planned")
    running.hold()
    seen = len(running.data)
    if stop is not None:
        running.process.send_signal(stop)
        wait_for_log(tmp_path, "stop all workers")
    open_gate(client)
    ended, _ = running.end(held=True)
    assert ended == status
    assert len(running.data) == seen
    result = read(tmp_path, ended)
    result.check_accounts()
    assert result.summary["pulled"] == (6 if stop is None else 4)
    running.type(CTRL_Q)


@pytest.mark.parametrize("words", [["--progress=never"], ["--progress=auto"]])
def test_off_on_a_terminal(words: list[str], client: Path, on_terminal: Callable[..., OnTerminal]) -> None:
    running = on_terminal(*options(client, *IMAGES, work=SOME), *words, environment={"CI": "true"})
    status, _ = running.end()
    assert status == 0
    assert b"\x1b" not in running.data
    assert b"planned" not in running.data


def test_always_in_a_pipe_is_a_plain_line_every_tally(client: Path, tmp_path: Path) -> None:
    words = [*between_nobody(client, IMAGES, 0.5), "--patterns=app-0,app-1", "--progress=always"]
    ended = drive(tmp_path, *words)
    assert ended.status == 0
    lines = ended.stderr.splitlines()
    # a drain has a line of its own
    assert len(lines) == len(ended.metrics) in (8, 9)
    assert all(
        re.fullmatch(
            r"0:0\d left, workers \d/\d, [\d.,]+ pulls/s, p95 ([\d.,]+ ms|-), errors: (none|[\d,]+ refused), 0 retried"
            r"(, limited by the (client|machine))?",
            line,
        )
        for line in lines
    ), lines
    assert "workers 2/2" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("words", [[], ["--progress=auto"], ["--progress", "never"]])
def test_nothing_in_a_pipe(words: list[str], client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES, work=SOME), *words)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
