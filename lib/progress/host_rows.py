"""Chooses the hosts that have a line in the live view: those with trouble first.

A host that is silent or lost comes before the others. Others come in the order of their shares, so that the lines
rarely change places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..clean import clean
from ..results.host_line import HOST_STATES, HostLine, HostState

# The states of trouble.
TROUBLE: Final[tuple[HostState, ...]] = ("lost", "silent")


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host now. `name` is cleaned of control characters. `rate` is in pulls per second; None unless it is running.

    `seconds` is the time since its last piece, if it is silent.
    """

    name: str
    state: HostState
    workers: int
    pulled: int
    failed: int
    rate: float | None
    seconds: float | None


def host_rows(hosts: Sequence[HostLine], now: float, most: int) -> tuple[tuple[HostRow, ...], int]:
    """Returns the lines of at most `most` hosts, and how many others there are. `now` is monotonic."""
    places = sorted(range(len(hosts)), key=lambda k: (hosts[k].state not in TROUBLE, k))[:most]
    shown = tuple(_row(hosts[k], now) for k in places)
    return shown, len(hosts) - len(shown)


def states(hosts: Sequence[HostLine]) -> tuple[tuple[str, int], ...]:
    """Counts the hosts by state, in the order of `HOST_STATES`."""
    found = Counter(host.state for host in hosts)
    return tuple((state, found[state]) for state in HOST_STATES if found[state])


def _row(host: HostLine, now: float) -> HostRow:
    quiet = host.state == "silent" and host.last_piece is not None
    return HostRow(
        name=clean(host.name, 200),
        state=host.state,
        workers=host.workers,
        pulled=host.pulled,
        failed=host.failed,
        rate=host.rate if host.state == "running" else None,
        seconds=now - (host.last_piece or now) if quiet else None,
    )
