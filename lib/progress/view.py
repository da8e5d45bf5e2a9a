"""Makes the lines of the live view: the whole run first, then a line for each worker that fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..counted import counted
from ..latency import SHOWN_PERCENTILES
from ..load.tally import CLIENT, CLIENT_LIMITED, MACHINE
from ..load.worker import PRUNING, PULLING, STOPPED
from .bar import bar
from .plain import duration
from .snapshot import Snapshot
from .worker_rows import WorkerRow, rows_that_fit

_BLOCKS = "▁▂▃▄▅▆▇█"
# Lines that are not for workers: those of the whole run, and the table's head.
_HEAD_LINES = 7
# The width of the progress bar: this many cells, or a quarter of a narrow terminal.
_BAR = 30
_DOING_STYLES = {PULLING: "", PRUNING: "yellow", STOPPED: "dim"}


def worker_rows(workers: int, height: int) -> int:
    """Returns the number of workers that have a line in a terminal of this height."""
    return rows_that_fit(workers, height - _HEAD_LINES - 2)  # the cursor's line, and a line above the view


def view_lines(snapshot: Snapshot, width: int, height: int) -> list[Text]:
    """Returns the view for a terminal of this size. A very low terminal shows only its beginning."""
    lines = [*_head(snapshot, width - 1), *_workers(snapshot.rows, width - 1), *_rest(snapshot)]
    return lines[: max(height - 1, 0)]  # the cursor has the last line


def _rest(snapshot: Snapshot) -> Iterator[Text]:
    if snapshot.rest:
        counts = ", ".join(f"{count} {what}" for what, count in snapshot.rest)
        more = f"… {sum(count for _, count in snapshot.rest)} more" if snapshot.rows else "workers"
        yield Text(f"{more}: {counts}", style="dim")


def _head(snapshot: Snapshot, width: int) -> Iterator[Text]:
    if snapshot.to_do is None:
        yield Text.assemble(
            ("ending", "bold"),
            f"  waiting for the current pull or prune of {counted(snapshot.running, 'worker')}",
        )
    else:
        yield Text.assemble(
            (snapshot.to_do, "bold"),
            f"  workers {snapshot.running} of {snapshot.planned} planned, peak {snapshot.peak}",
        )
    yield bar(snapshot.done, min(_BAR, width // 4)).append(f"  {snapshot.about}", style="dim")
    failed = (f"{snapshot.failed} failed", "red" if snapshot.failed else "")
    yield Text.assemble(f"{snapshot.pulled} pulled  ", failed, *_latency(snapshot))
    due = f" of {snapshot.offered:.1f}" if snapshot.offered is not None else ""
    rate = f"{snapshot.rate:.1f}{due} pulls/s "
    yield Text.assemble((rate, "bold"), (sparkline(snapshot.bars, width - len(rate)), "cyan"))
    yield _errors(snapshot)
    limit = _limit(snapshot)
    yield Text(
        f"CPU: driver {snapshot.driver_cpu:.0%}, clients {snapshot.client_cpu:.0%} of {snapshot.cores:.0%}{limit}",
        style="yellow" if limit else "dim",
    )


def _errors(snapshot: Snapshot) -> Text:
    """Returns the failures by class and, with a schedule, the late pulls by reason."""
    if snapshot.errors:
        text = Text("errors " + ", ".join(f"{count} {name}" for name, count in snapshot.errors), style="red")
    else:
        text = Text("no errors", style="dim")
    late = [f"{count} {reason}" for reason, count in snapshot.late or () if count]
    return text.append(f"  late {', '.join(late)}", style="yellow") if late else text


def _limit(snapshot: Snapshot) -> str:
    """Returns what else than the server is the limit now, if anything."""
    if (
        snapshot.driver_cpu + snapshot.client_cpu >= CLIENT_LIMITED * snapshot.cores
        or snapshot.limited_by == CLIENT
    ):
        return ": this machine is the limit, try --batch"
    return ": other programs use this machine" if snapshot.limited_by == MACHINE else ""


def _latency(snapshot: Snapshot) -> list[str]:
    if snapshot.latency is None:
        return []
    values = ((name, snapshot.latency.value(name)) for name in SHOWN_PERCENTILES)
    shown = (f"{name} {_milliseconds(value)}" for name, value in values)
    return [f"  {' '.join(shown)} ms"]


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if value < 1000 else f"{value:.0f}"


def sparkline(values: Sequence[float], width: int) -> str:
    """Returns a block character for each of the last values that fit, relative to the largest of them."""
    shown = values[-width:] if width > 0 else ()
    top = max(shown, default=0.0)
    if top <= 0:
        return _BLOCKS[0] * len(shown)
    return "".join(_BLOCKS[min(int(value / top * len(_BLOCKS)), len(_BLOCKS) - 1)] for value in shown)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The widths of the columns, in cells."""

    index: int
    pattern: int
    counts: tuple[int, ...]
    doing: int


_COUNTS = ("pass", "image", "pulled", "failed")


def _workers(rows: Sequence[WorkerRow], width: int) -> Iterator[Text]:
    if not rows:
        return
    columns = _columns(rows, width)
    names = " ".join(f"{name:>{size}}" for name, size in zip(_COUNTS, columns.counts, strict=True))
    yield Text(f"{'#':>{columns.index}} {set_cell_size('pattern', columns.pattern)} {names} now", style="dim")
    for row in rows:
        yield _worker(row, columns)


def _counts(row: WorkerRow) -> tuple[str, ...]:
    return str(row.pass_number), f"{row.number}/{row.images}", str(row.pulled), str(row.failed)


def _columns(rows: Sequence[WorkerRow], width: int) -> _Columns:
    """Returns the widths. Of the space next to the counts, `pattern` gets at most two fifths and `now` the rest."""
    index = max(len(str(row.index)) for row in rows)
    cells = [_COUNTS, *map(_counts, rows)]
    counts = tuple(max(map(len, column)) for column in zip(*cells, strict=True))
    left = max(width - index - sum(counts) - len(counts) - 2, 16)
    pattern = min(max(cell_len(row.pattern) for row in rows), left * 2 // 5)
    pattern = max(pattern, min(len("pattern"), left // 2))
    return _Columns(index, pattern, counts, left - pattern)


def _worker(row: WorkerRow, columns: _Columns) -> Text:
    style = _DOING_STYLES.get(row.what, "dim")
    *counts, failed = (f"{text:>{size}}" for text, size in zip(_counts(row), columns.counts, strict=True))
    pattern = _head_of(row.pattern, columns.pattern)
    text = Text(f"{row.index:>{columns.index}} {pattern} {' '.join(counts)} ", style=style)
    text.append(f"{failed} ", style="red" if row.failed else style)
    what = row.what if row.seconds is None else f"{row.what} {duration(row.seconds)}"
    return text.append(
        _tail_of(what, row.name, columns.doing), style=style if row.seconds is None else "yellow"
    )


def _head_of(text: str, width: int) -> str:
    """Returns the beginning of the text, padded or cut to exactly `width` cells."""
    return set_cell_size(text, width) if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"


def _tail_of(what: str, name: str, width: int) -> str:
    """Returns the action and the image. A long name is cut at its start, because names differ at their end."""
    whole = f"{what} {name}" if name else what
    if cell_len(whole) <= width:
        return whole
    room = width - len(what) - 2
    while name and cell_len(name) > room:
        name = name[max(1, (cell_len(name) - room) // 2) :]
    return f"{what} …{name}" if room > 0 else what
