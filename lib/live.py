"""The live view: a few lines at the bottom of the terminal that are drawn anew, lines for the terminal above them.

Drawn here rather than by rich.live, which waits for a terminal that is held (Ctrl-S), hides the cursor and leaves rests
when a terminal that is made narrower wraps what was drawn. The cursor rests below the view, visible, and no mode of the
terminal is changed, so there is nothing to restore, even after SIGKILL. rich does the styles and the widths.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from time import thread_time

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import messages
from .output import Outputs
from .progress import Snapshot, Watch, WorkerRow, duration
from .summary import Run
from .tally import CLIENT_LIMITED
from .worker import PRUNING, PULLING, STOPPED

_STDERR = 2
# Seconds between two drawings, and the share of one core's time that drawing may take.
_LEAST_PAUSE = 0.25
_MOST_SHARE = 0.01
# So long the end of the run waits for a terminal that is held, in seconds.
_TERMINAL_SECONDS = 2.0
_MOST_PENDING = 20_000
_BLOCKS = "▁▂▃▄▅▆▇█"
_WRITTEN_AT_ONCE = 2048
# Lines of the view that are no worker's: the head, and one for the workers that did not fit.
_HEAD_LINES = 6
_DOING_STYLES = {PULLING: "", PRUNING: "yellow", STOPPED: "dim"}


class LiveView:
    """Draws the Watch's Snapshots from a thread of its own, and the lines that others have for this terminal."""

    def __init__(self, watch: Watch, outputs: Outputs) -> None:
        self._watch = watch
        self._outputs = outputs
        self._painter = Painter(_STDERR)
        # each with what writes it where this view cannot
        self._pending: deque[tuple[str, Callable[[str], None]]] = deque()
        self._ending = threading.Event()
        self._fault: Exception | None = None
        self._diverted = outputs.shown_on(_STDERR)
        for file in self._diverted:
            file.divert = self._taker(file.write)
        messages.divert(self._taker(self._say))
        self._thread = threading.Thread(target=self._run, name="live view", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._fault = error  # too many threads; the ramp will tell

    def end(self) -> None:
        """Leave the table of the steps in place of the view. A terminal that takes nothing is not waited for long."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_TERMINAL_SECONDS)
        messages.divert(None)
        for file in self._diverted:
            file.divert = None
        while self._pending:
            line, write = self._pending.popleft()
            write(line)
        if self._fault is not None:
            self._outputs.log(f"warning: the live view ended early: {self._fault!r}")

    def _say(self, line: str) -> None:
        """A message that came too late for the view; a terminal that is held loses it, the log has it."""
        if self._painter.ready(0.0):
            messages.say_line(line)

    def _taker(self, write: Callable[[str], None]) -> Callable[[str], bool]:
        def take(line: str) -> bool:
            if len(self._pending) >= _MOST_PENDING or not self._thread.is_alive():
                return False
            self._pending.append((line, write))
            return True

        return take

    def _run(self) -> None:
        try:
            pause = 0.0
            while not self._ending.wait(pause):
                before = thread_time()
                if self._painter.ready(0.0):
                    self._draw()
                pause = max(_LEAST_PAUSE, (thread_time() - before) / _MOST_SHARE)
            if self._painter.ready(_TERMINAL_SECONDS / 2):
                self._painter.paint(
                    self._lines(), closing_lines(self._watch.run, self._painter.size()[0]), ()
                )
        except Exception as error:
            self._fault = error  # a fault of the view's is no reason to end a test

    def _draw(self) -> None:
        width, height = self._painter.size()
        snapshot = self._watch.snapshot(rows=worker_rows(len(self._watch.run.workers), height))
        self._painter.paint(self._lines(), (), view_lines(snapshot, width))

    def _lines(self) -> list[str]:
        """The others' lines that wait."""
        return [self._pending.popleft()[0] for _ in range(len(self._pending))]


class Painter:
    """Keeps a block of lines at the end of what a terminal shows."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._drawn: list[int] = []  # the widths of the lines that stand there
        self._poll = select.poll()
        self._poll.register(terminal, select.POLLOUT)
        self._encoding = getattr(sys.stderr, "encoding", None) or "utf-8"

    def size(self) -> tuple[int, int]:
        """Columns and rows now; 80 and 24 where the terminal does not know."""
        try:
            width, height = os.get_terminal_size(self._terminal)
        except OSError:
            width, height = 0, 0
        return width or 80, height or 24

    def ready(self, seconds: float) -> bool:
        """Whether the terminal takes something; one that is held (Ctrl-S) does not."""
        return any(flags & select.POLLOUT for _, flags in self._poll.poll(seconds * 1000))

    def paint(self, above: Sequence[str], closing: Sequence[Text], block: Sequence[Text]) -> None:
        """Lines that stay, then the block that the next painting replaces."""
        width, _ = self.size()
        parts = [self._back_to_the_top(width)]
        if above or closing:
            parts.append("\x1b[J")
        parts += [f"{line}\r\n" for line in above]
        parts += [f"\x1b[K{line}\r\n" for line in styled([*closing, *block], width)]
        self._drawn = [min(line.cell_len, width - 1) for line in block]
        parts.append("\x1b[J")
        self._write("".join(parts).encode(self._encoding, "replace"))

    def _back_to_the_top(self, width: int) -> str:
        """A terminal that was made narrower has wrapped what was drawn wider."""
        rows = sum(max(1, -(-drawn // width)) for drawn in self._drawn)
        return f"\r\x1b[{rows}A" if rows else "\r"

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._terminal, data[:_WRITTEN_AT_ONCE]) :]


def styled(lines: Sequence[Text], width: int) -> list[str]:
    """With the terminal's colours, cropped to a column less than its width: in the last one a terminal may wrap."""
    if not lines:
        return []
    console = Console(
        file=StringIO(), force_terminal=True, width=max(width - 1, 1), highlight=False, legacy_windows=False
    )
    with console.capture() as capture:
        for line in lines:
            console.print(line, no_wrap=True, overflow="crop", crop=True)
    return capture.get().split("\n")[:-1]


def worker_rows(workers: int, height: int) -> int:
    """The workers that have a line: all, or as many as fit with a line for the rest."""
    fitting = max(height - _HEAD_LINES - 2, 0)  # the cursor's line, and one of what stands above
    return workers if workers <= fitting else max(fitting - 1, 0)


def view_lines(snapshot: Snapshot, width: int) -> list[Text]:
    """The whole view for a terminal of this width."""
    lines = [*_head(snapshot, width - 1), *_workers(snapshot.rows, width - 1)]
    if snapshot.rest:
        told = ", ".join(f"{count} {what}" for what, count in snapshot.rest)
        lines.append(
            Text(f"and {sum(count for _, count in snapshot.rest)} more workers: {told}", style="dim")
        )
    return lines


def _head(snapshot: Snapshot, width: int) -> Iterator[Text]:
    yield Text.assemble(
        (f"{duration(snapshot.left)} left", "bold"),
        f"  workers {snapshot.running} of {snapshot.planned} planned, peak {snapshot.peak}",
    )
    failed = (f"{snapshot.failed} failed", "red" if snapshot.failed else "")
    yield Text.assemble(f"{snapshot.pulled} pulled  ", failed, *_latency(snapshot))
    rate = f"{snapshot.rate:.1f} pulls/s "
    yield Text.assemble((rate, "bold"), (sparkline(snapshot.bars, width - len(rate)), "cyan"))
    if snapshot.errors:
        yield Text("errors " + ", ".join(f"{count} {name}" for name, count in snapshot.errors), style="red")
    else:
        yield Text("no errors", style="dim")
    limited = snapshot.driver_cpu + snapshot.client_cpu >= CLIENT_LIMITED * snapshot.cores
    yield Text(
        f"CPU: driver {snapshot.driver_cpu:.0%}, clients {snapshot.client_cpu:.0%} of {snapshot.cores:.0%}"
        + (": the limit is here, try --batch" if limited else ""),
        style="yellow" if limited else "dim",
    )


def _latency(snapshot: Snapshot) -> list[str]:
    if snapshot.latency is None:
        return []
    p50, p95, p99 = (
        f"{value:.1f}" if value < 1000 else f"{value:.0f}"
        for value in (snapshot.latency.p50, snapshot.latency.p95, snapshot.latency.p99)
    )
    return [f"  p50 {p50} p95 {p95} p99 {p99} ms"]


def sparkline(values: Sequence[float], width: int) -> str:
    """The last values that fit, a block each, against the largest of them."""
    shown = values[-width:] if width > 0 else ()
    top = max(shown, default=0.0)
    if top <= 0:
        return _BLOCKS[0] * len(shown)
    return "".join(_BLOCKS[min(int(value / top * len(_BLOCKS)), len(_BLOCKS) - 1)] for value in shown)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths in cells, of the counts' columns too."""

    index: int
    pattern: int
    counts: tuple[int, ...]
    doing: int


_COUNTS = ("pass", "image", "pulled", "failed")


def _workers(rows: Sequence[WorkerRow], width: int) -> Iterator[Text]:
    columns = _columns(rows, width)
    names = " ".join(f"{name:>{size}}" for name, size in zip(_COUNTS, columns.counts, strict=True))
    yield Text(f"{'#':>{columns.index}} {set_cell_size('pattern', columns.pattern)} {names} now", style="dim")
    for row in rows:
        yield _worker(row, columns)


def _counts(row: WorkerRow) -> tuple[str, ...]:
    return str(row.pass_number), f"{row.number}/{row.images}", str(row.pulled), str(row.failed)


def _columns(rows: Sequence[WorkerRow], width: int) -> _Columns:
    """The pattern gets what it needs, up to two fifths of what the counts leave; what is done gets the rest."""
    index = max((len(str(row.index)) for row in rows), default=1)
    cells = [_COUNTS, *map(_counts, rows)]
    counts = tuple(max(map(len, column)) for column in zip(*cells, strict=True))
    left = max(width - index - sum(counts) - len(counts) - 2, 16)
    pattern = min(max((cell_len(row.pattern) for row in rows), default=0), left * 2 // 5)
    pattern = max(pattern, min(len("pattern"), left // 2))
    return _Columns(index, pattern, counts, left - pattern)


def _worker(row: WorkerRow, columns: _Columns) -> Text:
    style = _DOING_STYLES.get(row.what, "dim")
    *counts, failed = (f"{text:>{size}}" for text, size in zip(_counts(row), columns.counts, strict=True))
    pattern = _head_of(row.pattern, columns.pattern)
    text = Text(f"{row.index:>{columns.index}} {pattern} {' '.join(counts)} ", style=style)
    text.append(f"{failed} ", style="red" if row.failed else style)
    return text.append(_tail_of(row.what, row.name, columns.doing), style=style)


def _head_of(text: str, width: int) -> str:
    """Its beginning, in just so many cells."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _tail_of(what: str, name: str, width: int) -> str:
    """What is done and to which image. Of a long name the end is shown, which tells names apart."""
    whole = f"{what} {name}" if name else what
    if cell_len(whole) <= width:
        return whole
    room = width - len(what) - 2
    while name and cell_len(name) > room:
        name = name[max(1, (cell_len(name) - room) // 2) :]
    return f"{what} …{name}" if room > 0 else what


def closing_lines(run: Run, width: int) -> list[Text]:
    """What remains when the view is gone: the ramp's steps and the totals."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("workers", "pulled", "failed", "pulls/s", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in run.tally.steps:
        latency = each.latency
        times = (
            [f"{value:.1f}" for value in (latency.p50, latency.p95, latency.p99)] if latency else ["-"] * 3
        )
        arrow = "↑" if each.step.direction == "up" else "↓"
        counts = [f"{arrow} {each.step.workers}", str(each.pulled), str(each.failed)]
        table.add_row(*counts, f"{each.rate:.2f}", *times)
    console = Console(file=StringIO(), width=max(width - 1, 1), color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    header, *rows = capture.get().splitlines()
    return [Text(header, style="bold"), *map(Text, rows), _totals(run)]


def _totals(run: Run) -> Text:
    tally = run.tally
    rate = tally.pulled / run.elapsed if run.elapsed > 0 else 0.0
    errors = ", ".join(f"{count} {name}" for name, count in tally.errors.most_common())
    text = Text(f"{tally.pulled} pulled, ", style="bold")
    text.append(f"{tally.failed} failed" + (f" ({errors})" if errors else ""), style="red" if errors else "")
    text.append(f", {tally.interrupted} interrupted") if tally.interrupted else None
    text.append(f", {tally.pruned} pruned") if tally.pruned else None
    return text.append(f" in {run.elapsed:.1f} s, {rate:.2f} pulls/s")
