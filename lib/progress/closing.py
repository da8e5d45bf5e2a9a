"""Makes the table that replaces the live view at the end.

The table has a row for each step. A load of one step, such as a constant load, has a row for each tally interval and
a row for the whole instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import NamedTuple, TypeVar

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..latency import SHOWN_PERCENTILES, Latency, cells
from ..load.plan import DOWN, HOLD, UP, Plan
from ..load.tally import Sample, StepTally, Tally
from ..results.run_state import Run
from .plain import duration

T = TypeVar("T")

# With the table's head, the note, the end of the run and the shell's prompt, they fill a terminal of 24 lines.
_MOST_ROWS = 11
# More columns than the table needs. A narrow terminal shows its first columns.
_TABLE_WIDTH = 200
_ARROWS = {UP: "↑", HOLD: "→", DOWN: "↓"}


class _Row(NamedTuple):
    """A row of the table. `offered` is None without a schedule."""

    what: str
    pulled: int
    failed: int
    offered: float | None
    rate: float
    latency: Latency | None


def closing_lines(run: Run, plan: Plan) -> list[Text]:
    """Returns the table. Of many steps or intervals, it has only some."""
    first, rows, left_out = _intervals(run.tally) if len(plan.steps) == 1 else _steps(run.tally)
    console = Console(file=StringIO(), width=_TABLE_WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(_table(first, rows))
    header, *shown = capture.get().splitlines()
    lines = [Text(header, style="bold"), *map(Text, shown)]
    if left_out:
        lines.append(Text(left_out, style="dim"))
    return lines


def _steps(tally: Tally) -> tuple[str, list[_Row], str]:
    """Returns the name of the first column, the rows, and a note if some are left out."""
    shown = thinned(tally.steps)
    rows = [_step(f"{_ARROWS[each.step.direction]} {each.step.workers}", each) for each in shown]
    of = len(tally.steps)
    return "workers", rows, f"{len(shown)} of {of} steps; the log has all of them" if len(shown) < of else ""


def _intervals(tally: Tally) -> tuple[str, list[_Row], str]:
    """The same for a load of one step: its intervals over time, and then the whole."""
    shown = _spaced(tally.samples, _MOST_ROWS - 1)
    whole = [_step("all", each)._replace(rate=tally.rate) for each in tally.steps]
    rows = [_interval(each, tally) for each in shown]
    of = len(tally.samples)
    note = f"{len(shown)} of {of} intervals; the metrics have all of them" if len(shown) < of else ""
    return "until", [*rows, *whole], note


def _interval(sample: Sample, tally: Tally) -> _Row:
    schedule = tally.schedule
    offered = schedule.curve.offered(sample.at - sample.seconds, sample.at) if schedule else None
    return _Row(
        what=duration(sample.at),
        pulled=sample.pulled,
        failed=sample.failed,
        offered=offered,
        rate=sample.rate,
        latency=sample.latency,
    )


def _step(what: str, each: StepTally) -> _Row:
    return _Row(
        what=what,
        pulled=each.pulled,
        failed=each.failed,
        offered=each.offered,
        rate=each.rate,
        latency=each.latency,
    )


def thinned(steps: Sequence[StepTally]) -> list[StepTally]:
    """Returns at most `_MOST_ROWS` steps, evenly spaced on each side of the peak: with the first, peak and last."""
    if len(steps) <= _MOST_ROWS:
        return list(steps)
    peak = max(range(len(steps)), key=lambda k: steps[k].step.workers)
    return [*_spaced(steps[: peak + 1], _MOST_ROWS // 2), *_spaced(steps[peak + 1 :], _MOST_ROWS // 2)]


def _spaced(items: Sequence[T], most: int) -> list[T]:
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def _table(first: str, rows: Sequence[_Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    by_schedule = any(each.offered is not None for each in rows)
    offered = ("offered",) if by_schedule else ()
    for name in (
        first,
        "pulled",
        "failed",
        *offered,
        "pulls/s",
        *(f"{name} ms" for name in SHOWN_PERCENTILES),
    ):
        table.add_column(name, justify="right", no_wrap=True)
    for each in rows:
        table.add_row(*_cells(each, by_schedule=by_schedule))
    return table


def _cells(row: _Row, *, by_schedule: bool) -> list[str]:
    offered = [f"{row.offered:.2f}" if row.offered is not None else "-"] if by_schedule else []
    return [row.what, str(row.pulled), str(row.failed), *offered, f"{row.rate:.2f}", *cells(row.latency)]
