"""Makes the lines of the live view: the run and its figures first, then a line for each busy worker or each host."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..counted import counted
from ..durations import spoken
from ..figures import milliseconds, percent, rate, three
from ..load.worker import PRUNING, PULLING, STOPPED
from ..results.headline import by_class
from .bar import bar
from .host_table import host_table
from .plain import duration
from .rows import table
from .snapshot import Snapshot
from .worker_rows import WorkerRow

_BLOCKS = "▁▂▃▄▅▆▇█"
# The width of the labels: as at the end of the run, and in a terminal of fewer than `_NARROW` columns.
_LABEL, _SHORT_LABEL, _NARROW = 11, 8, 60
# The lines of the run and of its figures, without those of the steps.
_HEAD_LINES = 11
# Lines that stay free: the cursor's, and one above the view.
_FREE_LINES = 2
# The most and the fewest cells of the progress bar, and of its percentage.
_BAR, _LEAST_BAR, _PERCENT = 30, 4, 6
# The width of a figure before its sparkline.
_FIGURE = 27
_DOING_STYLES = {PULLING: "", PRUNING: "yellow", STOPPED: "dim"}


class Room(NamedTuple):
    """How many steps and how many workers have a line."""

    steps: int
    workers: int


def room(height: int, steps: int) -> Room:
    """Returns the room in a terminal of this height. Steps get at most half of it."""
    left = max(height - _FREE_LINES - _HEAD_LINES, 0)
    for_steps = min(steps, left // 2)
    return Room(
        for_steps, max(left - for_steps - 2, 0)
    )  # a heading, and a line for the workers that do not fit


class _Line(NamedTuple):
    """A line of the view. A low terminal shows those of the lowest `rank`."""

    rank: int
    text: Text


def view_lines(snapshot: Snapshot, width: int, height: int) -> list[Text]:
    """Returns the view for a terminal of this size. A low terminal lacks the lines that matter least."""
    lines = [*_head(snapshot, width - 1), *(_Line(9, text) for text in _rows(snapshot, width - 1))]
    ranks = sorted((line.rank, place) for place, line in enumerate(lines))
    shown = {place for _, place in ranks[: max(height - 1, 0)]}  # the cursor has the last line
    return [_cut(line.text, width - 1) for place, line in enumerate(lines) if place in shown]


def _cut(line: Text, width: int) -> Text:
    """Returns a line of at most this many cells; if it is longer, it ends with an ellipsis."""
    if line.cell_len > width:
        line.truncate(width, overflow="ellipsis" if width else "crop")
    return line


def _head(snapshot: Snapshot, width: int) -> Iterator[_Line]:
    yield _Line(4, _labelled("target", snapshot.target, width))
    yield _Line(6, _labelled("load", snapshot.load, width))
    yield _Line(0, _time(snapshot, width))
    yield _Line(3, _workers_now(snapshot, width))
    due = f" of {three(snapshot.offered)} offered" if snapshot.offered is not None else ""
    yield _Line(2, _spark("rate now", f"{rate(snapshot.rate)}{due}", snapshot.bars, width))
    p95 = snapshot.latency.p95 if snapshot.latency else None
    told = "-" if p95 is None else milliseconds(p95)
    yield _Line(3, _spark("p95 now", told, snapshot.p95_bars, width))
    yield _Line(3, _errors(snapshot, width))
    yield _Line(4, _limit(snapshot, width))
    rows = [snapshot.whole, *([snapshot.interval] if snapshot.interval else []), *snapshot.steps]
    heading, whole, *others = table(rows, width)
    yield _Line(1, heading)
    yield _Line(1, whole)
    if snapshot.interval is None:
        yield _Line(5, Text(f"the first interval of {spoken(snapshot.seconds)} is not over", style="dim"))
    yield from (_Line(2 if snapshot.interval and not place else 8, each) for place, each in enumerate(others))


def _labelled(label: str, what: str | tuple[str, str], width: int) -> Text:
    name, size = (label, _LABEL) if width >= _NARROW else (label.partition(" ")[0], _SHORT_LABEL)
    return Text.assemble((f"{name:<{size}}", "dim"), what)


def _time(snapshot: Snapshot, width: int) -> Text:
    if snapshot.to_do is None:
        what = f"ending: the last pull or prune of {counted(snapshot.running, 'worker')}"
        return _labelled("time", (what, "bold"), width)
    line = _labelled("time", (f"{duration(snapshot.elapsed)} elapsed, {snapshot.to_do}", "bold"), width)
    room = min(_BAR, width - line.cell_len - 2 - _PERCENT)
    return line.append("  ").append_text(bar(snapshot.done, room)) if room >= _LEAST_BAR else line


def _workers_now(snapshot: Snapshot, width: int) -> Text:
    doing = ", ".join(f"{count} {what}" for what, count in snapshot.doing)
    planned = f"{snapshot.running} of {snapshot.planned} planned, {snapshot.peak} in all"
    if snapshot.states:
        hosts = counted(sum(count for _, count in snapshot.states), "host")
        doing = ", ".join(f"{count} {state}" for state, count in snapshot.states)
        return _labelled("workers", f"{planned}, on {hosts}: {doing}", width)
    return _labelled("workers", f"{planned}: {doing}", width)


def _spark(label: str, figure: str, bars: Sequence[float | None], width: int) -> Text:
    line = _labelled(label, (f"{figure:<{_FIGURE}} ", "bold"), width)
    return line.append(sparkline(bars, width - line.cell_len), style="cyan")


def _errors(snapshot: Snapshot, width: int) -> Text:
    """Returns the failures by class and, with a schedule, the late pulls by reason."""
    line = _labelled(
        "errors", (by_class(snapshot.errors), "red") if snapshot.errors else ("none", "dim"), width
    )
    late = [f"{count:,} {reason}" for reason, count in snapshot.late or () if count]
    return line.append(f"; late: {', '.join(late)}", style="yellow") if late else line


def _limit(snapshot: Snapshot, width: int) -> Text:
    """Returns what limits the rate now, and the CPU use of driver and clients if it fits."""
    drivers = "CPU of the hosts: drivers" if snapshot.states else "CPU now: driver"
    cpu = (
        f"{drivers} {percent(snapshot.driver_cpu)}, clients {percent(snapshot.client_cpu)} "
        f"of {percent(snapshot.cores)}"
    )
    if snapshot.limit is None:
        known = "not known yet" if not snapshot.cores else f"not known yet; {cpu}"
        return _labelled("limit now", (known, "dim"), width)
    style = "yellow" if snapshot.limited else ""
    line = _labelled("limit now", (snapshot.limit, style), width)
    if line.cell_len > width:  # what to do about it comes after a semicolon
        line = _labelled("limit now", (snapshot.limit.partition("; ")[0], style), width)
    return line.append(f"; {cpu}", style="dim") if line.cell_len + len(cpu) + 2 <= width else line


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Returns a block character for each of the last values that fit, relative to the largest; a blank for None."""
    shown = values[-width:] if width > 0 else ()
    top = max((value for value in shown if value is not None), default=0.0)
    return "".join(_block(value, top) for value in shown)


def _block(value: float | None, top: float) -> str:
    if value is None:
        return " "
    return _BLOCKS[min(int(value / top * len(_BLOCKS)), len(_BLOCKS) - 1) if top > 0 else 0]


@dataclass(frozen=True, slots=True)
class _Columns:
    """The widths of the columns, in cells."""

    index: int
    pattern: int
    counts: tuple[int, ...]
    doing: int


_COUNTS = ("pass", "image", "pulled", "failed")


def _rows(snapshot: Snapshot, width: int) -> Iterator[Text]:
    """Yields the table of the hosts if there are several, else that of the workers."""
    return host_table(snapshot.hosts, snapshot.more, width) if snapshot.states else _workers(snapshot, width)


def _workers(snapshot: Snapshot, width: int) -> Iterator[Text]:
    """Yields a heading, a line for each worker that is shown, and the number of the other busy ones."""
    rows = snapshot.rows
    if not rows:
        return
    columns = _columns(rows, width)
    names = " ".join(f"{name:>{size}}" for name, size in zip(_COUNTS, columns.counts, strict=True))
    yield Text(
        f"{'#':>{columns.index}} {set_cell_size('pattern', columns.pattern)} {names} now", style="bold"
    )
    for row in rows:
        yield _worker(row, columns)
    if snapshot.more:
        yield Text(f"… {snapshot.more} more", style="dim")


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
