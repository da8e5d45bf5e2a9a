"""The table of the live view, and of what remains of it at the end: a row for a step, an interval or the whole run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from rich.text import Text

from ..counted import counted
from ..figures import three
from ..latency import SHOWN_PERCENTILES, Latency
from ..load.closed import Sample, StepTally
from ..load.live_account import LiveAccount
from ..load.plan import DOWN, HOLD, UP
from .plain import duration

T = TypeVar("T")

_ARROWS: Final = {UP: "↑", HOLD: "→", DOWN: "↓"}
_GAP: Final = "  "
# The columns that a narrow terminal lacks, the first to go first. Retried pulls go together with failed ones.
_DISPENSABLE: Final = (
    ("p99 ms",),
    ("p50 ms",),
    ("pulled",),
    ("offered",),
    ("p95 ms",),
    ("failed", "retried"),
)


class Row(NamedTuple):
    """A row of the table. `offered` is None without a schedule, `retried` if the client does not report its retries."""

    name: str
    rate: float
    offered: float | None
    pulled: int
    failed: int
    retried: int | None
    latency: Latency | None


def step_row(each: StepTally) -> Row:
    """Returns the row of a step that is over."""
    return Row(
        name=f"{_ARROWS[each.step.direction]} {counted(each.step.workers, 'worker')}",
        rate=each.rate,
        offered=each.offered,
        pulled=each.pulled,
        failed=each.failed,
        retried=each.retried,
        latency=each.latency,
    )


def interval_row(name: str, sample: Sample, tally: LiveAccount) -> Row:
    """Returns the row of a tally interval that is over."""
    schedule = tally.schedule
    return Row(
        name=name,
        rate=sample.rate,
        offered=schedule.offered(sample.at - sample.seconds, sample.at) if schedule else None,
        pulled=sample.pulled,
        failed=sample.failed,
        retried=sample.retried,
        latency=sample.latency,
    )


def until_row(sample: Sample, tally: LiveAccount) -> Row:
    """Returns the row of a tally interval, named by its end: `until 1:15`."""
    return interval_row(f"until {duration(sample.at)}", sample, tally)


def recent(steps: Sequence[StepTally], most: int) -> list[StepTally]:
    """Returns at most `most` steps: the last ones, and the one with the highest rate so far."""
    if len(steps) <= most:
        return list(steps)
    if most < 1:
        return []
    shown = list(steps[len(steps) - most :])
    best = max(steps, key=lambda each: each.rate)
    return shown if best in shown else [best, *shown[1:]]


def spaced(items: Sequence[T], most: int) -> list[T]:
    """Returns at most `most` items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return list(items)
    return [items[round(k * (len(items) - 1) / (most - 1))] for k in range(most)]


def table(rows: Sequence[Row], width: int) -> list[Text]:
    """Returns a line of headings and a line for each row. Columns that do not fit into `width` cells are left out."""
    columns = list(_columns(rows))
    for names in _DISPENSABLE:
        if sum(len(cells[0]) for cells in columns) + len(_GAP) * (len(columns) - 1) <= width:
            break
        columns = [cells for cells in columns if cells[0].strip() not in names]
    lines = [Text(_GAP.join(cells[0] for cells in columns), style="bold")]
    for place, row in enumerate(rows, 1):
        line = Text()
        for cells in columns:
            failed = cells[0].strip() == "failed" and row.failed
            line.append(_GAP if line else "").append(cells[place], style="red" if failed else "")
        lines.append(line)
    return lines


def _columns(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Yields the cells of each column, the heading first, all of the same width."""
    names = ["", *(row.name for row in rows)]
    yield [name.ljust(max(map(len, names))) for name in names]
    by_schedule = any(row.offered is not None for row in rows)
    columns = {
        "pulls/s": [three(row.rate) for row in rows],
        **({"offered": [_known(row.offered) for row in rows]} if by_schedule else {}),
        "pulled": [f"{row.pulled:,}" for row in rows],
        "failed": [f"{row.failed:,}" for row in rows],
        "retried": ["-" if row.retried is None else f"{row.retried:,}" for row in rows],
        **{
            f"{name} ms": [_known(row.latency.value(name) if row.latency else None) for row in rows]
            for name in SHOWN_PERCENTILES
        },
    }
    for name, cells in columns.items():
        size = max(len(name), *map(len, cells)) if cells else len(name)
        yield [cell.rjust(size) for cell in (name, *cells)]


def _known(value: float | None) -> str:
    return "-" if value is None else three(value)
