"""What is known now about one of the hosts that carry out a load together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from .summary import ClientInfo

HostState = Literal["joined", "ready", "running", "silent", "ended", "lost"]
# In the order in which views count them.
HOST_STATES: Final[tuple[HostState, ...]] = ("joined", "ready", "running", "silent", "ended", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """One host now. `workers` are those of its share. The counts are those of the pieces that have arrived.

    `client` is None in a dry run, and as long as it is not known.

    `rate` is in pulls per second, by its last pieces. `last_piece` is when the last piece arrived (monotonic), or None.
    """

    name: str
    state: HostState
    client: ClientInfo | None = None
    workers: int = 0
    pulled: int = 0
    failed: int = 0
    interrupted: int = 0
    rate: float = 0.0
    last_piece: float | None = None
