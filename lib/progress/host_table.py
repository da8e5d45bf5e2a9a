"""The table of the hosts in the live view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ..figures import three
from .host_rows import TROUBLE, HostRow
from .plain import duration

_HEADS: Final = ("workers", "pulled", "failed", "pulls/s")
_STATE: Final = "now"
_GAP: Final = "  "
# The name has at least so many cells. A terminal without room for them lacks the last columns of numbers.
_LEAST_NAME: Final = 8


def host_table(rows: Sequence[HostRow], more: int, width: int) -> Iterator[Text]:
    """Yields a heading, a line for each host that is shown, and the number of the others."""
    if not rows:
        return
    cells = [_HEADS, *map(_numbers, rows)]
    sizes = [max(map(len, column)) for column in zip(*cells, strict=True)]
    state = max(len(_STATE), *(len(_state(row)) for row in rows))
    longest = max(len("host"), *(cell_len(row.name) for row in rows))
    while sizes and min(longest, _LEAST_NAME) + _width([*sizes, state]) > width:
        sizes.pop()
    name = max(1, min(longest, width - _width([*sizes, state])))
    yield Text(_line("host", _HEADS, _STATE, name, sizes), style="bold")
    for row in rows:
        yield Text(
            _line(row.name, _numbers(row), _state(row), name, sizes),
            style="red" if row.state == "lost" else "yellow" if row.state in TROUBLE else "",
        )
    if more:
        yield Text(f"… {more} more", style="dim")


def _width(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(_GAP) * len(sizes)


def _line(host: str, numbers: Sequence[str], state: str, name: int, sizes: Sequence[int]) -> str:
    # zip drops the columns that have no room
    columns = [number.rjust(size) for number, size in zip(numbers, sizes, strict=False)]
    shown = set_cell_size(host, name) if cell_len(host) <= name else set_cell_size(host, name - 1) + "…"
    return _GAP.join([shown, *columns, state])


def _numbers(row: HostRow) -> tuple[str, ...]:
    rate = "-" if row.rate is None else three(row.rate)
    return str(row.workers), f"{row.pulled:,}", f"{row.failed:,}", rate


def _state(row: HostRow) -> str:
    return row.state if row.seconds is None else f"{row.state} {duration(row.seconds)}"
