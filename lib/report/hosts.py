"""The table of the hosts of a load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec import UnsetType

from ..pages.tables import Mark, Number, table
from ..results.summary import HostCounts, Summary
from .machine import LIMITS

_ABOUT: Final = "Each host carried out its share of the load. CPU: what driver and clients used, on average."
_ABOUT_CLOCKS: Final = (
    " Clock: how far the host's clock may have been off at most. Late: how late it began the load."
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
        _Column("CPU, cores", _cores),
    ]
    if has_clocks(summary):
        columns.append(_Column("clock, ± ms", lambda each: _milliseconds(each.clock_error_ms)))
        columns.append(_Column("late, ms", lambda each: _milliseconds(each.start_error_ms)))
    if any(each.limited_by is not None or each.lost is not None for each in found):
        columns.append(_Column("trouble", _trouble))
    return table([each.head for each in columns], ([each.cell(host) for each in columns] for host in found))


def about(summary: Summary) -> str:
    """Returns what explains the table."""
    return f"{_ABOUT}{_ABOUT_CLOCKS}" if has_clocks(summary) else _ABOUT


def has_clocks(summary: Summary) -> bool:
    """Whether the clocks of the hosts are known."""
    return any(not isinstance(each.clock_error_ms, UnsetType) for each in summary.of_hosts)


def _cores(host: HostCounts) -> Number:
    if not host.counted_until:
        return Number(None)
    used = (host.driver_cpu_seconds + host.client_cpu_seconds) / host.counted_until
    return Number(used, text=f"{used:,.2f} of {host.cores:,.3g}")


def _milliseconds(value: float | UnsetType) -> Number:
    return Number(None if isinstance(value, UnsetType) else value, ",.2f")


def _trouble(host: HostCounts) -> object:
    limited = [] if host.limited_by is None else [LIMITS.get(host.limited_by, LIMITS["machine"])[0]]
    lost = [] if host.lost is None else [f"lost at {host.lost.at:,.1f} s: {host.lost.reason}"]
    return Mark("; ".join([*lost, *limited]), good=False) if lost or limited else "–"
