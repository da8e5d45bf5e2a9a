"""What a watcher of a run sees: the live view on a real terminal, plain lines in a pipe, nothing where nobody asked."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import cast

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from lib.events import FAILED, OK, PULL, Event
from lib.failures import Failure
from lib.images import Image, ImageSet
from lib.latency import Latency
from lib.live import LiveView, Painter, closing_lines, sparkline, styled, view_lines, worker_rows
from lib.output import Outputs
from lib.progress import Snapshot, Watch, WorkerRow, duration, plain_line, planned_at, wants_live
from lib.ramp import plan_ramp
from lib.settings import Settings
from lib.summary import Run
from lib.tally import Sample, Tally
from lib.worker import PULLING, STOPPED, WAITING, Doing, Worker
from tests.doubles.fake_crane import install
from tests.driving import command, drive, files, read

CTRL_C, CTRL_Q, CTRL_S = b"\x03", b"\x11", b"\x13"
LATENCY = Latency(1.0, 2.0, 3.04, 4.0, 50.06, 1234.5, 9999.0)


@pytest.fixture
def client(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    return install(tmp_path / "bin")


def row(index: int, what: str = PULLING, name: str = "team/app-0001:v1", pattern: str = "-0001") -> WorkerRow:
    return WorkerRow(index, pattern, 12, 3, 10, 1234, index % 2, what, name)


def snapshot(workers: int, height: int) -> Snapshot:
    shown = worker_rows(workers, height)
    rest = ((PULLING, workers - shown),) if shown < workers else ()
    return Snapshot(
        left=3725, running=workers, planned=workers, peak=workers, pulled=5000, failed=7, rate=89.55,
        bars=tuple(float(k) for k in range(100)), latency=LATENCY, errors=(("not-found", 5), ("timeout", 2)),
        driver_cpu=0.08, client_cpu=1.3, cores=2, rows=tuple(map(row, range(shown))), rest=rest,
    )  # fmt: skip


def shown(lines: list[Text], width: int) -> list[str]:
    """As a terminal without colours shows them."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as capture:
        for line in lines:
            console.print(line, no_wrap=True, overflow="crop", crop=True)
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [60, 160])
@pytest.mark.parametrize("workers", [3, 100])
def test_the_view_fits_and_tells_all(width: int, workers: int) -> None:
    height = 24
    lines = view_lines(snapshot(workers, height), width)
    assert all(line.cell_len < width for line in lines), [line.plain for line in lines]
    assert len(lines) < height
    text = shown(lines, width)
    assert text[0] == f"1:02:05 left  workers {workers} of {workers} planned, peak {workers}"
    assert text[1] == "5000 pulled  7 failed  p50 3.0 p95 50.1 p99 1234 ms"
    assert re.fullmatch(r"89.5 pulls/s [▁▂▃▄▅▆▇]+█+", text[2])
    assert len(text[2]) == min(width - 1, 113)
    assert text[3] == "errors 5 not-found, 2 timeout"
    assert text[4] == "CPU: driver 8%, clients 130% of 200%"
    rows = [line.split() for line in text[6:]]
    assert rows[0][:6] == ["0", "-0001", "12", "3/10", "1234", "0"]
    assert rows[0][6] == "pulling"
    assert rows[0][7].endswith("app-0001:v1")
    if workers == 3:
        assert [line[0] for line in rows] == ["0", "1", "2"]
    else:
        assert len(rows) == 16
        assert text[-1] == "and 85 more workers: 85 pulling"


@pytest.mark.parametrize("height", [1, 5, 8, 9, 10, 24, 200])
@pytest.mark.parametrize("width", [1, 10, 30])
def test_a_tiny_terminal_breaks_nothing(width: int, height: int) -> None:
    lines = view_lines(snapshot(100, height), width)
    painted = styled(lines, width)
    assert len(painted) == len(lines)
    assert all(cell_len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= max(width - 1, 1) for line in painted)


def test_names_from_outside_are_no_markup_and_keep_the_columns() -> None:
    hostile = row(0, name="[red]x[/red][link=http://x]" + "深" * 40 + ":v1", pattern="[bold]深[/]" * 9)
    lines = view_lines(replace(snapshot(1, 24), rows=(hostile,)), 60)
    assert "[bold]" in lines[-1].plain
    assert "…" in lines[-1].plain
    assert lines[-1].plain.endswith("深:v1")
    assert lines[-1].cell_len < 60
    assert not {str(span.style) for span in lines[-1].spans} & {"bold", "red", "link"}


def run_of(*doing: Doing) -> Run:
    """A run with these workers, whose patterns are hostile."""
    sets = tuple(ImageSet(f"-{k}\x1b[2J", (Image("ok/app", "1"),)) for k in range(len(doing)))

    @dataclass
    class Standing:
        index: int
        image_set: ImageSet
        doing: Doing
        passes: int = 4

    tally = Tally(len(doing), retries_known=True, on_sample=lambda _: None)
    run = Run(cast(Settings, None), datetime.now(), tally, image_sets=sets)
    run.workers = cast(tuple[Worker, ...], tuple(map(Standing, range(len(doing)), sets, doing)))
    run.begin = time.monotonic()
    return run


def event(worker: int, seconds: float, failure: Failure | None = None) -> Event:
    image, outcome = Image("ok/app", "1"), FAILED if failure else OK
    return Event(PULL, worker, 1, image, outcome, time.monotonic(), seconds, failure=failure, cpu_seconds=0.5)


def test_a_snapshot_reads_the_counters_and_cleans_names() -> None:
    hostile = Image("bad\x1b]0;owned\x07", "1\u202e")
    run = run_of(Doing(PULLING, 1, hostile), Doing(STOPPED, 1), Doing(WAITING))
    watch = Watch(run, plan_ramp(3, 10.0))
    for _ in range(30):
        run.tally.add(event(0, 0.010))
    run.tally.add(event(1, 0.010, Failure("not-found", "gone")))
    seen = watch.snapshot(rows=1)
    assert (seen.pulled, seen.failed, seen.errors) == (30, 1, (("not-found", 1),))
    assert (seen.running, seen.planned, seen.peak, seen.rest) == (1, 1, 3, ((STOPPED, 1), (WAITING, 1)))
    assert 59 < seen.left <= 60
    assert seen.rate > 0
    assert seen.client_cpu > 0
    assert seen.latency is not None
    assert 9.9 < seen.latency.p50 < 10.1
    (first,) = seen.rows
    assert (first.pass_number, first.pulled, first.failed) == (5, 30, 0)
    assert first.name.isprintable()
    assert first.pattern.isprintable()
    watch.snapshot(rows=3)
    assert [each.pass_number for each in watch.snapshot(rows=3).rows] == [5, 4, 4]


def test_the_sparkline_shows_the_last_that_fit() -> None:
    assert sparkline([0, 1, 2, 4, 8], 3) == "▃▅█"
    assert sparkline([0.0, 0.0], 9) == "▁▁"
    assert sparkline([1.0], 0) == sparkline([], 9) == ""


def test_plain_words() -> None:
    steps = plan_ramp(2, 10.0)
    sample = Sample(10.0, 5.0, 1, 450, 3, LATENCY)
    errors = [("not-found", 2), ("timeout", 1)]
    assert (
        plain_line(sample, steps, errors)
        == "0:30 left, workers 1/1, 90.00 pulls/s, p95 50.1 ms, errors: 2 not-found, 1 timeout"
    )
    nothing = Sample(41.0, 5.0, 0, 0, 0, None)
    assert plain_line(nothing, steps, []) == "0:00 left, workers 0/0, 0.00 pulls/s, p95 -, errors: none"
    assert [planned_at(steps, at) for at in (0, 10, 10.1, 30, 35, 41)] == [1, 1, 2, 2, 1, 0]
    assert [duration(each) for each in (0, 59.6, 3600)] == ["0:00", "1:00", "1:00:00"]


@pytest.mark.parametrize(
    ("mode", "terminal", "environment", "live"),
    [
        ("auto", True, {"TERM": "xterm"}, True),
        ("auto", False, {"TERM": "xterm"}, False),
        ("auto", True, {"TERM": "xterm", "CI": "true"}, False),
        ("auto", True, {"TERM": "xterm", "CI": "false"}, True),
        ("auto", True, {"TERM": "dumb"}, False),
        ("auto", True, {}, False),
        ("always", True, {"TERM": "xterm", "CI": "true"}, True),
        ("always", True, {"TERM": "dumb"}, False),
        ("always", False, {"TERM": "xterm"}, False),
        ("never", True, {"TERM": "xterm"}, False),
    ],
)
def test_when_the_view_is_live(mode: str, terminal: bool, environment: dict[str, str], live: bool) -> None:
    assert wants_live(mode, terminal, environment.get) is live


def test_the_end_shows_steps_and_totals() -> None:
    run = run_of(Doing(STOPPED))
    steps = plan_ramp(1, 10.0)
    run.tally.add(event(0, 0.010))
    run.tally.close_step(10.0, steps[0])
    run.tally.add(event(0, 0.010, Failure("not-found", "gone")))
    run.tally.close_step(20.0, steps[1])
    run.elapsed = 20.0
    text = [line.plain.split() for line in closing_lines(run, 60)]
    assert text[0] == "workers pulled failed pulls/s p50 ms p95 ms p99 ms".split()
    assert text[1][:5] == ["↑", "1", "1", "0", "0.10"]
    assert text[2] == ["↓", "1", "0", "1", "0.00", "-", "-", "-"]
    assert " ".join(text[3]) == "1 pulled, 1 failed (1 not-found) in 20.0 s, 0.05 pulls/s"


def test_a_painter_finds_the_top_of_what_a_narrower_terminal_has_wrapped() -> None:
    master, slave = pty.openpty()
    resize(slave, 100)
    painter = Painter(slave)
    painter.paint(["above"], [], [Text("x" * 99), Text("y" * 10), Text("")])
    assert read_terminal(master).startswith(b"\r\x1b[Jabove\r\n\x1b[Kxxx")
    resize(slave, 40)
    painter.paint([], [], [Text("z" * 99)])
    wrapped = read_terminal(master)
    assert wrapped.startswith(b"\r\x1b[5A\x1b[K" + b"z" * 39 + b"\r\n")
    assert wrapped.endswith(b"\x1b[J")
    os.close(master)
    os.close(slave)


def test_a_fault_of_the_view_ends_the_view_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    monkeypatch.setattr("lib.live._STDERR", slave)
    logged: list[str] = []
    kept: list[str] = []

    class Files:
        log = logged.append

        def shown_on(self, terminal: int) -> list[object]:
            return []

    view = LiveView(cast(Watch, None), cast(Outputs, Files()))
    take = view._taker(kept.append)
    deadline = time.monotonic() + 5
    while take("a line") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not take("another")
    view.end()
    assert "the live view ended early: AttributeError" in logged[0]
    os.close(master)
    os.close(slave)


def read_terminal(master: int) -> bytes:
    """What was written, before the terminal made a carriage return and a line feed of each line feed."""
    return os.read(master, 10000).replace(b"\r\r\n", b"\r\n")


def resize(terminal: int, width: int, height: int = 24) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))


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
        elif part in ("\x1b[K", "\x1b[J"):
            self.lines[self.row] = self.lines[self.row][: self.column]
            if part == "\x1b[J":
                del self.lines[self.row + 1 :]
        elif part[-1] != "m":
            self.unknown.append(part)


@dataclass
class OnTerminal:
    """A run on a terminal of its own; `reader` collects what it shows."""

    process: subprocess.Popen[bytes]
    master: int
    slave: int
    before: list[object]
    data: bytearray

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while text.encode() not in self.data:
            assert time.monotonic() < deadline, self.data.decode()
            time.sleep(0.02)

    def end(self) -> tuple[int, Screen]:
        status = self.process.wait(timeout=60)
        time.sleep(0.2)
        return status, Screen(self.data.decode())


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


def options(client: Path, *images: str, step: float = 1.0) -> list[str]:
    (client.parent / "images").write_text("".join(f"{image}\n" for image in images))
    return [
        "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--layout=distribution", "--keep-going",
        f"--client={client}", f"--image-list={client.parent}/images", "--patterns=app-0,app-1",
        f"--iteration-seconds={step}", "--tally-seconds=0.5",
    ]  # fmt: skip


IMAGES = ["ok/app-0:v1", "ok/app-1:v1", "refused/app-1:v2"]
VIEW = re.compile(r" left  workers|^CPU: |^# pattern| pulling | waiting$")


def check_the_end(screen: Screen, *, steps: int) -> None:
    """Nothing of the view is left; log, metrics and table are whole, each line in a line of its own."""
    assert screen.unknown == []
    assert not [line for line in screen.lines if VIEW.search(line)]
    assert (screen.lines[screen.row], screen.column) == ("", 0)
    logged = [line for line in screen.lines if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\t", line)]
    for message in ("test begins", "ramp of 4 steps", "start worker 0", "stop all workers", "test ends: "):
        assert len([line for line in logged if line[20:].startswith(message)]) == 1, message
    header = next(k for k, line in enumerate(screen.lines) if line.startswith("workers  pulled"))
    table = screen.lines[header + 1 :]
    assert [line.split()[0] for line in table[:steps]] == ["↑", "↑", "↓", "↓"][:steps]
    assert re.match(r"\d+ pulled, \d+ failed", table[steps])


def test_on_a_terminal_lines_stand_above_the_view(
    client: Path, on_terminal: Callable[..., OnTerminal]
) -> None:
    running = on_terminal(*options(client, *IMAGES))
    running.wait_for("2 of 2 planned")
    status, screen = running.end()
    assert status == 0
    check_the_end(screen, steps=4)
    assert len([line for line in screen.lines if re.match(r".{19}\t\d+\.\d{6}\t", line)]) == 8
    assert b"pulling ok/app-0:v1" in running.data
    assert b"errors " in running.data


@pytest.mark.parametrize(("stop", "status"), [("ctrl-c", 130), (signal.SIGTERM, 143)])
def test_a_stop_leaves_the_terminal_as_it_was(
    stop: str | signal.Signals, status: int, client: Path, on_terminal: Callable[..., OnTerminal]
) -> None:
    running = on_terminal(*options(client, *IMAGES))
    running.wait_for("2 of 2 planned")
    if isinstance(stop, signal.Signals):
        running.process.send_signal(stop)
    else:
        running.type(CTRL_C)
    ended, screen = running.end()
    assert ended == status
    check_the_end(screen, steps=2)
    assert any("stopping: clients have" in line for line in screen.lines)


def test_stdout_that_is_no_terminal_gets_its_lines_alone(
    client: Path, on_terminal: Callable[..., OnTerminal], tmp_path: Path
) -> None:
    with (tmp_path / "stdout").open("wb") as stdout:
        running = on_terminal(*options(client, *IMAGES, step=0.4), stdout=stdout.fileno())
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
    running = on_terminal(*files(tmp_path), *options(client, *IMAGES))
    running.wait_for("1 of 1 planned")
    running.type(CTRL_S)
    time.sleep(1)
    seen = len(running.data)
    if stop is not None:
        running.process.send_signal(stop)
    ended, _ = running.end()
    assert ended == status
    assert len(running.data) == seen
    result = read(tmp_path, ended)
    assert result.summary["elapsed_seconds"] < 6
    result.check_accounts()
    running.type(CTRL_Q)


@pytest.mark.parametrize("words", [["--progress=never"], ["--progress=auto"]])
def test_off_on_a_terminal(words: list[str], client: Path, on_terminal: Callable[..., OnTerminal]) -> None:
    running = on_terminal(*options(client, *IMAGES, step=0.3), *words, environment={"CI": "true"})
    status, _ = running.end()
    assert status == 0
    assert b"\x1b" not in running.data
    assert b"planned" not in running.data


def test_always_in_a_pipe_is_a_plain_line_every_tally(client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES), "--progress=always")
    assert ended.status == 0
    lines = ended.stderr.splitlines()
    assert len(lines) == len(ended.metrics) == 8
    assert all(
        re.fullmatch(
            r"0:0\d left, workers \d/\d, \d+\.\d\d pulls/s, p95 (\d+\.\d ms|-), errors: (none|\d+ refused)",
            line,
        )
        for line in lines
    ), lines
    assert "workers 2/2" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("words", [[], ["--progress=auto"], ["--progress", "never"]])
def test_nothing_in_a_pipe(words: list[str], client: Path, tmp_path: Path) -> None:
    ended = drive(tmp_path, *options(client, *IMAGES, step=0.2), *words)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
