"""The table of the hosts of a load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import UnsetType

from ..pages.tables import Mark, Number, table
from ..results.summary import HostCounts, Summary

_ABOUT: Final = (
    "Each host carried out its share of the load. Its CPU use is that of driver and clients, on average."
)
_ABOUT_CLOCKS: Final = (
    " Its clock was off by at most so many milliseconds, and it began the load so many milliseconds late."
)


class _Column(NamedTuple):
    """A column of the table: its head, and what it shows of a host."""

    head: str
    cell: Callable[[HostCounts], object]


def hosts(summary: Summary) -> str:
    """Returns the table. Columns that say nothing of any host are left out."""
    found = summary.of_hosts
    columns = [
        _Column("host", lambda each: each.name),
        _Column("share", lambda each: each.share),
        _Column("workers", lambda each: Number(each.workers)),
        _Column("pulled", lambda each: Number(each.pulled)),
        _Column("failed", lambda each: Number(each.failed)),
        _Column("pulls/s", lambda each: Number(each.rate, ",.2f")),
        _Column("p50 ms", lambda each: Number(each.latency_ms.p50 if each.latency_ms else None, ",.1f")),
        _Column("p95 ms", lambda each: Number(each.latency_ms.p95 if each.latency_ms else None, ",.1f")),
        _Column("CPU, cores", lambda each: Number(_cores_used(each), ",.2f")),
        _Column("of", lambda each: Number(each.cores, ",.3g")),
    ]
    if any(each.limited_by is not None for each in found):
        columns.append(_Column("limited by", lambda each: each.limited_by or "–"))
    if has_clocks(summary):
        columns.append(_Column("clock, ± ms", lambda each: _milliseconds(each.clock_error_ms)))
        columns.append(_Column("late, ms", lambda each: _milliseconds(each.start_error_ms)))
    if summary.lost_hosts:
        columns.append(_Column("lost", _lost))
    return table([each.head for each in columns], ([each.cell(host) for each in columns] for host in found))


def about(summary: Summary) -> str:
    """Returns what explains the table."""
    return f"{_ABOUT}{_ABOUT_CLOCKS}" if has_clocks(summary) else _ABOUT


def has_clocks(summary: Summary) -> bool:
    """Whether the clocks of the hosts are known."""
    return any(not isinstance(each.clock_error_ms, UnsetType) for each in summary.of_hosts)


def _cores_used(host: HostCounts) -> float | None:
    used = host.driver_cpu_seconds + host.client_cpu_seconds
    return used / host.counted_until if host.counted_until > 0 else None


def _milliseconds(value: float | UnsetType) -> Number:
    return Number(None if isinstance(value, UnsetType) else value, ",.2f")


def _lost(host: HostCounts) -> object:
    return "–" if host.lost is None else Mark(f"at {host.lost.at:,.1f} s: {host.lost.reason}", good=False)
